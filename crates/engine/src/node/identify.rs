//! Finds out what was read.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use sendense_disk::is_zero;
use tokio::sync::oneshot;

use super::chunk_pool::ChunkBuffer;
use crate::cpu::Slot;
use crate::{ChunkId, Error, Result};

/// Hashes chunks unless they are zero. A core that gets free takes two if two wait for it, because two hashes at a
/// time take little longer than one; none waits for company.
#[derive(Clone, Default)]
pub(super) struct Identifier(Arc<Mutex<VecDeque<Waiting>>>);

type Waiting = (ChunkBuffer, oneshot::Sender<Identified>);

/// The id, or `None` if it is zero, with the chunk.
pub(super) type Identified = (Option<ChunkId>, ChunkBuffer);

impl Identifier {
    /// # Errors
    /// [`Error::Internal`] if the calculation panics.
    pub(super) async fn identify(&self, plain: ChunkBuffer) -> Result<Identified> {
        let (sender, identified) = oneshot::channel();
        self.with(|waiting| waiting.push_back((plain, sender)));
        // On its own, so that no chunk stays behind when the one who waits for it goes away.
        tokio::spawn(self.clone().work());
        identified.await.map_err(|_| Error::Internal("A calculation failed".into()))
    }

    /// Comes once for each chunk; when it has nothing to do, another one has taken two.
    async fn work(self) -> Result<()> {
        let slot = Slot::take().await?;
        match (self.next(), self.next()) {
            (Some(first), Some(second)) => slot.run(|| identify_both([first, second])).await,
            (Some(chunk), None) => slot.run(|| identify_one(chunk)).await,
            (None, _) => Ok(()),
        }
    }

    /// The next chunk that somebody waits for.
    fn next(&self) -> Option<Waiting> {
        self.with(|waiting| {
            std::iter::from_fn(|| waiting.pop_front()).find(|(_, sender)| !sender.is_closed())
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut VecDeque<Waiting>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn identify_one((plain, sender): Waiting) {
    let id = (!is_zero(plain.as_ref())).then(|| ChunkId::of(plain.as_ref()));
    answer(sender, (id, plain));
}

fn identify_both([first, second]: [Waiting; 2]) {
    let plain = [first.0.as_ref(), second.0.as_ref()];
    if plain.into_iter().any(is_zero) {
        [first, second].into_iter().for_each(identify_one);
        return;
    }
    for (id, (plain, sender)) in ChunkId::of_both(plain).into_iter().zip([first, second]) {
        answer(sender, (Some(id), plain));
    }
}

fn answer(sender: oneshot::Sender<Identified>, identified: Identified) {
    // Nobody waits any more where a capture was given up.
    let _ = sender.send(identified);
}

#[cfg(test)]
mod tests {
    use futures::future::try_join_all;

    use super::*;
    use crate::node::budget::MemoryBudget;
    use crate::node::chunk_pool::ChunkPool;

    const CHUNK_BYTES: usize = 4096;

    fn pool(chunks: usize) -> Arc<ChunkPool> {
        ChunkPool::new(&MemoryBudget::new(chunks * CHUNK_BYTES), CHUNK_BYTES, chunks * CHUNK_BYTES)
    }

    async fn chunk(pool: &Arc<ChunkPool>, content: u8) -> ChunkBuffer {
        let mut buffer = pool.take().await;
        buffer.bytes_mut().resize(CHUNK_BYTES, content);
        buffer
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn each_of_many_gets_its_own_id_and_its_own_bytes_back() {
        let (identifier, pool) = (Identifier::default(), pool(256));
        let identify = (0..=255).map(|content| {
            let (identifier, pool) = (&identifier, &pool);
            async move {
                let (id, plain) = identifier.identify(chunk(pool, content).await).await?;
                let expected = [content; CHUNK_BYTES];
                assert_eq!(plain.as_ref(), expected);
                assert_eq!(id, (content > 0).then(|| ChunkId::of(&expected)));
                Ok::<_, Error>(())
            }
        });
        try_join_all(identify).await.unwrap();
    }

    #[tokio::test]
    async fn a_chunk_that_nobody_waits_for_gives_its_memory_back() {
        let (identifier, pool) = (Identifier::default(), pool(2));
        {
            let mut given_up = std::pin::pin!(identifier.identify(chunk(&pool, 1).await));
            assert!(futures::poll!(&mut given_up).is_pending());
        }
        assert!(identifier.identify(chunk(&pool, 2).await).await.is_ok());
        let _both = (pool.take().await, pool.take().await);
    }
}
