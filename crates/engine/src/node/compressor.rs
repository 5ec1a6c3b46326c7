//! zstd on the process's cores, and raw where it gains nothing.

use std::sync::{Arc, Mutex, PoisonError};

use zstd::bulk::Compressor;

use super::chunk_pool::ChunkBuffer;
use super::hub_client::Frame;
use crate::cpu::on_cpu;
use crate::wire::{Codec, FrameHeader};
use crate::{ChunkId, Error, Result};

/// Compresses chunks for one capture.
pub(super) struct ChunkCompressor {
    level: i32,
    /// Workspaces that are not in use: making one costs as much as compressing a chunk.
    idle: Arc<Mutex<Vec<Workspace>>>,
}

struct Workspace {
    compressor: Compressor<'static>,
    stored: Vec<u8>,
}

impl ChunkCompressor {
    pub(super) fn new(level: i32) -> Self {
        Self { level, idle: Arc::default() }
    }

    /// The chunk as a frame: compressed, or raw if that saves less than 1/64. The frame uses the chunk's buffer.
    pub(super) async fn frame(&self, id: ChunkId, plain: ChunkBuffer) -> Result<Frame> {
        let (idle, level) = (Arc::clone(&self.idle), self.level);
        on_cpu(move || {
            let reused = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut workspace = reused.map_or_else(|| Workspace::new(level), Ok)?;
            let frame = workspace.frame(id, plain);
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(workspace);
            frame
        })
        .await?
    }
}

impl Workspace {
    fn new(level: i32) -> Result<Self> {
        let compressor = Compressor::new(level).map_err(|error| Error::Request(error.to_string()))?;
        Ok(Self { compressor, stored: Vec::new() })
    }

    fn frame(&mut self, id: ChunkId, mut chunk: ChunkBuffer) -> Result<Frame> {
        let plain_bytes = length_of(&chunk)?;
        let codec = match self.compress(chunk.as_ref()) {
            Some(length) => {
                chunk.replace(&self.stored[..length]);
                Codec::Zstd
            }
            None => Codec::Raw,
        };
        let header = FrameHeader { id, plain_bytes, stored_bytes: length_of(&chunk)?, codec };
        Ok(Frame { header, payload: chunk.into_payload() })
    }

    /// Compresses into `stored`; `None` if that saves less than 1/64. The buffer ends where compression is no longer
    /// worthwhile, so zstd gives up there by itself.
    fn compress(&mut self, plain: &[u8]) -> Option<usize> {
        self.stored.resize(plain.len() - plain.len().div_ceil(64), 0);
        self.compressor.compress_to_buffer(plain, self.stored.as_mut_slice()).ok()
    }
}

fn length_of(chunk: &ChunkBuffer) -> Result<u32> {
    u32::try_from(chunk.as_ref().len()).map_err(|_| Error::Internal("A chunk is too long".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::budget::MemoryBudget;
    use crate::node::chunk_pool::ChunkPool;

    async fn frame_of(plain: Vec<u8>) -> Frame {
        let budget = MemoryBudget::new(plain.len());
        let mut buffer = ChunkPool::new(&budget, plain.len(), plain.len()).take().await;
        buffer.bytes_mut().extend_from_slice(&plain);
        let compressor = ChunkCompressor::new(1);
        compressor.frame(ChunkId::of(&plain), buffer).await.unwrap()
    }

    #[tokio::test]
    async fn text_is_sent_compressed_and_noise_as_it_is() {
        let text = frame_of(b"all work and no play ".repeat(5000)).await;
        assert_eq!(text.header.codec, Codec::Zstd);
        assert_eq!(text.header.plain_bytes, 105_000);
        assert_eq!(text.header.stored_bytes as usize, text.payload.len());
        assert!(text.payload.len() < 1000);

        let mut state = 1_u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state.to_be_bytes()[0]
        };
        let noise: Vec<u8> = std::iter::repeat_with(&mut noise).take(100_000).collect();
        let raw = frame_of(noise.clone()).await;
        assert_eq!(raw.header.codec, Codec::Raw);
        assert_eq!(raw.payload, noise);
    }

    #[tokio::test]
    async fn a_chunk_of_one_byte_is_sent_raw() {
        assert_eq!(frame_of(vec![1]).await.header.codec, Codec::Raw);
    }
}
