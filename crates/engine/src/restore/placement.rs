//! Where each chunk of a disk belongs.

use sendense_repo::Repository;

use crate::{ChunkId, Error, Result};

/// Longer chunks are not tried for being zero: what an index says of lengths is not verified yet.
const ZERO_CHUNK_BYTES_MAX: u64 = 64 << 20;

/// The chunks that have to be read, with the places they belong to. Those known to be zero by their id are left out.
pub(super) struct Placement {
    /// Sorted by id, then by offset.
    places: Vec<Place>,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    id: ChunkId,
    offset: u64,
    bytes: u64,
}

impl Placement {
    /// # Errors
    /// `restore-point-damaged` if a chunk is missing, [`Error::Internal`] if the chunks do not make up the disk.
    pub(super) fn new(repository: &Repository, ids: &[ChunkId], size_bytes: u64) -> Result<Self> {
        let length_of = |id: &ChunkId| {
            let missing = || Error::of_reading(sendense_repo::Error::ChunkMissing { id: *id });
            repository.readable_bytes_of(id).ok_or_else(missing)
        };
        let first_and_last = ids.first().into_iter().chain(ids.last());
        let zero_ids = zero_ids(&first_and_last.map(length_of).collect::<Result<Vec<_>>>()?);
        let (mut offset, mut places) = (0_u64, Vec::new());
        for id in ids {
            let bytes = length_of(id)?;
            if !zero_ids.contains(id) {
                places.push(Place { id: *id, offset, bytes });
            }
            offset = offset.saturating_add(bytes);
        }
        if offset != size_bytes {
            let detail = format!("The disk's chunks add up to {offset} bytes, not to {size_bytes}");
            return Err(Error::Internal(detail));
        }
        places.sort_unstable();
        Ok(Self { places })
    }

    /// The bytes that have to be written.
    pub(super) fn data_bytes(&self) -> u64 {
        self.places.iter().map(|place| place.bytes).sum()
    }

    /// The length of the longest chunk.
    pub(super) fn largest_chunk_bytes(&self) -> u64 {
        self.places.iter().map(|place| place.bytes).max().unwrap_or(0)
    }

    /// The chunks, as often as they occur.
    pub(super) fn chunk_ids(&self) -> impl Iterator<Item = ChunkId> + '_ {
        self.places.iter().map(|place| place.id)
    }

    /// The offsets of a chunk of `bytes`; `None` if it was expected to have another length.
    pub(super) fn offsets_of(&self, id: &ChunkId, bytes: u64) -> Option<impl Iterator<Item = u64>> {
        let first = self.places.partition_point(|place| place.id < *id);
        let length = self.places[first..].partition_point(|place| place.id == *id);
        let places = &self.places[first..first + length];
        let fits = places.iter().all(|place| place.bytes == bytes);
        fits.then(|| places.iter().map(|place| place.offset))
    }
}

fn zero_ids(lengths: &[u64]) -> Vec<ChunkId> {
    let lengths = lengths.iter().filter(|length| **length <= ZERO_CHUNK_BYTES_MAX);
    let lengths = lengths.filter_map(|length| usize::try_from(*length).ok());
    lengths.map(|length| ChunkId::of(&vec![0; length])).collect()
}
