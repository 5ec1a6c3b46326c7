//! Protocol of the data plane, version 1: bodies and limits, without I/O. `docs/design/data-plane.md` is the text
//! that this follows; change both together.

mod chunks;
mod cursor;
mod late;
mod messages;
mod offer;

pub use chunks::{CHUNKS_HEADER_BYTES, ChunksHeader, Codec, FRAME_HEADER_BYTES, FrameHeader};
pub use late::{LATE_TYPE, LateAnswer, PATIENCE_HEADER, SIGN_OF_LIFE};
pub use messages::{Accepted, Coverage, Finish, Finished, Open, Opened, Problem};
pub use offer::{Answer, Entry, Offer, ZeroRun};

/// The version on the wire: part of every path.
pub const VERSION: u32 = 1;
/// Entries of one offer, at most; the same for its zero runs.
pub const OFFER_ENTRIES_MAX: usize = 1024;
/// Size of an offer's body, at most.
pub const OFFER_BYTES_MAX: usize = offer::HEADER_BYTES + OFFER_ENTRIES_MAX * (40 + 16);
/// Size of a JSON body, at most.
pub const JSON_BYTES_MAX: usize = 16 * 1024;
/// Chunk sizes that a session may have: powers of two in this range.
pub const CHUNK_BYTES_RANGE: std::ops::RangeInclusive<u32> = (128 << 10)..=(8 << 20);

/// Media type of offers, answers and chunks.
pub const BINARY_TYPE: &str = "application/octet-stream";
/// Media type of the small bodies.
pub const JSON_TYPE: &str = "application/json";
/// Media type of errors (RFC 9457).
pub const PROBLEM_TYPE: &str = "application/problem+json";

/// Size of a `chunks` body, at most, for chunks of `chunk_bytes`.
#[must_use]
pub fn upload_bytes_max(chunk_bytes: u32) -> usize {
    let three_chunks = 3 * (chunk_bytes as usize + FRAME_HEADER_BYTES) + CHUNKS_HEADER_BYTES;
    three_chunks.max(16 << 20)
}

/// Why a body was refused by the codec.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The first four bytes are not those of this body in this version.
    #[error("The body does not begin with {expected}")]
    Magic {
        /// The magic that was expected.
        expected: &'static str,
    },
    /// The body ends too early, or goes on after its end.
    #[error("The body has another length than its header says")]
    Length,
    /// A list is longer than allowed.
    #[error("The body holds more than {OFFER_ENTRIES_MAX} entries")]
    TooMany,
    /// A field has a value that it cannot have.
    #[error("The field {0} has a value that it cannot have")]
    Field(&'static str),
}

/// Whether `name` may stand in a path as capture id or disk key: 1 to 128 of `A-Z a-z 0-9 . _ -`, no dot in front.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=128).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(allowed)
}

/// The path of an operation on a disk.
#[must_use]
pub fn disk_path(capture: &str, disk: &str, operation: &str) -> String {
    format!("/data/v{VERSION}/captures/{capture}/disks/{disk}/{operation}")
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::ChunkId;

    proptest! {
        #[test]
        fn no_bytes_make_a_decoder_panic(mut body in vec(any::<u8>(), 0..200), magic in 0..4_usize) {
            if let Some(magic) = ["SDO1", "SDA1", "SDC1"].get(magic) && body.len() >= 4 {
                body[..4].copy_from_slice(magic.as_bytes());
            }
            let _ = Offer::decode(&body);
            let _ = Answer::decode(&body, body.len());
            let _ = ChunksHeader::decode(&body);
            let _ = FrameHeader::decode(&body);
            let _ = LateAnswer::decode(&body.into());
        }

        #[test]
        fn what_is_decoded_is_what_was_encoded(
            (attempt, number) in any::<(u32, u64)>(),
            entries in vec(any::<(u64, [u8; 32])>(), 0..20),
            runs in vec((any::<u64>(), 1..u64::MAX), 0..20),
        ) {
            let entries = entries.into_iter().map(|(index, id)| Entry { index, id: ChunkId::from_bytes(id) });
            let zero_runs = runs.into_iter().map(|(first, count)| ZeroRun { first, count });
            let offer = Offer { attempt, number, entries: entries.collect(), zero_runs: zero_runs.collect() };
            prop_assert_eq!(Offer::decode(&offer.encode()), Ok(offer));
        }
    }

    #[test]
    fn names_that_could_leave_their_place_in_a_path_are_refused() {
        for name in ["2000", "job-7", "a", "A_b.c"] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", ".", "..", ".hidden", "a/b", "a b", "é", "a?b", &"x".repeat(129)] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn the_limits_are_those_of_the_document() {
        assert_eq!(OFFER_BYTES_MAX, 57_368);
        assert_eq!(upload_bytes_max(1 << 20), 16 << 20);
        assert!(upload_bytes_max(8 << 20) > 24 << 20);
    }
}
