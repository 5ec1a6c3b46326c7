//! The memory of a capture: a fixed number of buffers, each for one chunk, used again and again.
//!
//! Chunks of a MiB that are allocated and freed on many threads would leave several times their size with the
//! allocator; and a bound that counts what is in use would not bound what the process has.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Error, Result};

/// Buffers for chunks.
pub(super) struct ChunkPool {
    idle: Mutex<Vec<BytesMut>>,
    slots: Arc<Semaphore>,
    buffers: usize,
}

/// A buffer with a chunk in it, raw or compressed. When it is dropped, as itself or as [`Bytes`], the next chunk may
/// be read.
pub(super) struct ChunkBuffer {
    bytes: BytesMut,
    pool: Arc<ChunkPool>,
    _slot: OwnedSemaphorePermit,
}

impl ChunkPool {
    pub(super) fn new(buffers: usize) -> Arc<Self> {
        Arc::new(Self { idle: Mutex::default(), slots: Arc::new(Semaphore::new(buffers)), buffers })
    }

    /// How many chunks there can be.
    pub(super) fn buffers(&self) -> usize {
        self.buffers
    }

    /// An empty buffer, as soon as there is one.
    pub(super) async fn take(self: &Arc<Self>) -> Result<ChunkBuffer> {
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        let slot = slot.map_err(|_| Error::Internal("The memory for chunks is gone".into()))?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Ok(ChunkBuffer { bytes: idle.unwrap_or_default(), pool: Arc::clone(self), _slot: slot })
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
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        self.pool.idle.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn a_buffer_is_free_again_when_the_last_clone_of_its_payload_is_gone() {
        let pool = ChunkPool::new(1);
        let mut buffer = pool.take().await.unwrap();
        buffer.bytes_mut().extend_from_slice(&[7; 4096]);
        let memory = buffer.as_ref().as_ptr();
        buffer.replace(b"short");
        let payload = buffer.into_payload();
        let clone = payload.clone();
        drop(payload);
        assert_eq!(clone, b"short"[..]);
        assert!(pool.take().now_or_never().is_none(), "the only buffer is in use");
        drop(clone);
        let mut again = pool.take().await.unwrap();
        again.bytes_mut().extend_from_slice(&[8; 4096]);
        assert_eq!(again.as_ref().as_ptr(), memory, "it is the same memory");
    }
}
