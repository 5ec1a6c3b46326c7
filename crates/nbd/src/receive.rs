//! The receiving side of a connection: replies come in any order and in pieces.

use std::ops::Range;

use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, BufReader};

use crate::error::{Error, Result};
use crate::protocol::{
    ChunkKind, ERROR_PAYLOAD_BYTES_MAX, ReplyHead, STATUS_PAYLOAD_BYTES_MAX, ServerFailure, Violation,
};
use crate::request_table::{ReadWork, RequestTable, StatusWork, Work};

/// Heads are read through a small buffer, one system call for several of them. Larger payloads bypass it and
/// go straight into the memory of whoever asked.
const HEAD_BUFFER_BYTES: usize = 4096;

/// Memory that is reserved for a control message before any of it has arrived.
const TRUSTED_BYTES: usize = 64 << 10;

/// Receives replies and hands them to who waits, until the connection ends; returns why.
pub(crate) async fn receive(
    stream: impl AsyncRead + Unpin,
    table: &RequestTable,
    has_structured_replies: bool,
) -> Error {
    let mut receiver = Receiver {
        stream: BufReader::with_capacity(HEAD_BUFFER_BYTES, stream),
        table,
        has_structured_replies,
    };
    loop {
        if let Err(error) = receiver.receive_reply().await {
            return error;
        }
    }
}

struct Receiver<'a, S> {
    stream: BufReader<S>,
    table: &'a RequestTable,
    has_structured_replies: bool,
}

impl<S: AsyncRead + Unpin> Receiver<'_, S> {
    async fn receive_reply(&mut self) -> Result<()> {
        let mut head = [0; ReplyHead::BYTES];
        self.stream.read_exact(&mut head).await.map_err(Error::lost)?;
        match ReplyHead::decode(&head)? {
            ReplyHead::Simple { cookie, errno } => {
                let mut work = self.take(cookie)?;
                let received = match errno {
                    Some(errno) => {
                        work.fail(ServerFailure { errno, offset: None, message: String::new() });
                        Ok(())
                    }
                    None => self.simple_data(&mut work).await,
                };
                self.settle(cookie, work, received, true)
            }
            ReplyHead::Chunk { cookie, kind, is_last } => {
                let length = self.stream.read_u32().await.map_err(Error::lost)?;
                let mut work = self.take(cookie)?;
                let received = self.chunk(&mut work, kind, is_last, length).await;
                self.settle(cookie, work, received, is_last)
            }
        }
    }

    fn take(&self, cookie: u64) -> Result<Work> {
        self.table.take(cookie).ok_or_else(|| Violation::UnknownCookie { cookie }.into())
    }

    /// A request that failed stays in the table: it is dropped from there, after the reason is known.
    fn settle(&self, cookie: u64, work: Work, received: Result<()>, is_last: bool) -> Result<()> {
        if received.is_err() || !is_last {
            self.table.put_back(cookie, work);
            return received;
        }
        // First the budget, then the answer, so that whoever got the answer finds the budget free.
        self.table.remove(cookie);
        work.complete()
    }

    /// The data of a simple reply: all of the request, without a word about where.
    async fn simple_data(&mut self, work: &mut Work) -> Result<()> {
        let wrong_style = Violation::WrongReplyStyle { expected: "structured", found: "simple" };
        match work {
            Work::Read(read) if !self.has_structured_replies => {
                let place = read.answer.place(read.answer.offset(), read.answer.length() as u64)?;
                self.fill(&mut read.buffer, place).await
            }
            _ => Err(wrong_style.into()),
        }
    }

    async fn chunk(&mut self, work: &mut Work, kind: ChunkKind, is_last: bool, length: u32) -> Result<()> {
        if !self.has_structured_replies {
            return Err(Violation::WrongReplyStyle { expected: "simple", found: "structured" }.into());
        }
        match (kind, work) {
            (ChunkKind::OffsetData, Work::Read(read)) => self.data(read, length).await,
            (ChunkKind::OffsetHole, Work::Read(read)) => self.hole(read, length).await,
            (ChunkKind::BlockStatus, Work::Status(status)) => self.status(status, length).await,
            (ChunkKind::Error | ChunkKind::ErrorOffset, work) => {
                let payload = self.payload("an error chunk", length, ERROR_PAYLOAD_BYTES_MAX).await?;
                work.fail(ServerFailure::decode(kind, &payload)?);
                Ok(())
            }
            (ChunkKind::None, _) if is_last => {
                Ok(Violation::check_length("a chunk without content", length.into(), 0)?)
            }
            (kind, work) => {
                let command = work.command().verb();
                Err(Violation::UnexpectedChunk { kind: kind.number(), command }.into())
            }
        }
    }

    async fn data(&mut self, read: &mut ReadWork, length: u32) -> Result<()> {
        let data_bytes = length.checked_sub(8).ok_or(Violation::TooShort { what: "a data chunk" })?;
        let offset = self.stream.read_u64().await.map_err(Error::lost)?;
        let place = read.answer.place(offset, data_bytes.into())?;
        self.fill(&mut read.buffer, place).await
    }

    async fn hole(&mut self, read: &mut ReadWork, length: u32) -> Result<()> {
        if length != 12 {
            Violation::check_length("a hole", length.into(), 12)?;
            return Err(Violation::TooShort { what: "a hole" }.into());
        }
        let offset = self.stream.read_u64().await.map_err(Error::lost)?;
        let hole_bytes = self.stream.read_u32().await.map_err(Error::lost)?;
        let place = read.answer.place(offset, hole_bytes.into())?;
        // Whatever lies before the end of the buffer and was not received yet is zero already.
        if place.end > read.buffer.len() {
            read.buffer.resize(place.end, 0);
        }
        Ok(())
    }

    async fn status(&mut self, status: &mut StatusWork, length: u32) -> Result<()> {
        let payload = self.payload("a block status chunk", length, STATUS_PAYLOAD_BYTES_MAX).await?;
        Ok(status.answer.describe(&payload)?)
    }

    /// Receives into the part of the buffer that was assigned. In order, the usual case, bytes are received
    /// into fresh memory without zeroing it first; a piece that comes too early zeroes what it skips.
    async fn fill(&mut self, buffer: &mut BytesMut, place: Range<usize>) -> Result<()> {
        if place.start < buffer.len() {
            self.stream.read_exact(&mut buffer[place]).await.map_err(Error::lost)?;
            return Ok(());
        }
        buffer.resize(place.start, 0);
        self.append(buffer, place.len()).await
    }

    /// A message of the protocol, which is believed to be of that length only as it arrives.
    async fn payload(&mut self, what: &'static str, length: u32, limit: u64) -> Result<BytesMut> {
        Violation::check_length(what, length.into(), limit)?;
        let length = length as usize;
        let mut payload = BytesMut::with_capacity(length.min(TRUSTED_BYTES));
        self.append(&mut payload, length).await?;
        Ok(payload)
    }

    async fn append(&mut self, buffer: &mut BytesMut, length: usize) -> Result<()> {
        let mut rest = buffer.limit(length);
        while rest.has_remaining_mut() {
            if self.stream.read_buf(&mut rest).await.map_err(Error::lost)? == 0 {
                return Err(Error::hung_up());
            }
        }
        Ok(())
    }
}
