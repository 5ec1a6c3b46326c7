//! The header of a pack.
//!
//! Before sealing it is one entry per blob, in the order in which they lie (restic's design document, "Pack
//! Format"): a type byte, the sealed length, for compressed blobs the plain length, and the id; integers are u32,
//! little-endian.

use super::{BlobKind, PackedBlob};
use crate::crypto::{Key, OVERHEAD_BYTES};

const ID_BYTES: usize = 32;
const PLAIN_ENTRY_BYTES: usize = 1 + 4 + ID_BYTES;
const COMPRESSED_ENTRY_BYTES: usize = PLAIN_ENTRY_BYTES + 4;
const LENGTH_BYTES: usize = 4;

/// Other readers refuse larger headers.
const HEADER_BYTES_MAX: usize = 16 << 20;

/// The end of a pack with these blobs: sealed header and its length.
pub(super) fn encode(key: &Key, blobs: &[PackedBlob]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(blobs.len() * COMPRESSED_ENTRY_BYTES);
    for blob in blobs {
        let type_byte = match (blob.kind, blob.uncompressed) {
            (BlobKind::Data, 0) => 0,
            (BlobKind::Tree, 0) => 1,
            (BlobKind::Data, _) => 2,
            (BlobKind::Tree, _) => 3,
        };
        plain.push(type_byte);
        plain.extend_from_slice(&blob.length.to_le_bytes());
        if blob.uncompressed != 0 {
            plain.extend_from_slice(&blob.uncompressed.to_le_bytes());
        }
        plain.extend_from_slice(&blob.id);
    }
    let mut end = key.seal(&plain);
    let length = u32::try_from(end.len()).ok().filter(|_| end.len() <= HEADER_BYTES_MAX)?;
    end.extend_from_slice(&length.to_le_bytes());
    Some(end)
}

/// The size of a pack with these blobs.
pub(crate) fn size_bytes<'a>(blobs: impl IntoIterator<Item = &'a PackedBlob>) -> u64 {
    let constant = OVERHEAD_BYTES + LENGTH_BYTES;
    blobs.into_iter().fold(constant as u64, |size, blob| size + blob_size_bytes(blob))
}

/// What one blob adds to the size of its pack.
pub(crate) fn blob_size_bytes(blob: &PackedBlob) -> u64 {
    let entry = if blob.uncompressed == 0 { PLAIN_ENTRY_BYTES } else { COMPRESSED_ENTRY_BYTES };
    u64::from(blob.length) + entry as u64
}

/// The blobs of a whole pack, or what is wrong with it. Says nothing about the bytes of the blobs.
pub(crate) fn parse(key: &Key, pack: &[u8]) -> Result<Vec<PackedBlob>, &'static str> {
    let (rest, length) = pack.split_last_chunk::<LENGTH_BYTES>().ok_or("it is too short for a pack")?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| "its header is too long")?;
    if length > HEADER_BYTES_MAX {
        return Err("its header is too long");
    }
    let start = rest.len().checked_sub(length).ok_or("its header is longer than the pack")?;
    let plain = key.open(&rest[start..]).map_err(|_| "its header is not authentic")?;
    let blobs = parse_entries(&plain)?;
    if blobs.is_empty() {
        return Err("it has no blobs");
    }
    if size_bytes(&blobs) != pack.len() as u64 {
        return Err("its header does not match its size");
    }
    Ok(blobs)
}

fn parse_entries(mut plain: &[u8]) -> Result<Vec<PackedBlob>, &'static str> {
    let mut blobs = Vec::with_capacity(plain.len() / PLAIN_ENTRY_BYTES);
    let mut offset = 0_u32;
    while !plain.is_empty() {
        let blob = parse_entry(&mut plain, offset).ok_or("its header is malformed")?;
        offset = offset.checked_add(blob.length).ok_or("its header is malformed")?;
        blobs.push(blob);
    }
    Ok(blobs)
}

fn parse_entry(plain: &mut &[u8], offset: u32) -> Option<PackedBlob> {
    let [type_byte] = take(plain)?;
    let (kind, is_compressed) = match type_byte {
        0 => (BlobKind::Data, false),
        1 => (BlobKind::Tree, false),
        2 => (BlobKind::Data, true),
        3 => (BlobKind::Tree, true),
        _ => return None,
    };
    let length = u32::from_le_bytes(take(plain)?);
    let uncompressed = if is_compressed { u32::from_le_bytes(take(plain)?) } else { 0 };
    let id = take(plain)?;
    let is_sane = length as usize >= OVERHEAD_BYTES && is_compressed == (uncompressed != 0);
    is_sane.then_some(PackedBlob { kind, id, offset, length, uncompressed })
}

fn take<const N: usize>(plain: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = plain.split_first_chunk::<N>()?;
    *plain = tail;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn pack_with_header(key: &Key, plain: &[u8]) -> Vec<u8> {
        let mut pack = key.seal(plain);
        let length = u32::try_from(pack.len()).unwrap();
        pack.extend_from_slice(&length.to_le_bytes());
        pack
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_pack_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(parse(&Key::random(), &bytes).is_err());
        }

        #[test]
        fn any_authentic_header_is_read_or_refused(plain in prop::collection::vec(0..5_u8, 0..300)) {
            let key = Key::random();
            if let Ok(blobs) = parse(&key, &pack_with_header(&key, &plain)) {
                prop_assert_eq!(size_bytes(&blobs), plain.len() as u64);
            }
        }

        #[test]
        fn entries_survive(blobs in prop::collection::vec((any::<[u8; 32]>(), 32..100_u32, 0..9_u32, any::<bool>()), 1..20)) {
            let key = Key::random();
            let mut pack = Vec::new();
            let mut expected = Vec::new();
            for (id, length, uncompressed, is_tree) in blobs {
                let kind = if is_tree { BlobKind::Tree } else { BlobKind::Data };
                let offset = u32::try_from(pack.len()).unwrap();
                pack.resize(pack.len() + length as usize, 7);
                expected.push(PackedBlob { kind, id, offset, length, uncompressed });
            }
            pack.extend_from_slice(&encode(&key, &expected).unwrap());
            prop_assert_eq!(parse(&key, &pack), Ok(expected));
        }
    }
}
