//! The memory of one capture: buffers of its part of the process's budget, each for one chunk.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::budget::{MemoryBudget, Part};

/// Buffers for chunks.
pub(super) struct ChunkPool(Part);

/// A buffer with a chunk in it, raw or compressed. When it is dropped, as itself or as [`Bytes`], the next chunk may
/// be read.
pub(super) struct ChunkBuffer {
    bytes: BytesMut,
    pool: Arc<ChunkPool>,
}

impl ChunkPool {
    /// Takes part in `budget`, with at most `bytes_max` of it.
    pub(super) fn new(budget: &Arc<MemoryBudget>, chunk_bytes: usize, bytes_max: usize) -> Arc<Self> {
        Arc::new(Self(budget.join(chunk_bytes, bytes_max)))
    }

    /// How many chunks there can be while the captures are as many as now.
    pub(super) fn buffers(&self) -> usize {
        self.0.chunks()
    }

    /// An empty buffer, as soon as there is one.
    pub(super) async fn take(self: &Arc<Self>) -> ChunkBuffer {
        ChunkBuffer { bytes: self.0.take().await, pool: Arc::clone(self) }
    }
}

impl ChunkBuffer {
    /// The buffer, to be read into.
    pub(super) fn bytes_mut(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    /// Puts a payload in the place of the chunk that it stands for.
    pub(super) fn replace(&mut self, payload: &[u8]) {
        self.bytes.clear();
        self.bytes.extend_from_slice(payload);
    }

    /// The content, for a request; the buffer goes back when the last clone of it is dropped.
    pub(super) fn into_payload(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for ChunkBuffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for ChunkBuffer {
    fn drop(&mut self) {
        self.pool.0.give_back(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn a_buffer_is_free_again_when_the_last_clone_of_its_payload_is_gone() {
        let pool = ChunkPool::new(&MemoryBudget::new(4096), 4096, 4096);
        let mut buffer = pool.take().await;
        buffer.bytes_mut().extend_from_slice(&[7; 4096]);
        let memory = buffer.as_ref().as_ptr();
        buffer.replace(b"short");
        let payload = buffer.into_payload();
        let clone = payload.clone();
        drop(payload);
        assert_eq!(clone, b"short"[..]);
        assert!(pool.take().now_or_never().is_none(), "the only buffer is in use");
        drop(clone);
        let mut again = pool.take().await;
        again.bytes_mut().extend_from_slice(&[8; 4096]);
        assert_eq!(again.as_ref().as_ptr(), memory, "it is the same memory");
    }
}
