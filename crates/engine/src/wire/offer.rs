//! "Which of these chunks does the repository lack?", and the answer.

use bytes::{BufMut, Bytes, BytesMut};

use super::cursor::Cursor;
use super::{Malformed, OFFER_ENTRIES_MAX};
use crate::ChunkId;

pub(super) const HEADER_BYTES: usize = 24;
const OFFER_MAGIC: &str = "SDO1";
const ANSWER_MAGIC: &str = "SDA1";

/// The chunk at `index` of the disk has this id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Number of the chunk in its disk.
    pub index: u64,
    /// SHA-256 of its plain bytes.
    pub id: ChunkId,
}

/// These chunks are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZeroRun {
    /// Number of the first chunk.
    pub first: u64,
    /// How many; at least one.
    pub count: u64,
}

/// Body of `offer`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Offer {
    /// The attempt that `open` answered with.
    pub attempt: u32,
    /// Different for each offer of an attempt, equal when an offer is repeated.
    pub number: u64,
    /// Chunks with content.
    pub entries: Vec<Entry>,
    /// Chunks without.
    pub zero_runs: Vec<ZeroRun>,
}

impl Offer {
    /// The body.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut body =
            BytesMut::with_capacity(HEADER_BYTES + 40 * self.entries.len() + 16 * self.zero_runs.len());
        body.put_slice(OFFER_MAGIC.as_bytes());
        body.put_u32(self.attempt);
        body.put_u64(self.number);
        body.put_u32(length_u32(self.entries.len()));
        body.put_u32(length_u32(self.zero_runs.len()));
        for entry in &self.entries {
            body.put_u64(entry.index);
            body.put_slice(entry.id.as_bytes());
        }
        for run in &self.zero_runs {
            body.put_u64(run.first);
            body.put_u64(run.count);
        }
        body.freeze()
    }

    /// Reads a body.
    ///
    /// # Errors
    /// [`Malformed`] if it is not exactly one offer within the limits.
    pub fn decode(body: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor(body);
        cursor.magic(OFFER_MAGIC)?;
        let (attempt, number) = (cursor.u32()?, cursor.u64()?);
        let (entries, runs) = (list_length(&mut cursor)?, list_length(&mut cursor)?);
        let entries = (0..entries).map(|_| decode_entry(&mut cursor)).collect::<Result<_, _>>()?;
        let zero_runs = (0..runs).map(|_| decode_run(&mut cursor)).collect::<Result<_, _>>()?;
        cursor.end()?;
        Ok(Self { attempt, number, entries, zero_runs })
    }
}

/// Body of the answer to `offer`: which entries shall be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer(pub Vec<bool>);

impl Answer {
    /// The body.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut body = BytesMut::with_capacity(8 + self.0.len().div_ceil(8));
        body.put_slice(ANSWER_MAGIC.as_bytes());
        body.put_u32(length_u32(self.0.len()));
        for eight in self.0.chunks(8) {
            body.put_u8(eight.iter().rev().fold(0, |byte, wanted| byte << 1 | u8::from(*wanted)));
        }
        body.freeze()
    }

    /// Reads a body.
    ///
    /// # Errors
    /// [`Malformed`] if it is not exactly one answer to an offer of `entries`.
    pub fn decode(body: &[u8], entries: usize) -> Result<Self, Malformed> {
        let mut cursor = Cursor(body);
        cursor.magic(ANSWER_MAGIC)?;
        if cursor.u32()? as usize != entries {
            return Err(Malformed::Field("entries"));
        }
        let bitmap = cursor.take(entries.div_ceil(8))?;
        cursor.end()?;
        Ok(Self((0..entries).map(|entry| bitmap[entry / 8] >> (entry % 8) & 1 == 1).collect()))
    }
}

fn decode_entry(cursor: &mut Cursor<'_>) -> Result<Entry, Malformed> {
    Ok(Entry { index: cursor.u64()?, id: ChunkId::from_bytes(cursor.array()?) })
}

fn decode_run(cursor: &mut Cursor<'_>) -> Result<ZeroRun, Malformed> {
    let run = ZeroRun { first: cursor.u64()?, count: cursor.u64()? };
    if run.count == 0 { Err(Malformed::Field("count")) } else { Ok(run) }
}

fn list_length(cursor: &mut Cursor<'_>) -> Result<usize, Malformed> {
    let length = cursor.u32()? as usize;
    if length > OFFER_ENTRIES_MAX { Err(Malformed::TooMany) } else { Ok(length) }
}

/// Lists that we build are bounded far below 4 Gi; a longer one would be refused by the peer.
fn length_u32(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn an_offer() -> Offer {
        Offer {
            attempt: 1,
            number: 7,
            entries: (0..3_u8).map(|n| Entry { index: u64::from(n) * 10, id: ChunkId::of(&[n]) }).collect(),
            zero_runs: vec![ZeroRun { first: 1, count: 9 }],
        }
    }

    #[test]
    fn an_offer_survives_the_wire() {
        assert_eq!(Offer::decode(&an_offer().encode()), Ok(an_offer()));
    }

    #[test]
    fn an_offer_that_is_cut_or_prolonged_anywhere_is_refused() {
        let body = an_offer().encode();
        for length in 0..body.len() {
            assert!(Offer::decode(&body[..length]).is_err(), "cut at {length}");
        }
        let longer = [&body[..], &[0]].concat();
        assert_eq!(Offer::decode(&longer), Err(Malformed::Length));
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_anything_is_allocated() {
        let mut body = an_offer().encode().to_vec();
        body[16..20].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(Offer::decode(&body), Err(Malformed::TooMany));
    }

    #[test]
    fn an_empty_run_and_another_version_are_refused() {
        let mut offer = an_offer();
        offer.zero_runs[0].count = 0;
        assert_eq!(Offer::decode(&offer.encode()), Err(Malformed::Field("count")));
        let mut body = an_offer().encode().to_vec();
        body[3] = b'2';
        assert_eq!(Offer::decode(&body), Err(Malformed::Magic { expected: "SDO1" }));
    }

    #[test]
    fn answers_of_every_length_survive_the_wire_with_bit_zero_first() {
        for length in 0..40 {
            let answer = Answer((0..length).map(|n| n % 3 == 1).collect());
            assert_eq!(Answer::decode(&answer.encode(), length), Ok(answer));
        }
        assert_eq!(Answer(vec![false, true]).encode()[8], 0b10);
        assert!(Answer::decode(&Answer(vec![true; 3]).encode(), 4).is_err());
    }
}
