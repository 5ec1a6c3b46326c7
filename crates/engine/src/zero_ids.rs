//! The ids of chunks that are all zeros.

use bytes::Bytes;

use crate::ChunkId;
use crate::geometry::Geometry;

/// Zero chunks of a disk: those of full length, and the last one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ZeroIds {
    geometry: Geometry,
    full: ChunkId,
    last: ChunkId,
}

impl ZeroIds {
    pub(crate) fn of(geometry: Geometry) -> Self {
        let full = ChunkId::of(&zeros(geometry.chunk_bytes()));
        let last_index = geometry.chunk_count().saturating_sub(1);
        let last = match geometry.chunk_bytes_at(last_index) {
            Some(length) if length < geometry.chunk_bytes() => ChunkId::of(&zeros(length)),
            _ => full,
        };
        Self { geometry, full, last }
    }

    /// The id that the chunk at `index` has if it is zero.
    pub(crate) fn at(&self, index: u64) -> ChunkId {
        if index + 1 == self.geometry.chunk_count() { self.last } else { self.full }
    }

    /// The chunks themselves, to be stored if a disk refers to them.
    pub(crate) fn chunks(&self) -> [(ChunkId, Bytes); 2] {
        let last_index = self.geometry.chunk_count().saturating_sub(1);
        let last_bytes = self.geometry.chunk_bytes_at(last_index).unwrap_or(self.geometry.chunk_bytes());
        [(self.full, zeros(self.geometry.chunk_bytes())), (self.last, zeros(last_bytes))]
    }
}

fn zeros(length: u32) -> Bytes {
    vec![0; length as usize].into()
}
