//! Decompresses and hashes what a Node claims to be a chunk.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use zstd::bulk::Decompressor;

use crate::cpu::on_cpu;
use crate::wire::{Codec, FrameHeader};
use crate::{ChunkId, Code, Error, Result};

/// Checks chunks on the process's cores; shared by all sessions of a listener.
pub(crate) struct ChunkCheck {
    /// Workspaces that are not in use. There are never more than cores.
    idle: Arc<Mutex<Vec<Workspace>>>,
}

struct Workspace {
    decompressor: Decompressor<'static>,
    plain: Vec<u8>,
}

impl ChunkCheck {
    pub(crate) fn new() -> Self {
        Self { idle: Arc::default() }
    }

    /// Fails unless `payload` yields exactly the bytes that `header` promises.
    pub(crate) async fn check(&self, header: FrameHeader, payload: Bytes) -> Result<()> {
        let idle = Arc::clone(&self.idle);
        on_cpu(move || {
            let reused = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut workspace = reused.map_or_else(Workspace::new, Ok)?;
            let checked = workspace.check(&header, &payload);
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(workspace);
            checked
        })
        .await?
    }
}

impl Workspace {
    fn new() -> Result<Self> {
        let decompressor = Decompressor::new().map_err(|error| Error::Internal(error.to_string()))?;
        Ok(Self { decompressor, plain: Vec::new() })
    }

    fn check(&mut self, header: &FrameHeader, payload: &[u8]) -> Result<()> {
        let id = match header.codec {
            Codec::Raw => ChunkId::of(payload),
            Codec::Zstd => ChunkId::of(self.decompress(header.plain_bytes as usize, payload)?),
        };
        if id == header.id {
            return Ok(());
        }
        Err(Error::protocol(
            Code::ChunkHashMismatch,
            format!("The bytes sent for chunk {} do not have that hash", header.id),
        ))
    }

    /// The buffer has the length that was promised: what would yield more ends there.
    fn decompress(&mut self, plain_bytes: usize, payload: &[u8]) -> Result<&[u8]> {
        self.plain.resize(plain_bytes, 0);
        match self.decompressor.decompress_to_buffer(payload, self.plain.as_mut_slice()) {
            Ok(length) if length == plain_bytes => Ok(&self.plain),
            _ => Err(Error::protocol(
                Code::ChunkMalformed,
                "A payload does not decompress to the promised length",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(plain: &[u8], payload: &[u8], codec: Codec) -> FrameHeader {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
        FrameHeader {
            id: ChunkId::of(plain),
            plain_bytes: length(plain),
            stored_bytes: length(payload),
            codec,
        }
    }

    async fn check(header: FrameHeader, payload: &[u8]) -> Option<Code> {
        let checked = ChunkCheck::new().check(header, Bytes::copy_from_slice(payload)).await;
        checked.err().map(|error| error.code())
    }

    #[tokio::test]
    async fn what_has_its_hash_passes_and_one_changed_bit_does_not() {
        let plain = b"disk ".repeat(1000);
        let payload = zstd::bulk::compress(&plain, 1).unwrap();
        assert_eq!(check(header(&plain, &payload, Codec::Zstd), &payload).await, None);
        assert_eq!(check(header(&plain, &plain, Codec::Raw), &plain).await, None);
        let mut changed = plain.clone();
        changed[77] ^= 1;
        assert_eq!(
            check(header(&plain, &changed, Codec::Raw), &changed).await,
            Some(Code::ChunkHashMismatch)
        );
    }

    #[tokio::test]
    async fn a_bomb_ends_at_the_promised_length() {
        let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap();
        let header = header(&vec![0; 1 << 20], &bomb, Codec::Zstd);
        assert_eq!(check(header, &bomb).await, Some(Code::ChunkMalformed));
    }

    #[tokio::test]
    async fn a_payload_that_yields_less_or_is_no_zstd_is_refused() {
        let payload = zstd::bulk::compress(&[7; 999], 1).unwrap();
        assert_eq!(
            check(header(&[7; 1000], &payload, Codec::Zstd), &payload).await,
            Some(Code::ChunkMalformed)
        );
        assert_eq!(
            check(header(&[7; 1000], b"nothing", Codec::Zstd), b"nothing").await,
            Some(Code::ChunkMalformed)
        );
    }
}
