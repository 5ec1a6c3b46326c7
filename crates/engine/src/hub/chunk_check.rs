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
    /// For two chunks at a time.
    plain: [Vec<u8>; 2],
}

/// What a Node says of a chunk, and what it sent.
pub(crate) type Claim = (FrameHeader, Bytes);

impl ChunkCheck {
    pub(crate) fn new() -> Self {
        Self { idle: Arc::default() }
    }

    /// For each of one or two chunks: fails unless the payload yields exactly the bytes that the header promises. Two
    /// take little longer than one.
    pub(crate) async fn check(&self, first: Claim, second: Option<Claim>) -> Result<[Result<()>; 2]> {
        let idle = Arc::clone(&self.idle);
        on_cpu(move || {
            let reused = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut workspace = reused.map_or_else(Workspace::new, Ok)?;
            let checked = match second {
                None => [workspace.check(&first), Ok(())],
                Some(second) => workspace.check_both([&first, &second]),
            };
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(workspace);
            Ok(checked)
        })
        .await?
    }
}

impl Workspace {
    fn new() -> Result<Self> {
        let decompressor = Decompressor::new().map_err(|error| Error::Internal(error.to_string()))?;
        Ok(Self { decompressor, plain: Default::default() })
    }

    fn check(&mut self, claim: &Claim) -> Result<()> {
        let Self { decompressor, plain: [plain, _] } = self;
        compare(claim, ChunkId::of(decompress(decompressor, plain, claim)?))
    }

    fn check_both(&mut self, [first, second]: [&Claim; 2]) -> [Result<()>; 2] {
        let Self { decompressor, plain: [plain, other_plain] } = self;
        let plain = decompress(decompressor, plain, first);
        let other_plain = decompress(decompressor, other_plain, second);
        let hashed = [&plain, &other_plain].map(|plain| plain.as_ref().copied().unwrap_or_default());
        let [id, other_id] = ChunkId::of_both(hashed);
        [plain.and_then(|_| compare(first, id)), other_plain.and_then(|_| compare(second, other_id))]
    }
}

/// The plain bytes. The buffer gets the length that was promised: what would yield more ends there.
fn decompress<'a>(
    decompressor: &mut Decompressor<'_>,
    buffer: &'a mut Vec<u8>,
    (header, payload): &'a Claim,
) -> Result<&'a [u8]> {
    if header.codec == Codec::Raw {
        return Ok(payload);
    }
    let plain_bytes = header.plain_bytes as usize;
    buffer.resize(plain_bytes, 0);
    match decompressor.decompress_to_buffer(payload, buffer.as_mut_slice()) {
        Ok(length) if length == plain_bytes => Ok(buffer),
        _ => {
            Err(Error::protocol(Code::ChunkMalformed, "A payload does not decompress to the promised length"))
        }
    }
}

fn compare((header, _): &Claim, id: ChunkId) -> Result<()> {
    if id == header.id {
        return Ok(());
    }
    Err(Error::protocol(
        Code::ChunkHashMismatch,
        format!("The bytes sent for chunk {} do not have that hash", header.id),
    ))
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
        let claim = (header, Bytes::copy_from_slice(payload));
        let [checked, _] = ChunkCheck::new().check(claim, None).await.unwrap();
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

    #[tokio::test]
    async fn each_of_two_chunks_has_its_own_verdict() {
        let plain = b"disk ".repeat(1000);
        let frame = zstd::bulk::compress(&plain, 1).unwrap();
        let whole = (header(&plain, &frame, Codec::Zstd), Bytes::from(frame));
        let other = (header(b"other", b"other", Codec::Raw), Bytes::from_static(b"other"));
        let changed = (other.0, Bytes::from_static(b"otter"));
        let malformed = (header(&plain, b"nothing", Codec::Zstd), Bytes::from_static(b"nothing"));
        let (mismatched, unreadable) = (Some(Code::ChunkHashMismatch), Some(Code::ChunkMalformed));
        for (first, second, expected) in [
            (&whole, &other, [None, None]),
            (&whole, &changed, [None, mismatched]),
            (&changed, &whole, [mismatched, None]),
            (&malformed, &whole, [unreadable, None]),
            (&changed, &malformed, [mismatched, unreadable]),
        ] {
            let checked = ChunkCheck::new().check(first.clone(), Some(second.clone())).await.unwrap();
            assert_eq!(checked.map(|checked| checked.err().map(|error| error.code())), expected);
        }
    }
}
