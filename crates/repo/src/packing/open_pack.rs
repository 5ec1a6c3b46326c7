//! A pack that is being filled, with all that depends on its fate.

use tokio::sync::OwnedSemaphorePermit;

use super::claims::Claims;
use crate::crypto::Key;
use crate::pack::{BlobKind, FinishedPack, PackBuilder};
use crate::{ChunkId, Result};

pub(crate) struct OpenPack {
    builder: PackBuilder,
    cargo: Cargo,
}

/// Claims and memory that are released together: when the pack is durable, or when it is lost.
pub(super) struct Cargo {
    claims: Claims,
    chunks: Vec<ChunkId>,
    memory: Option<OwnedSemaphorePermit>,
}

impl OpenPack {
    pub(super) fn new(
        key: &Key,
        kind: BlobKind,
        target_bytes: usize,
        spare: Vec<u8>,
        claims: &Claims,
    ) -> Self {
        let builder = PackBuilder::new(key, kind, target_bytes, spare);
        Self { builder, cargo: Cargo { claims: claims.clone(), chunks: Vec::new(), memory: None } }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.builder.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.builder.is_full()
    }

    /// Adds a chunk that the caller has claimed, and takes over claim and memory even in case of an error.
    pub(super) fn add_claimed(
        &mut self,
        id: ChunkId,
        payload: &[u8],
        uncompressed: u32,
        memory: OwnedSemaphorePermit,
    ) -> Result<u32> {
        self.cargo.chunks.push(id);
        match &mut self.cargo.memory {
            Some(held) => held.merge(memory),
            none => *none = Some(memory),
        }
        self.builder.add(*id.as_bytes(), payload, uncompressed)
    }

    /// Adds a tree, which is neither claimed nor counted.
    pub(crate) fn add_tree(&mut self, id: [u8; 32], frame: &[u8], uncompressed: u32) -> Result<u32> {
        self.builder.add(id, frame, uncompressed)
    }

    pub(super) fn finish(self) -> Result<(FinishedPack, Cargo)> {
        Ok((self.builder.finish()?, self.cargo))
    }
}

impl Drop for Cargo {
    fn drop(&mut self) {
        for id in &self.chunks {
            self.claims.remove(id);
        }
    }
}
