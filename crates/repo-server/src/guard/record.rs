//! One line of the journal.

use sendense_storage::{FileId, FileKind};
use sha2::{Digest, Sha256};

/// A record is written with one call and never crosses a sector of the disk.
pub(super) const RECORD_BYTES: usize = 64;
const MAGIC: [u8; 2] = *b"SG";
const CHECKED_BYTES: usize = 56;

/// What happened. Times and lengths are in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A file must not be removed before `until`.
    Protect { kind: FileKind, id: FileId, until: u64 },
    /// A file whose time had come was removed.
    Removed { kind: FileKind, id: FileId },
    /// No file at all must be removed before `until`, whatever other records say.
    Floor { until: u64 },
    /// New files are protected for at least so long.
    Window { seconds: u64 },
}

/// An event, and when it happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) event: Event,
    pub(super) written: u64,
}

impl Record {
    /// `"SG"`, event, kind, four zeros, value, time, id, and the first eight bytes of the SHA-256 of all this.
    pub(super) fn encode(&self) -> [u8; RECORD_BYTES] {
        let (event, kind, value, id) = match self.event {
            Event::Protect { kind, id, until } => (1, kind_number(kind), until, id),
            Event::Removed { kind, id } => (2, kind_number(kind), 0, id),
            Event::Floor { until } => (3, 0, until, FileId::CONFIG),
            Event::Window { seconds } => (4, 0, seconds, FileId::CONFIG),
        };
        let mut bytes = [0; RECORD_BYTES];
        bytes[..2].copy_from_slice(&MAGIC);
        bytes[2] = event;
        bytes[3] = kind;
        bytes[8..16].copy_from_slice(&value.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.written.to_be_bytes());
        bytes[24..56].copy_from_slice(id.as_bytes());
        let check = Sha256::digest(&bytes[..CHECKED_BYTES]);
        bytes[CHECKED_BYTES..].copy_from_slice(&check[..RECORD_BYTES - CHECKED_BYTES]);
        bytes
    }

    /// `None` for bytes that are no record.
    pub(super) fn decode(bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        let check = Sha256::digest(&bytes[..CHECKED_BYTES]);
        if bytes[..2] != MAGIC || bytes[CHECKED_BYTES..] != check[..RECORD_BYTES - CHECKED_BYTES] {
            return None;
        }
        let number = |at: usize| Some(u64::from_be_bytes(bytes[at..at + 8].try_into().ok()?));
        let (value, written) = (number(8)?, number(16)?);
        let id = FileId::new(bytes[24..56].try_into().ok()?);
        let kind = || FileKind::ALL.into_iter().find(|kind| kind_number(*kind) == bytes[3]);
        let event = match bytes[2] {
            1 => Event::Protect { kind: kind()?, id, until: value },
            2 => Event::Removed { kind: kind()?, id },
            3 => Event::Floor { until: value },
            4 => Event::Window { seconds: value },
            _ => return None,
        };
        Some(Self { event, written })
    }
}

/// The number of a kind, which stands on disk: never change one.
pub(super) fn kind_number(kind: FileKind) -> u8 {
    match kind {
        FileKind::Config => 1,
        FileKind::Key => 2,
        FileKind::Lock => 3,
        FileKind::Index => 4,
        FileKind::Snapshot => 5,
        FileKind::Pack => 6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_record_survives_its_bytes_and_no_changed_byte_goes_unnoticed() {
        let (kind, id) = (FileKind::Snapshot, FileId::new([7; 32]));
        for event in [
            Event::Protect { kind, id, until: 1_800_000_000 },
            Event::Removed { kind, id },
            Event::Floor { until: 5 },
            Event::Window { seconds: 86_400 },
        ] {
            let record = Record { event, written: 1_700_000_000 };
            let bytes = record.encode();
            assert_eq!(Record::decode(&bytes), Some(record));
            for at in 0..RECORD_BYTES {
                let mut damaged = bytes;
                damaged[at] ^= 1;
                assert_eq!(Record::decode(&damaged), None, "{event:?} {at}");
            }
        }
    }
}
