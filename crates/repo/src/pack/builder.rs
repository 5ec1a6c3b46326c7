//! Filling a pack.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{BlobKind, PackedBlob, header};
use crate::crypto::Key;
use crate::{Error, PackId, Result};

/// More blobs make a header that is slow to read.
const BLOBS_MAX: usize = 10_000;

/// A pack that is being filled. Blobs are sealed in place and hashed while they are in the processor's cache.
pub(crate) struct PackBuilder {
    key: Key,
    kind: BlobKind,
    target_bytes: usize,
    content: Vec<u8>,
    hash: Sha256,
    blobs: Vec<PackedBlob>,
}

/// A pack that is ready to be written.
pub(crate) struct FinishedPack {
    pub(crate) id: PackId,
    pub(crate) content: Bytes,
    pub(crate) blobs: Vec<PackedBlob>,
}

impl PackBuilder {
    /// An empty pack that is full at `target_bytes`. `content` is memory to use.
    pub(crate) fn new(key: &Key, kind: BlobKind, target_bytes: usize, mut content: Vec<u8>) -> Self {
        content.clear();
        Self { key: key.clone(), kind, target_bytes, content, hash: Sha256::new(), blobs: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.blobs.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.content.len() >= self.target_bytes || self.blobs.len() >= BLOBS_MAX
    }

    /// Seals a blob into the pack. `payload` is its zstd frame where `uncompressed` names the length of its plain
    /// bytes, and its plain bytes where that is 0. Returns the bytes it takes. After an error the pack is as it was.
    pub(crate) fn add(&mut self, id: [u8; 32], payload: &[u8], uncompressed: u32) -> Result<u32> {
        let start = self.content.len();
        self.key.seal_into(&mut self.content, payload);
        self.take_over(start, id, uncompressed)
    }

    /// Adds a blob that is sealed already, as it lies in another pack. As [`Self::add`] in all else.
    pub(crate) fn add_sealed(&mut self, id: [u8; 32], sealed: &[u8], uncompressed: u32) -> Result<u32> {
        let start = self.content.len();
        self.content.extend_from_slice(sealed);
        self.take_over(start, id, uncompressed)
    }

    /// Makes what lies behind `start` a blob.
    fn take_over(&mut self, start: usize, id: [u8; 32], uncompressed: u32) -> Result<u32> {
        let end = u32::try_from(self.content.len()).ok();
        let (Ok(offset), Some(end)) = (u32::try_from(start), end) else {
            self.content.truncate(start);
            return Err(Error::Unacceptable { reason: "a pack of more than 4 GiB".into() });
        };
        self.hash.update(&self.content[start..]);
        let length = end - offset;
        self.blobs.push(PackedBlob { kind: self.kind, id, offset, length, uncompressed });
        Ok(length)
    }

    /// Appends the header.
    pub(crate) fn finish(mut self) -> Result<FinishedPack> {
        let end = header::encode(&self.key, &self.blobs)
            .ok_or_else(|| Error::Internal { reason: "the header of a pack is too long".into() })?;
        self.hash.update(&end);
        self.content.extend_from_slice(&end);
        let id = PackId::from_bytes(self.hash.finalize().into());
        Ok(FinishedPack { id, content: self.content.into(), blobs: self.blobs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::{parse, size_bytes};

    fn a_pack(key: &Key) -> FinishedPack {
        let mut builder = PackBuilder::new(key, BlobKind::Data, 1000, Vec::new());
        builder.add([1; 32], b"plain", 0).unwrap();
        builder.add([2; 32], b"frame", 4000).unwrap();
        builder.finish().unwrap()
    }

    #[test]
    fn the_header_of_a_pack_says_what_was_added() {
        let key = Key::random();
        let pack = a_pack(&key);
        assert_eq!(parse(&key, &pack.content), Ok(pack.blobs.clone()));
        assert_eq!(size_bytes(&pack.blobs), pack.content.len() as u64);
        assert_eq!(PackId::of(&pack.content), pack.id);
        let second = pack.blobs[1];
        let sealed = &pack.content[second.offset as usize..][..second.length as usize];
        assert_eq!(key.open(sealed), Ok(b"frame".to_vec()));
        assert_eq!((pack.blobs[0].plain_bytes(), second.plain_bytes()), (5, 4000));
    }

    #[test]
    fn a_pack_that_was_cut_anywhere_has_no_valid_header() {
        let key = Key::random();
        let pack = a_pack(&key);
        for len in 0..pack.content.len() {
            assert!(parse(&key, &pack.content[..len]).is_err(), "{len}");
            assert!(parse(&key, &pack.content[pack.content.len() - len..]).is_err(), "{len}");
        }
    }

    #[test]
    fn a_pack_is_full_by_bytes_or_by_blobs() {
        let key = Key::random();
        let mut builder = PackBuilder::new(&key, BlobKind::Data, 1000, Vec::new());
        builder.add([1; 32], &[0; 900], 0).unwrap();
        assert!(!builder.is_full());
        builder.add([2; 32], &[0; 900], 0).unwrap();
        assert!(builder.is_full());
        let mut builder = PackBuilder::new(&key, BlobKind::Data, usize::MAX, Vec::new());
        for _ in 0..BLOBS_MAX {
            assert!(!builder.is_full());
            builder.add([1; 32], b"", 0).unwrap();
        }
        assert!(builder.is_full());
    }
}
