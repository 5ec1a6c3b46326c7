//! Where the pieces of a read's reply come together.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::protocol::Malformed;
use crate::{Error, Result};

/// The bytes of one read. Pieces that come in order are received straight into their place, without being zeroed
/// before. Every byte is filled exactly once: an overlap or a gap is an error of the server.
pub(crate) struct ReadBuffer {
    offset: u64,
    length: usize,
    bytes: BytesMut,
    /// Filled ranges beyond nothing in particular; sorted and disjoint.
    filled: Vec<(usize, usize)>,
}

impl ReadBuffer {
    pub(crate) fn new(offset: u64, length: usize) -> Self {
        Self { offset, length, bytes: BytesMut::with_capacity(length), filled: Vec::new() }
    }

    /// Receives `length` bytes that belong at `offset` of the disk.
    pub(crate) async fn receive(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        offset: u64,
        length: usize,
    ) -> Result<()> {
        let start = self.claim(offset, length)?;
        if start > self.bytes.len() {
            self.bytes.resize(start, 0);
        }
        let in_place = (start + length).min(self.bytes.len()).saturating_sub(start);
        stream.read_exact(&mut self.bytes[start..start + in_place]).await?;
        let mut rest = stream.take((length - in_place) as u64);
        while rest.limit() > 0 {
            if rest.read_buf(&mut self.bytes).await? == 0 {
                return Err(Error::Disconnected("the server went away in the middle of a reply".into()));
            }
        }
        Ok(())
    }

    /// Notes a hole: zeroes, without data.
    pub(crate) fn hole(&mut self, offset: u64, length: usize) -> Result<()> {
        let start = self.claim(offset, length)?;
        if start + length > self.bytes.len() {
            self.bytes.resize(start + length, 0);
        }
        Ok(())
    }

    /// The bytes, when all have come.
    pub(crate) fn finish(self) -> Result<Bytes, Malformed> {
        if self.filled == [(0, self.length)] {
            return Ok(self.bytes.freeze());
        }
        Err(Malformed(format!("a reply to {} bytes at {} has gaps", self.length, self.offset)))
    }

    /// Takes a range that nothing was received for yet, and returns its start in the buffer.
    fn claim(&mut self, offset: u64, length: usize) -> Result<usize, Malformed> {
        let outside = || Malformed(format!("a reply has {length} bytes at {offset}, which nobody asked for"));
        let start = offset
            .checked_sub(self.offset)
            .and_then(|start| usize::try_from(start).ok())
            .ok_or_else(outside)?;
        let end = start.checked_add(length).filter(|end| *end <= self.length).ok_or_else(outside)?;
        let place = self.filled.partition_point(|range| range.0 < start);
        let is_free = (place == 0 || self.filled[place - 1].1 <= start)
            && self.filled.get(place).is_none_or(|next| end <= next.0);
        if !is_free || length == 0 {
            return Err(Malformed(format!("a reply has the bytes at {offset} twice")));
        }
        self.filled.insert(place, (start, end));
        self.merge_around(place);
        Ok(start)
    }

    fn merge_around(&mut self, place: usize) {
        if self.filled.get(place + 1).is_some_and(|next| next.0 == self.filled[place].1) {
            self.filled[place].1 = self.filled.remove(place + 1).1;
        }
        if place > 0 && self.filled[place - 1].1 == self.filled[place].0 {
            self.filled[place - 1].1 = self.filled.remove(place).1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn fill(buffer: &mut ReadBuffer, offset: u64, bytes: &[u8]) -> Result<()> {
        buffer.receive(&mut &*bytes, offset, bytes.len()).await
    }

    #[tokio::test]
    async fn pieces_in_any_order_come_together() {
        let mut buffer = ReadBuffer::new(100, 10);
        fill(&mut buffer, 106, &[6, 7]).await.unwrap();
        fill(&mut buffer, 100, &[0, 1, 2]).await.unwrap();
        buffer.hole(108, 2).unwrap();
        fill(&mut buffer, 103, &[3, 4, 5]).await.unwrap();
        assert_eq!(buffer.finish().unwrap().as_ref(), [0, 1, 2, 3, 4, 5, 6, 7, 0, 0]);
    }

    #[tokio::test]
    async fn a_piece_that_reaches_into_unfilled_and_new_bytes_is_whole() {
        let mut buffer = ReadBuffer::new(0, 8);
        fill(&mut buffer, 4, &[4]).await.unwrap();
        fill(&mut buffer, 5, &[5, 6, 7]).await.unwrap();
        fill(&mut buffer, 0, &[0, 1, 2, 3]).await.unwrap();
        assert_eq!(buffer.finish().unwrap().as_ref(), [0, 1, 2, 3, 4, 5, 6, 7]);
    }

    #[tokio::test]
    async fn overlaps_gaps_and_strays_are_errors() {
        let mut buffer = ReadBuffer::new(100, 10);
        fill(&mut buffer, 102, &[1, 2, 3]).await.unwrap();
        for (offset, length) in [(104, 1), (101, 2), (100, 10), (99, 1), (110, 1), (0, 5), (u64::MAX, 1)] {
            assert!(fill(&mut buffer, offset, &vec![9; length]).await.is_err(), "{offset} {length}");
        }
        assert!(buffer.finish().is_err());
    }

    #[tokio::test]
    async fn a_stream_that_ends_early_is_an_error() {
        let mut buffer = ReadBuffer::new(0, 4);
        assert!(buffer.receive(&mut &[1_u8, 2][..], 0, 4).await.is_err());
    }
}
