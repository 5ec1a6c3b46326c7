//! One export over several connections.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::future::try_join_all;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::connection::Connection;
use crate::handshake::{self, ExportInfo, Negotiated};
use crate::options::ConnectOptions;
use crate::pending::Reply;
use crate::protocol::transmission::{Command, StatusRange};
use crate::{Error, Result};

/// A range of an export and what is known about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
    /// Nothing is allocated there.
    pub is_hole: bool,
    /// Reads give zeroes.
    pub is_zero: bool,
}

/// An export that can be read. Calls may run at the same time; what is in flight is bounded by bytes over all
/// connections. It does not reconnect: when a server goes away, everything that waits fails, and so does what follows.
pub struct Client {
    connections: Vec<Connection>,
    info: ExportInfo,
    in_flight: Arc<Semaphore>,
    request_bytes_max: u32,
}

impl Client {
    /// Connects and negotiates. Opening a remote disk may be part of that, so it can take long.
    ///
    /// # Errors
    /// [`Error::Connect`], [`Error::Refused`], [`Error::Tls`], [`Error::Timeout`] or [`Error::Options`].
    pub async fn connect(options: ConnectOptions) -> Result<Self> {
        options.check()?;
        let first = negotiate(&options).await?;
        let info = first.info;
        let mut connections = vec![Connection::new(first, options.request_timeout)];
        if info.can_multi_conn || options.force_multi_conn {
            for _ in 1..options.connections {
                let next = negotiate(&options).await?;
                if next.info.size_bytes != info.size_bytes {
                    return Err(Error::Protocol(
                        "the export changes its size from one connection to the next".into(),
                    ));
                }
                connections.push(Connection::new(next, options.request_timeout));
            }
        }
        let wanted =
            u32::try_from(options.request_bytes_max.min(options.max_in_flight_bytes)).unwrap_or(u32::MAX);
        let request_bytes_max = wanted.min(info.request_bytes_max);
        let request_bytes_max =
            (request_bytes_max - request_bytes_max % info.block_bytes_min).max(info.block_bytes_min);
        let in_flight = Arc::new(Semaphore::new(options.max_in_flight_bytes));
        Ok(Self { connections, info, in_flight, request_bytes_max })
    }

    /// What the server says about the export.
    #[must_use]
    pub fn info(&self) -> &ExportInfo {
        &self.info
    }

    /// Bytes of the export.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.info.size_bytes
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Exactly `length` bytes from `offset` on; holes are zeroes. Any alignment will do: requests are widened to
    /// the server's blocks and split at its limits.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::Read`] where the server cannot read, or the end of the connection.
    pub async fn read(&self, offset: u64, length: usize) -> Result<Bytes> {
        self.check_range(offset, length as u64)?;
        if length == 0 {
            return Ok(Bytes::new());
        }
        let block = u64::from(self.info.block_bytes_min);
        let start = offset - offset % block;
        // An export whose size is no multiple of its block ends with a short one.
        let end = (offset + length as u64).div_ceil(block).saturating_mul(block).min(self.info.size_bytes);
        let bytes = self.read_aligned(start, end).await?;
        let skip = usize::try_from(offset - start).unwrap_or(usize::MAX);
        Ok(bytes.slice(skip..skip + length))
    }

    /// Which ranges of `length` bytes from `offset` on are holes or zeroes, in order and without gaps. A server
    /// that does not tell has data everywhere.
    ///
    /// # Errors
    /// [`Error::OutOfRange`], [`Error::Read`] or the end of the connection.
    pub async fn block_status(&self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        self.check_range(offset, length)?;
        if !self.info.has_block_status {
            return Ok(vec![Extent { offset, length, is_hole: false, is_zero: false }]);
        }
        let block = u64::from(self.info.block_bytes_min);
        let end = offset + length;
        let mut position = offset - offset % block;
        let mut extents = Vec::new();
        while position < end {
            // Lengths are 32 bits wide on the wire.
            let most = u64::from(u32::MAX) - u64::from(u32::MAX) % block;
            let asked =
                (end.div_ceil(block).saturating_mul(block).min(self.info.size_bytes) - position).min(most);
            let ranges = self.status_once(position, u32::try_from(asked).unwrap_or(u32::MAX)).await?;
            position = append(&mut extents, position, &ranges, offset, end)?;
        }
        Ok(extents)
    }

    /// Says good-bye to the server on all connections.
    pub async fn close(self) {
        for connection in &self.connections {
            connection.close().await;
        }
    }

    async fn read_aligned(&self, start: u64, end: u64) -> Result<Bytes> {
        let step = u64::from(self.request_bytes_max);
        if end - start <= step {
            return self.read_once(start, end).await;
        }
        let starts = (start..end).step_by(self.request_bytes_max as usize);
        let parts = try_join_all(starts.map(|part| self.read_once(part, (part + step).min(end)))).await?;
        let mut whole = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
        for part in parts {
            whole.extend_from_slice(&part);
        }
        Ok(whole.freeze())
    }

    async fn read_once(&self, start: u64, end: u64) -> Result<Bytes> {
        let length = u32::try_from(end - start).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        let permit = Arc::clone(&self.in_flight).acquire_many_owned(length).await.ok();
        match self.least_busy()?.request(Command::Read, start, length, permit).await? {
            Reply::Read(bytes) => Ok(bytes),
            Reply::Status(_) => Err(Error::Protocol("a read was answered with a block status".into())),
        }
    }

    async fn status_once(&self, offset: u64, length: u32) -> Result<Vec<StatusRange>> {
        match self.least_busy()?.request(Command::BlockStatus, offset, length, None).await? {
            Reply::Status(ranges) if !ranges.is_empty() => Ok(ranges),
            _ => Err(Error::Protocol("a block status tells nothing".into())),
        }
    }

    fn least_busy(&self) -> Result<&Connection> {
        let open = self.connections.iter().filter(|connection| connection.is_open());
        let best = open.min_by_key(|connection| connection.load());
        best.ok_or_else(|| Error::Disconnected("no connection is left".into()))
    }

    fn check_range(&self, offset: u64, length: u64) -> Result<()> {
        let size_bytes = self.info.size_bytes;
        match offset.checked_add(length) {
            Some(end) if end <= size_bytes => Ok(()),
            _ => Err(Error::OutOfRange { offset, length, size_bytes }),
        }
    }
}

async fn negotiate(options: &ConnectOptions) -> Result<Negotiated> {
    let limit = options.connect_timeout;
    let timed_out = |_| Error::Timeout { seconds: limit.as_secs() };
    timeout(limit, handshake::connect(options)).await.map_err(timed_out)?
}

/// Appends what lies between `from` and `end`, joins equal neighbours, and returns where the ranges end.
fn append(extents: &mut Vec<Extent>, start: u64, ranges: &[StatusRange], from: u64, end: u64) -> Result<u64> {
    let mut position = start;
    for StatusRange { length, is_hole, is_zero } in ranges {
        let next = position.saturating_add(u64::from(*length));
        let (first, last) = (position.max(from), next.min(end));
        position = next;
        if first >= last {
            continue;
        }
        match extents.last_mut() {
            Some(before) if (before.is_hole, before.is_zero) == (*is_hole, *is_zero) => {
                before.length += last - first;
            }
            _ => extents.push(Extent {
                offset: first,
                length: last - first,
                is_hole: *is_hole,
                is_zero: *is_zero,
            }),
        }
    }
    if position <= start {
        return Err(Error::Protocol("a block status does not get on".into()));
    }
    Ok(position)
}
