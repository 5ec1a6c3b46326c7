//! The memory that all captures of a process share.
//!
//! Each capture may have its part: what there is, divided by the captures that run. One that began alone and has
//! more gives up buffers as they become free, so a second capture waits no longer than a chunk takes. Buffers are
//! used again and again: chunks that are allocated and freed on many threads would leave several times their size
//! with the allocator, and a bound that counts what is in use would not bound what the process has.

use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use bytes::BytesMut;
use tokio::sync::Notify;

/// Memory for chunks, in bytes.
pub struct MemoryBudget {
    state: Mutex<State>,
    /// Rung when memory has become free, or a part has grown.
    changed: Notify,
}

struct State {
    bytes_max: usize,
    in_use_bytes: usize,
    captures: usize,
    /// Buffers that nobody uses. They count.
    idle: Vec<BytesMut>,
    idle_bytes: usize,
}

/// The part of one capture.
pub(super) struct Part {
    budget: Arc<MemoryBudget>,
    chunk_bytes: usize,
    bytes_max: usize,
    held_bytes: Mutex<usize>,
}

/// The usual bound of what all captures of a process have in memory.
const PROCESS_BYTES_MAX: usize = 96 << 20;

static OF_PROCESS: LazyLock<Arc<MemoryBudget>> = LazyLock::new(|| MemoryBudget::new(PROCESS_BYTES_MAX));

impl MemoryBudget {
    /// A budget of its own, for tests and for processes that serve several masters.
    #[must_use]
    pub fn new(bytes_max: usize) -> Arc<Self> {
        let state = State { bytes_max, in_use_bytes: 0, captures: 0, idle: Vec::new(), idle_bytes: 0 };
        Arc::new(Self { state: Mutex::new(state), changed: Notify::new() })
    }

    /// The one of this process: 96 MiB.
    #[must_use]
    pub fn of_process() -> Arc<Self> {
        Arc::clone(&OF_PROCESS)
    }

    /// Bytes that captures hold now, and those kept for the next chunks.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let state = self.state();
        state.in_use_bytes + state.idle_bytes
    }

    /// Takes part, with chunks of `chunk_bytes` and at most `bytes_max` of them.
    pub(super) fn join(self: &Arc<Self>, chunk_bytes: usize, bytes_max: usize) -> Part {
        self.state().captures += 1;
        Part { budget: Arc::clone(self), chunk_bytes, bytes_max, held_bytes: Mutex::new(0) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What one of the captures may hold. One chunk is always granted: without it, it would never end.
    fn part_bytes(&self) -> usize {
        self.bytes_max / self.captures.max(1)
    }

    fn take_buffer(&mut self, chunk_bytes: usize) -> BytesMut {
        self.in_use_bytes += chunk_bytes;
        if let Some(place) = self.idle.iter().position(|buffer| buffer.capacity() == chunk_bytes) {
            self.idle_bytes -= chunk_bytes;
            return self.idle.swap_remove(place);
        }
        // Buffers for chunks of another size make room.
        while self.in_use_bytes + self.idle_bytes > self.bytes_max {
            let Some(buffer) = self.idle.pop() else { break };
            self.idle_bytes -= buffer.capacity();
        }
        BytesMut::with_capacity(chunk_bytes)
    }

    fn give_back(&mut self, mut buffer: BytesMut, chunk_bytes: usize) {
        self.in_use_bytes -= chunk_bytes;
        buffer.clear();
        let fits = self.in_use_bytes + self.idle_bytes + chunk_bytes <= self.bytes_max;
        if fits && self.captures > 0 && buffer.capacity() == chunk_bytes {
            self.idle_bytes += chunk_bytes;
            self.idle.push(buffer);
        }
    }
}

impl Part {
    /// How many chunks it may hold while the captures are as many as now.
    pub(super) fn chunks(&self) -> usize {
        (self.budget.state().part_bytes().min(self.bytes_max) / self.chunk_bytes).max(1)
    }

    /// An empty buffer for one chunk, as soon as there is one for this capture.
    pub(super) async fn take(&self) -> BytesMut {
        loop {
            let changed = self.budget.changed.notified();
            tokio::pin!(changed);
            // Listening begins before looking, so that no ring is missed.
            changed.as_mut().enable();
            if let Some(buffer) = self.try_take() {
                return buffer;
            }
            changed.await;
        }
    }

    fn try_take(&self) -> Option<BytesMut> {
        let mut held = self.held_bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.budget.state();
        let wanted = *held + self.chunk_bytes;
        let is_within_part = wanted <= state.part_bytes().min(self.bytes_max);
        let is_free = state.in_use_bytes + self.chunk_bytes <= state.bytes_max;
        if *held > 0 && !(is_within_part && is_free) {
            return None;
        }
        *held = wanted;
        Some(state.take_buffer(self.chunk_bytes))
    }

    pub(super) fn give_back(&self, buffer: BytesMut) {
        *self.held_bytes.lock().unwrap_or_else(PoisonError::into_inner) -= self.chunk_bytes;
        self.budget.state().give_back(buffer, self.chunk_bytes);
        self.budget.changed.notify_waiters();
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let mut state = self.budget.state();
        state.captures -= 1;
        if state.captures == 0 {
            state.idle = Vec::new();
            state.idle_bytes = 0;
        }
        drop(state);
        self.budget.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const CHUNK: usize = 1000;

    fn take(part: &Part, count: usize) -> Vec<BytesMut> {
        let mut buffers = Vec::new();
        for _ in 0..count {
            buffers.push(part.take().now_or_never().expect("memory"));
        }
        buffers
    }

    #[tokio::test]
    async fn one_capture_may_have_everything_and_gives_half_to_a_second_one() {
        let budget = MemoryBudget::new(10 * CHUNK);
        let first = budget.join(CHUNK, 100 * CHUNK);
        let mut held = take(&first, 10);
        assert!(first.take().now_or_never().is_none());
        let second = budget.join(CHUNK, 100 * CHUNK);
        assert_eq!((first.chunks(), second.chunks()), (5, 5));
        let one = take(&second, 1);
        assert!(second.take().now_or_never().is_none(), "the first has the rest");
        for _ in 0..5 {
            first.give_back(held.pop().unwrap());
            assert!(first.take().now_or_never().is_none(), "it has its part or more");
        }
        let four = take(&second, 4);
        assert!(second.take().now_or_never().is_none());
        assert_eq!(held.len() + one.len() + four.len(), 10);
        assert_eq!(budget.bytes(), 10 * CHUNK);
    }

    #[tokio::test]
    async fn a_capture_that_ends_leaves_its_part_and_the_last_one_leaves_nothing() {
        let budget = MemoryBudget::new(4 * CHUNK);
        let (first, second) = (budget.join(CHUNK, usize::MAX), budget.join(CHUNK, usize::MAX));
        let held = take(&first, 2);
        assert!(first.take().now_or_never().is_none());
        drop(second);
        let third = first.take().now_or_never().expect("its part has grown");
        for buffer in held.into_iter().chain([third]) {
            first.give_back(buffer);
        }
        assert_eq!(budget.bytes(), 3 * CHUNK, "kept for the next chunks");
        drop(first);
        assert_eq!(budget.bytes(), 0);
    }

    #[tokio::test]
    async fn buffers_are_used_again_and_those_of_another_size_make_room() {
        let budget = MemoryBudget::new(4 * CHUNK);
        let part = budget.join(CHUNK, usize::MAX);
        let mut buffer = part.take().await;
        buffer.extend_from_slice(&[7; CHUNK]);
        let memory = buffer.as_ptr();
        part.give_back(buffer);
        let again = part.take().await;
        assert_eq!((again.as_ptr(), again.len()), (memory, 0));
        part.give_back(again);
        let larger = budget.join(4 * CHUNK, usize::MAX);
        let buffer = larger.take().await;
        assert_eq!(budget.bytes(), 4 * CHUNK);
        larger.give_back(buffer);
    }

    #[tokio::test]
    async fn every_capture_gets_one_chunk_however_little_there_is() {
        let budget = MemoryBudget::new(CHUNK / 2);
        let parts = [budget.join(CHUNK, 1), budget.join(CHUNK, 1)];
        for part in &parts {
            assert_eq!(part.chunks(), 1);
            let buffer = part.take().now_or_never().expect("one");
            assert!(part.take().now_or_never().is_none());
            part.give_back(buffer);
        }
    }
}
