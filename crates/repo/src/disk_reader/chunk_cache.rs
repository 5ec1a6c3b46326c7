//! Chunks in memory, bounded in bytes, shared by all readers.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{Semaphore, watch};

use crate::ChunkId;

/// Chunks that were read lately. Chunks are named by their content, so readers of different restore points, and
/// of different repositories, may share one cache: what two clones have in common is in memory once.
pub struct ChunkCache {
    state: Mutex<State>,
    bytes_max: usize,
    /// Bytes of chunks that may be on their way into the cache.
    pub(super) loading: Arc<Semaphore>,
    loading_bytes_max: usize,
}

#[derive(Default)]
struct State {
    entries: HashMap<ChunkId, Entry>,
    /// Ready chunks by when they were last used.
    order: BTreeMap<u64, ChunkId>,
    clock: u64,
    bytes: usize,
}

enum Entry {
    Loading(watch::Receiver<Option<Bytes>>),
    Ready { plain: Bytes, used_at: u64 },
}

/// What the cache says of a chunk.
pub(super) enum Found {
    /// It is there.
    Ready(Bytes),
    /// Somebody loads it. If the sender goes without a value, it could not be loaded.
    Loading(watch::Receiver<Option<Bytes>>),
    /// Nobody has it: the holder of the claim shall load it.
    Claimed(Claim),
}

/// The duty to load a chunk. Dropping it tells those who wait that it did not work.
pub(super) struct Claim {
    cache: Arc<ChunkCache>,
    id: ChunkId,
    sender: watch::Sender<Option<Bytes>>,
    is_fulfilled: bool,
}

impl ChunkCache {
    /// A cache of at most `bytes_max` bytes of chunks; those that are being loaded may take half as much again.
    #[must_use]
    pub fn new(bytes_max: usize) -> Arc<Self> {
        let loading = (bytes_max / 2).clamp(LOADING_BYTES_MIN, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        Arc::new(Self {
            state: Mutex::default(),
            bytes_max,
            loading: Arc::new(Semaphore::new(loading)),
            loading_bytes_max: loading,
        })
    }

    /// Bytes of the chunks that are in it now.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.state().bytes
    }

    /// The most it will hold.
    #[must_use]
    pub fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    pub(super) fn loading_bytes_max(&self) -> usize {
        self.loading_bytes_max
    }

    pub(super) fn find(self: &Arc<Self>, id: &ChunkId) -> Found {
        let mut state = self.state();
        let now = state.tick();
        let State { entries, order, .. } = &mut *state;
        match entries.get_mut(id) {
            Some(Entry::Ready { plain, used_at }) => {
                order.remove(used_at);
                order.insert(now, *id);
                *used_at = now;
                Found::Ready(plain.clone())
            }
            Some(Entry::Loading(receiver)) => Found::Loading(receiver.clone()),
            None => {
                let (sender, receiver) = watch::channel(None);
                entries.insert(*id, Entry::Loading(receiver));
                Found::Claimed(Claim { cache: Arc::clone(self), id: *id, sender, is_fulfilled: false })
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Less could not hold the largest chunk on its way.
const LOADING_BYTES_MIN: usize = 16 << 20;

impl State {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn put(&mut self, id: ChunkId, plain: Bytes, bytes_max: usize) {
        if plain.len() > bytes_max {
            self.entries.remove(&id);
            return;
        }
        self.bytes += plain.len();
        let used_at = self.tick();
        self.order.insert(used_at, id);
        self.entries.insert(id, Entry::Ready { plain, used_at });
        while self.bytes > bytes_max {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            if let Some(Entry::Ready { plain, .. }) = self.entries.remove(&oldest) {
                self.bytes -= plain.len();
            }
        }
    }
}

impl Claim {
    /// To learn what becomes of it.
    pub(super) fn subscribe(&self) -> watch::Receiver<Option<Bytes>> {
        self.sender.subscribe()
    }

    /// Puts the chunk into the cache and gives it to those who wait.
    pub(super) fn fulfil(mut self, plain: Bytes) {
        self.is_fulfilled = true;
        self.cache.state().put(self.id, plain.clone(), self.cache.bytes_max);
        self.sender.send_replace(Some(plain));
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.is_fulfilled {
            self.cache.state().entries.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(cache: &Arc<ChunkCache>, number: u8, length: usize) -> bool {
        let plain = Bytes::from(vec![number; length]);
        match cache.find(&ChunkId::of(&[number])) {
            Found::Claimed(claim) => {
                claim.fulfil(plain);
                true
            }
            Found::Ready(found) => {
                assert_eq!(found, plain);
                false
            }
            Found::Loading(_) => panic!("nobody loads it"),
        }
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first_and_the_bound_holds() {
        let cache = ChunkCache::new(1000);
        assert!(load(&cache, 1, 400) && load(&cache, 2, 400));
        assert!(!load(&cache, 1, 400), "used again");
        assert!(load(&cache, 3, 400));
        assert_eq!(cache.bytes(), 800);
        assert!(!load(&cache, 1, 400) && !load(&cache, 3, 400));
        assert!(load(&cache, 2, 400), "it had to go");
    }

    #[test]
    fn a_chunk_that_is_larger_than_the_cache_is_given_to_those_who_wait_and_not_kept() {
        let cache = ChunkCache::new(100);
        assert!(load(&cache, 1, 101) && load(&cache, 1, 101));
        assert_eq!(cache.bytes(), 0);
    }

    #[tokio::test]
    async fn those_who_wait_get_the_chunk_or_learn_that_it_could_not_be_loaded() {
        let cache = ChunkCache::new(1000);
        let id = ChunkId::of(b"chunk");
        for is_loaded in [false, true] {
            let Found::Claimed(claim) = cache.find(&id) else { panic!("nobody has it") };
            let Found::Loading(mut waiting) = cache.find(&id) else { panic!("it is claimed") };
            if is_loaded {
                claim.fulfil(Bytes::from_static(b"chunk"));
            } else {
                drop(claim);
            }
            let plain = waiting.wait_for(Option::is_some).await.ok().and_then(|plain| plain.clone());
            assert_eq!(plain.as_deref(), is_loaded.then_some(b"chunk".as_slice()));
        }
    }
}
