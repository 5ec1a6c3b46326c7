//! Gathers hashed chunks into offers: large ones when there is much to do, small ones without delay when there is not.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::chunk_pool::ChunkBuffer;
use crate::wire::{Entry, OFFER_ENTRIES_MAX, ZeroRun};

/// How long an offer waits for more chunks.
const LINGER: Duration = Duration::from_millis(5);

/// A chunk that was read and hashed.
pub(super) enum Hashed {
    /// It is zero; nothing is kept of it.
    Zero {
        /// Number of the chunk.
        index: u64,
    },
    /// It has content.
    Data(HashedChunk),
}

/// A chunk with content, and its id.
pub(super) struct HashedChunk {
    pub(super) entry: Entry,
    pub(super) plain: ChunkBuffer,
}

/// What goes into one offer.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) chunks: Vec<HashedChunk>,
    zero_indexes: Vec<u64>,
}

impl Batch {
    /// The next batch: up to `chunks_max` chunks, or fewer after [`LINGER`]. `None` when nothing comes any more.
    pub(super) async fn next(hashed: &mut mpsc::Receiver<Hashed>, chunks_max: usize) -> Option<Self> {
        let mut batch = Self::default();
        batch.put(hashed.recv().await?);
        let deadline = Instant::now() + LINGER;
        while batch.chunks.len() < chunks_max && batch.zero_indexes.len() < OFFER_ENTRIES_MAX {
            match timeout_at(deadline, hashed.recv()).await {
                Ok(Some(chunk)) => batch.put(chunk),
                Ok(None) | Err(_) => break,
            }
        }
        Some(batch)
    }

    /// The entries of the offer, in the order of [`Self::chunks`].
    pub(super) fn entries(&self) -> Vec<Entry> {
        self.chunks.iter().map(|chunk| chunk.entry).collect()
    }

    /// The zero chunks as runs.
    pub(super) fn zero_runs(&mut self) -> Vec<ZeroRun> {
        self.zero_indexes.sort_unstable();
        let mut runs: Vec<ZeroRun> = Vec::new();
        for index in &self.zero_indexes {
            match runs.last_mut() {
                Some(run) if run.first + run.count == *index => run.count += 1,
                _ => runs.push(ZeroRun { first: *index, count: 1 }),
            }
        }
        runs
    }

    fn put(&mut self, hashed: Hashed) {
        match hashed {
            Hashed::Zero { index } => self.zero_indexes.push(index),
            Hashed::Data(chunk) => self.chunks.push(chunk),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn zero_chunks_in_any_order_become_runs() {
        let (sender, mut receiver) = mpsc::channel(16);
        for index in [7, 3, 4, 9, 5, 8] {
            sender.send(Hashed::Zero { index }).await.unwrap();
        }
        drop(sender);
        let mut batch = Batch::next(&mut receiver, 4).await.unwrap();
        let runs: Vec<_> = batch.zero_runs().iter().map(|run| (run.first, run.count)).collect();
        assert_eq!(runs, [(3, 3), (7, 3)]);
        assert!(Batch::next(&mut receiver, 4).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_does_not_wait_for_a_source_that_is_slow() {
        let (sender, mut receiver) = mpsc::channel(16);
        sender.send(Hashed::Zero { index: 1 }).await.unwrap();
        let begin = Instant::now();
        assert!(Batch::next(&mut receiver, 4).await.is_some());
        assert!(begin.elapsed() < Duration::from_millis(50));
        drop(sender);
    }
}
