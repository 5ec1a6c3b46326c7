//! Opening sealed blobs in memory that is used again and again: fresh pages cost a third of the work.

use std::mem::take;
use std::sync::{Mutex, PoisonError};

use sendense_sha256::{Digest, Sha256};
use zstd::bulk::Decompressor;

use crate::crypto::Key;
use crate::pack::PackedBlob;
use crate::{Error, Result};

/// Memory of more than this goes back after use. The largest chunks have 8 MiB.
const KEPT_BYTES_MAX: usize = 16 << 20;

/// What is wrong with a blob that does not lie in what was read, or lies over another one.
pub(crate) const MISPLACED: &str = "its place is not in its pack";

/// A blob, and its sealed bytes if it has its place.
pub(crate) type Place<'a> = (&'a PackedBlob, Option<&'a mut [u8]>);

/// Cuts blobs, in the order in which they lie, out of the bytes of their pack from `first_byte` on.
pub(crate) fn cut<'a>(
    content: &'a mut [u8],
    first_byte: usize,
    blobs: &'a [PackedBlob],
) -> impl Iterator<Item = Place<'a>> {
    let (mut rest, mut at) = (content, first_byte);
    let mut cut = move |blob: &PackedBlob| {
        let start = (blob.offset as usize).checked_sub(at)?;
        let end = start.checked_add(blob.length as usize).filter(|end| *end <= rest.len())?;
        let (sealed, behind) = take(&mut rest).split_at_mut(end);
        (rest, at) = (behind, at + end);
        Some(&mut sealed[start..])
    };
    blobs.iter().map(move |blob| (blob, cut(blob)))
}

/// Openers that are not in use. There are never more than threads that open blobs at the same time.
#[derive(Default)]
pub(crate) struct Openers(Mutex<Vec<Opener>>);

/// A workspace for one thread.
pub(crate) struct Opener {
    decompressor: Decompressor<'static>,
    /// For two blobs at a time.
    plain: [Vec<u8>; 2],
}

impl Openers {
    /// Runs `work` with an opener of its own.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Opener) -> T) -> Result<T> {
        let reused = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut opener = reused.map_or_else(Opener::new, Ok)?;
        let result = work(&mut opener);
        for plain in &mut opener.plain {
            if plain.len() > KEPT_BYTES_MAX {
                *plain = Vec::new();
            }
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(opener);
        Ok(result)
    }
}

/// Sealed bytes are decrypted in place, so they can be opened only once.
impl Opener {
    fn new() -> Result<Self> {
        let decompressor =
            Decompressor::new().map_err(|error| Error::Internal { reason: error.to_string() })?;
        Ok(Self { decompressor, plain: Default::default() })
    }

    /// Visits blobs with their verified plain bytes.
    pub(crate) fn open_all<'a>(
        &mut self,
        key: &Key,
        places: impl Iterator<Item = Place<'a>>,
        mut visit: impl FnMut(&PackedBlob, Result<&[u8], &'static str>),
    ) {
        let mut waiting = None;
        for (blob, sealed) in places {
            let Some(sealed) = sealed else {
                visit(blob, Err(MISPLACED));
                continue;
            };
            let Some((first, first_sealed)) = waiting.take() else {
                waiting = Some((blob, sealed));
                continue;
            };
            let [one, other] = self.open_both(key, [(first, first_sealed), (blob, sealed)]);
            visit(first, one);
            visit(blob, other);
        }
        if let Some((blob, sealed)) = waiting {
            visit(blob, self.open_beside(key, (blob, sealed), (&mut Sha256::default(), &[])));
        }
    }

    /// The verified plain bytes of a blob. Another hash goes on with its bytes meanwhile.
    pub(crate) fn open_beside<'a>(
        &'a mut self,
        key: &Key,
        (blob, sealed): (&PackedBlob, &'a mut [u8]),
        (other, bytes): (&mut Sha256, &[u8]),
    ) -> Result<&'a [u8], &'static str> {
        let Self { decompressor, plain: [plain, _] } = self;
        let unsealed = unseal(decompressor, plain, key, (blob, sealed));
        let mut hash = Sha256::default();
        Sha256::update_both([(&mut hash, unsealed.unwrap_or_default()), (other, bytes)]);
        verify(blob, unsealed?, hash.finish())
    }

    fn open_both<'a>(
        &'a mut self,
        key: &Key,
        [first, second]: [(&PackedBlob, &'a mut [u8]); 2],
    ) -> [Result<&'a [u8], &'static str>; 2] {
        let Self { decompressor, plain: [plain, other_plain] } = self;
        let blobs = [first.0, second.0];
        let unsealed =
            [unseal(decompressor, plain, key, first), unseal(decompressor, other_plain, key, second)];
        let hashes = Sha256::digest_both(unsealed.map(Result::unwrap_or_default));
        std::array::from_fn(|at| verify(blobs[at], unsealed[at]?, hashes[at]))
    }
}

/// Decrypts and decompresses. Nobody has looked yet whether it is what its name says.
fn unseal<'a>(
    decompressor: &mut Decompressor<'static>,
    plain: &'a mut Vec<u8>,
    key: &Key,
    (blob, sealed): (&PackedBlob, &'a mut [u8]),
) -> Result<&'a [u8], &'static str> {
    let text = key.open_in_place(sealed).map_err(|_| "it is not authentic")?;
    if blob.uncompressed == 0 {
        return Ok(text);
    }
    // A frame must become exactly as long as the index says, and cannot make us use more memory than that.
    let plain_bytes = blob.uncompressed as usize;
    if plain.len() < plain_bytes {
        plain.resize(plain_bytes, 0);
    }
    let plain = &mut plain[..plain_bytes];
    match decompressor.decompress_to_buffer(text, &mut *plain) {
        Ok(length) if length == plain_bytes => Ok(plain),
        Ok(_) => Err("it decompresses to a wrong length"),
        Err(_) => Err("it does not decompress"),
    }
}

fn verify<'a>(blob: &PackedBlob, content: &'a [u8], hash: Digest) -> Result<&'a [u8], &'static str> {
    if hash == blob.id { Ok(content) } else { Err("its content does not match its name") }
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

    fn open_one(
        openers: &Openers,
        key: &Key,
        blob: &PackedBlob,
        sealed: &mut [u8],
    ) -> Result<Vec<u8>, &'static str> {
        let mut opened = None;
        let visit = |_: &PackedBlob, plain: Result<&[u8], _>| opened = Some(plain.map(<[u8]>::to_vec));
        openers.with(|opener| opener.open_all(key, std::iter::once((blob, Some(sealed))), visit)).unwrap();
        opened.unwrap()
    }

    fn open(key: &Key, blob: &PackedBlob, payload: &[u8]) -> Result<Vec<u8>, &'static str> {
        let mut sealed = key.seal(payload);
        open_one(&Openers::default(), key, blob, &mut sealed)
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
            assert_eq!(open_one(&openers, &key, &blob, &mut sealed), Ok(plain));
        }
        assert_eq!(openers.0.lock().unwrap().len(), 1);
    }

    /// Blobs that lie behind each other, every other one compressed, and what they lie in.
    fn pack(key: &Key, len: u8) -> (Vec<PackedBlob>, Vec<Vec<u8>>, Vec<u8>) {
        let (mut blobs, mut content) = (Vec::new(), Vec::new());
        let plain: Vec<_> = (0..len).map(|number| vec![number; 1000 + 77 * usize::from(number)]).collect();
        for (number, plain) in plain.iter().enumerate() {
            let frame = zstd::bulk::compress(plain, 1).unwrap();
            let (payload, uncompressed) = if number % 2 == 0 { (plain, 0) } else { (&frame, plain.len()) };
            let sealed = key.seal(payload);
            let (offset, length) = (content.len().try_into().unwrap(), sealed.len().try_into().unwrap());
            let blob = blob(plain, uncompressed.try_into().unwrap());
            blobs.push(PackedBlob { offset, length, ..blob });
            content.extend(sealed);
        }
        (blobs, plain, content)
    }

    fn open_all(key: &Key, blobs: &[PackedBlob], content: &mut [u8]) -> Vec<Result<Vec<u8>, &'static str>> {
        let mut opened = vec![Err("not visited"); blobs.len()];
        let visit = |blob: &PackedBlob, plain: Result<&[u8], _>| {
            let at = blobs.iter().position(|other| other.id == blob.id).unwrap();
            opened[at] = plain.map(<[u8]>::to_vec);
        };
        Openers::default().with(|opener| opener.open_all(key, cut(content, 0, blobs), visit)).unwrap();
        opened
    }

    #[test]
    fn any_number_of_blobs_is_opened_and_one_damaged_byte_harms_only_its_own() {
        let key = Key::random();
        for len in 0..6 {
            let (blobs, plain, content) = pack(&key, len);
            let whole: Vec<_> = plain.into_iter().map(Ok).collect();
            assert_eq!(open_all(&key, &blobs, &mut content.clone()), whole);
            for (damaged, blob) in blobs.iter().enumerate() {
                let mut content = content.clone();
                content[blob.offset as usize + 20] ^= 1;
                let mut expected = whole.clone();
                expected[damaged] = Err("it is not authentic");
                assert_eq!(open_all(&key, &blobs, &mut content), expected, "blob {damaged} of {len}");
            }
        }
    }

    #[test]
    fn a_blob_under_the_name_of_another_one_is_found_out_in_either_place() {
        let key = Key::random();
        for wrong in 0..2 {
            let (mut blobs, plain, mut content) = pack(&key, 2);
            let mut expected: Vec<_> = plain.into_iter().map(Ok).collect();
            blobs[wrong].id[0] ^= 1;
            expected[wrong] = Err("its content does not match its name");
            assert_eq!(open_all(&key, &blobs, &mut content), expected);
        }
    }

    #[test]
    fn blobs_over_each_other_or_beyond_the_end_have_no_place() {
        let key = Key::random();
        let (mut blobs, plain, mut content) = pack(&key, 4);
        let mut expected: Vec<_> = plain.into_iter().map(Ok).collect();
        blobs[1].offset -= 1;
        blobs[3].length += 1;
        (expected[1], expected[3]) = (Err(MISPLACED), Err(MISPLACED));
        assert_eq!(open_all(&key, &blobs, &mut content), expected);
    }

    #[test]
    fn another_hash_goes_on_beside_a_blob_whether_it_is_whole_or_not() {
        let key = Key::random();
        for damage in [0, 1] {
            let (blobs, plain, mut content) = pack(&key, 1);
            content[20] ^= damage;
            let mut hash = Sha256::default();
            let opened = Openers::default().with(|opener| {
                let beside = (&mut hash, b"header".as_slice());
                opener.open_beside(&key, (&blobs[0], &mut content), beside).map(<[u8]>::to_vec)
            });
            assert_eq!(opened.unwrap().ok(), (damage == 0).then(|| plain[0].clone()));
            assert_eq!(hash.finish(), Sha256::digest(b"header"));
        }
    }
}
