//! Reading index files quickly.
//!
//! An index has a hundred bytes of JSON for each chunk, and opening a repository reads all of it. restic and we write
//! it in one way: without spaces, members always in the same order. That is what is read here. Whatever looks
//! different is left to serde, so that this decides about speed and about nothing else.

use super::file::{IndexBlob, IndexFile, IndexPack};
use crate::pack::BlobKind;
use crate::{IndexId, PackId};

/// The document, if it is written in the usual way. `None` says nothing about its worth.
pub(super) fn scan(json: &[u8]) -> Option<IndexFile> {
    let mut scanner = Scanner { rest: json };
    scanner.literal(b"{")?;
    let mut file = IndexFile::default();
    if scanner.literal(b"\"supersedes\":[").is_some() {
        file.supersedes = scanner.list(|scanner| {
            scanner.literal(b"\"")?;
            scanner.id().map(IndexId::from_bytes)
        })?;
        scanner.literal(b",")?;
    }
    scanner.literal(b"\"packs\":[")?;
    file.packs = scanner.list(Scanner::pack)?;
    scanner.literal(b"}")?;
    scanner.rest.trim_ascii().is_empty().then_some(file)
}

struct Scanner<'a> {
    rest: &'a [u8],
}

impl Scanner<'_> {
    fn literal(&mut self, text: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(text)?;
        Some(())
    }

    /// What follows an opening bracket, up to the closing one.
    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let mut items = Vec::new();
        if self.literal(b"]").is_some() {
            return Some(items);
        }
        loop {
            items.push(item(self)?);
            if self.literal(b",").is_none() {
                self.literal(b"]")?;
                return Some(items);
            }
        }
    }

    fn pack(&mut self) -> Option<IndexPack> {
        self.literal(b"{\"id\":\"")?;
        let id = PackId::from_bytes(self.id()?);
        self.literal(b",\"blobs\":[")?;
        let blobs = self.list(Self::blob)?;
        self.literal(b"}")?;
        Some(IndexPack { id, blobs })
    }

    fn blob(&mut self) -> Option<IndexBlob> {
        self.literal(b"{\"id\":\"")?;
        let id = self.id()?;
        self.literal(b",\"type\":\"")?;
        let kind = match self.literal(b"data") {
            Some(()) => BlobKind::Data,
            None => self.literal(b"tree").map(|()| BlobKind::Tree)?,
        };
        self.literal(b"\",\"offset\":")?;
        let offset = self.number()?;
        self.literal(b",\"length\":")?;
        let length = self.number()?;
        let uncompressed_length = match self.literal(b",\"uncompressed_length\":") {
            Some(()) => self.number()?,
            None => 0,
        };
        self.literal(b"}")?;
        Some(IndexBlob { id, kind, offset, length, uncompressed_length })
    }

    /// An id and the quote after it.
    fn id(&mut self) -> Option<[u8; 32]> {
        let (text, rest) = self.rest.split_first_chunk::<64>()?;
        self.rest = rest;
        let mut id = [0; 32];
        let mut all = 0;
        for (byte, digits) in id.iter_mut().zip(text.chunks_exact(2)) {
            let (high, low) = (DIGITS[usize::from(digits[0])], DIGITS[usize::from(digits[1])]);
            all |= high | low;
            *byte = high << 4 | low & 0x0f;
        }
        self.literal(b"\"")?;
        (all & NO_DIGIT == 0).then_some(id)
    }

    /// A number as JSON has it: no zeros in front, and what follows is none of its business.
    fn number(&mut self) -> Option<u32> {
        let len = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at(len);
        self.rest = rest;
        if len == 0 || len > 1 && digits[0] == b'0' {
            return None;
        }
        digits
            .iter()
            .try_fold(0_u32, |number, digit| number.checked_mul(10)?.checked_add(u32::from(digit - b'0')))
    }
}

/// Marks in [`DIGITS`] what is no hexadecimal digit.
const NO_DIGIT: u8 = 0x80;

/// What each byte is worth as a hexadecimal digit.
const DIGITS: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let mut value = 0;
    while value < 16 {
        digits[b"0123456789abcdef"[value as usize] as usize] = value;
        digits[b"0123456789ABCDEF"[value as usize] as usize] = value;
        value += 1;
    }
    digits
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::PackedBlob;
    use proptest::prelude::*;

    fn any_blob() -> impl Strategy<Value = PackedBlob> {
        let kind = any::<bool>().prop_map(|is_tree| if is_tree { BlobKind::Tree } else { BlobKind::Data });
        (kind, any::<[u8; 32]>(), any::<u32>(), any::<u32>(), 0..3_u32).prop_map(
            |(kind, id, offset, length, uncompressed)| PackedBlob { kind, id, offset, length, uncompressed },
        )
    }

    fn as_text(file: &IndexFile) -> String {
        serde_json::to_string(file).unwrap()
    }

    proptest! {
        #[test]
        fn what_we_write_is_scanned_as_serde_reads_it(
            packs in prop::collection::vec((any::<[u8; 32]>(), prop::collection::vec(any_blob(), 0..4)), 0..4),
            supersedes in prop::collection::vec(any::<[u8; 32]>(), 0..3),
            end in "\n?",
        ) {
            let packs = packs.iter().map(|(id, blobs)| IndexPack::new(PackId::from_bytes(*id), blobs)).collect();
            let supersedes = supersedes.into_iter().map(IndexId::from_bytes).collect();
            let file = IndexFile { supersedes, packs, ..IndexFile::default() };
            let scanned = scan((as_text(&file) + &end).as_bytes()).unwrap();
            prop_assert_eq!(as_text(&scanned), as_text(&file));
        }

        #[test]
        fn a_changed_byte_is_read_as_serde_reads_it_or_left_to_it(at in 0..300_usize, byte in any::<u8>()) {
            let blob = PackedBlob { kind: BlobKind::Data, id: [7; 32], offset: 10, length: 120, uncompressed: 3 };
            let file = IndexFile { packs: vec![IndexPack::new(PackId::of(b""), &[blob])], ..IndexFile::default() };
            let mut text = as_text(&file).into_bytes();
            let at = at % text.len();
            text[at] = byte;
            if let Some(scanned) = scan(&text) {
                let read: IndexFile = serde_json::from_slice(&text).unwrap();
                prop_assert_eq!(as_text(&scanned), as_text(&read));
            }
        }
    }

    #[test]
    fn what_is_written_in_another_way_is_left_to_serde() {
        for json in
            ["{ \"packs\":[]}", "{\"packs\":[],\"more\":1}", "{\"packs\":[]}{}", "{\"packs\":[", "", "{}"]
        {
            assert!(scan(json.as_bytes()).is_none(), "{json}");
        }
        assert!(IndexFile::parse(b"{ \"packs\": null }").is_err());
        assert!(IndexFile::parse(b"{ \"packs\" : [] }").is_ok());
    }
}
