//! Opening sealed blobs in memory that is used again and again: fresh pages cost a third of the work.

use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};
use zstd::bulk::Decompressor;

use crate::crypto::Key;
use crate::pack::PackedBlob;
use crate::{Error, Result};

/// Memory of more than this goes back after use. The largest chunks have 8 MiB.
const KEPT_BYTES_MAX: usize = 16 << 20;

/// Openers that are not in use. There are never more than threads that open blobs at the same time.
#[derive(Default)]
pub(crate) struct Openers(Mutex<Vec<Opener>>);

/// A workspace for one thread.
pub(crate) struct Opener {
    decompressor: Decompressor<'static>,
    plain: Vec<u8>,
}

impl Openers {
    /// Runs `work` with an opener of its own.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Opener) -> T) -> Result<T> {
        let reused = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut opener = reused.map_or_else(Opener::new, Ok)?;
        let result = work(&mut opener);
        if opener.plain.len() > KEPT_BYTES_MAX {
            opener.plain = Vec::new();
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(opener);
        Ok(result)
    }
}

impl Opener {
    fn new() -> Result<Self> {
        let decompressor =
            Decompressor::new().map_err(|error| Error::Internal { reason: error.to_string() })?;
        Ok(Self { decompressor, plain: Vec::new() })
    }

    /// The verified plain bytes of a blob. `sealed` is decrypted in place, so it can be opened only once.
    pub(crate) fn open<'a>(
        &'a mut self,
        key: &Key,
        blob: &PackedBlob,
        sealed: &'a mut [u8],
    ) -> Result<&'a [u8], &'static str> {
        let text = key.open_in_place(sealed).map_err(|_| "it is not authentic")?;
        let content =
            if blob.uncompressed == 0 { &*text } else { self.decompress(text, blob.uncompressed as usize)? };
        if Sha256::digest(content).as_slice() != blob.id {
            return Err("its content does not match its name");
        }
        Ok(content)
    }

    /// A frame must become exactly as long as the index says, and cannot make us use more memory than that.
    fn decompress(&mut self, frame: &[u8], plain_bytes: usize) -> Result<&[u8], &'static str> {
        if self.plain.len() < plain_bytes {
            self.plain.resize(plain_bytes, 0);
        }
        let plain = &mut self.plain[..plain_bytes];
        match self.decompressor.decompress_to_buffer(frame, &mut *plain) {
            Ok(length) if length == plain_bytes => Ok(plain),
            Ok(_) => Err("it decompresses to a wrong length"),
            Err(_) => Err("it does not decompress"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ChunkId;
    use crate::pack::BlobKind;

    fn blob(plain: &[u8], uncompressed: u32) -> PackedBlob {
        let id = *ChunkId::of(plain).as_bytes();
        PackedBlob { kind: BlobKind::Data, id, offset: 0, length: 0, uncompressed }
    }

    fn open(key: &Key, blob: &PackedBlob, payload: &[u8]) -> Result<Vec<u8>, &'static str> {
        let mut sealed = key.seal(payload);
        let open = |opener: &mut Opener| opener.open(key, blob, &mut sealed).map(<[u8]>::to_vec);
        Openers::default().with(open).unwrap()
    }

    #[test]
    fn plain_and_compressed_blobs_are_opened_and_verified() {
        let (key, plain) = (Key::random(), b"disk ".repeat(1000));
        let frame = zstd::bulk::compress(&plain, 1).unwrap();
        assert_eq!(open(&key, &blob(&plain, 0), &plain), Ok(plain.clone()));
        assert_eq!(open(&key, &blob(&plain, 5000), &frame), Ok(plain.clone()));
        assert_eq!(open(&key, &blob(b"other", 0), &plain), Err("its content does not match its name"));
        assert_eq!(open(&key, &blob(&plain, 4999), &frame), Err("it does not decompress"));
        assert_eq!(open(&key, &blob(&plain, 5001), &frame), Err("it decompresses to a wrong length"));
        assert_eq!(open(&Key::random(), &blob(&plain, 0), &plain), Ok(plain));
    }

    #[test]
    fn memory_of_an_earlier_blob_does_not_show_in_a_later_one() {
        let (key, openers) = (Key::random(), Openers::default());
        for plain in [vec![1; 9000], vec![2; 100], vec![3; 5000]] {
            let blob = blob(&plain, u32::try_from(plain.len()).unwrap());
            let mut sealed = key.seal(&zstd::bulk::compress(&plain, 1).unwrap());
            let opened = openers.with(|opener| opener.open(&key, &blob, &mut sealed).map(<[u8]>::to_vec));
            assert_eq!(opened.unwrap(), Ok(plain));
        }
        assert_eq!(openers.0.lock().unwrap().len(), 1);
    }
}
