//! Which version of a key is the file.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The oldest versions of keys, as far as they were seen: in listings, in answers to our uploads, and by asking. Both are
/// kept as hashes, because a repository has millions of packs; nobody can choose what collides.
#[derive(Default)]
pub(super) struct Originals {
    hasher: RandomState,
    known: Mutex<HashMap<u64, u64>>,
}

impl Originals {
    pub(super) fn note(&self, key: &str, version: &str) {
        self.known().insert(self.hasher.hash_one(key), self.hasher.hash_one(version));
    }

    /// Whether this version is known to be the file. What is not known has to be asked for.
    pub(super) fn is_original(&self, key: &str, version: &str) -> bool {
        self.known().get(&self.hasher.hash_one(key)) == Some(&self.hasher.hash_one(version))
    }

    fn known(&self) -> MutexGuard<'_, HashMap<u64, u64>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
