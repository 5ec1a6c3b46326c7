//! Chunks that are on their way into a pack.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ChunkId;

/// The chunks that somebody is storing at the moment. A chunk is claimed before it is sealed, and released when its
/// pack is in the catalog or is lost. Clones share their claims.
#[derive(Clone, Default)]
pub(super) struct Claims(Arc<Mutex<HashMap<ChunkId, u32>>>);

impl Claims {
    /// Claims a chunk of so many plain bytes. `false` when another holds the claim.
    pub(super) fn insert(&self, id: &ChunkId, plain_bytes: u32) -> bool {
        match self.map().entry(*id) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(plain_bytes);
                true
            }
        }
    }

    pub(super) fn remove(&self, id: &ChunkId) {
        self.map().remove(id);
    }

    /// The length of a claimed chunk in plain bytes.
    pub(super) fn plain_bytes_of(&self, id: &ChunkId) -> Option<u32> {
        self.map().get(id).copied()
    }

    fn map(&self) -> MutexGuard<'_, HashMap<ChunkId, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
