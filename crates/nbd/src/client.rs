//! One export over several connections.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use futures::future::{join_all, try_join_all};
use tokio::sync::Semaphore;

use crate::aligned_range::AlignedRange;
use crate::connection::Connection;
use crate::dial::{Dialed, dial};
use crate::error::{Error, Result};
use crate::options::ConnectOptions;
use crate::protocol::{ExportInfo, Extent};
use crate::request_table::Charge;
use crate::tls::TlsSetup;

/// An export that can be read. Calls may run at the same time, and a call that is dropped disturbs no other.
/// What is in flight is bounded by bytes over all connections.
///
/// The client does not reconnect. When one of its connections ends, requests in flight on the others finish,
/// and every later call fails with the reason. Dropping the client ends its connections without a word.
#[derive(Debug)]
pub struct Client {
    connections: Vec<Connection>,
    info: ExportInfo,
    budget: Arc<Semaphore>,
    budget_bytes: u32,
    request_bytes_max: u32,
}

/// What a request costs at least, so that the number of small ones is bounded too.
const CHARGE_BYTES_MIN: u32 = 4 << 10;

/// What a block status request costs: its reply is a list of unknown length.
const STATUS_CHARGE_BYTES: u32 = 64 << 10;

/// Longest range of one block status request. Servers walk the whole range before they answer, and some of
/// them slowly.
const STATUS_BYTES_MAX: u64 = 1 << 30;

impl Client {
    /// Connects and negotiates. Opening a remote disk may be part of that, so it can take long.
    ///
    /// # Errors
    /// [`Error::Options`], [`Error::TlsFile`] before anything is sent; [`Error::Connect`],
    /// [`Error::ConnectTimeout`], [`Error::Tls`], [`Error::TlsRequired`], [`Error::Refused`],
    /// [`Error::Protocol`], [`Error::Disconnected`] and [`Error::ConnectionsDiffer`].
    pub async fn connect(options: ConnectOptions) -> Result<Self> {
        options.check()?;
        let tls = match &options.tls {
            Some(tls) => Some(TlsSetup::load(tls, &options.address).await?),
            None => None,
        };
        let first = dial(&options, tls.as_ref()).await?;
        let may_share = first.info.can_multi_conn || options.force_multi_conn;
        let others = if may_share { options.connections - 1 } else { 0 };
        let others = try_join_all((0..others).map(|_| dial(&options, tls.as_ref()))).await?;
        Self::start(first, others, &options)
    }

    fn start(first: Dialed, others: Vec<Dialed>, options: &ConnectOptions) -> Result<Self> {
        let info = first.info.clone();
        if others.iter().any(|other| !other.info.describes_the_same_as(&info)) {
            return Err(Error::ConnectionsDiffer);
        }
        let all = std::iter::once(first).chain(others);
        let connections = all.map(|dialed| Connection::start(dialed, options.request_timeout)).collect();
        let budget_bytes = u32::try_from(options.max_in_flight_bytes).unwrap_or(u32::MAX);
        let wanted = u32::try_from(options.request_bytes_max).unwrap_or(u32::MAX);
        let most = wanted.min(budget_bytes).min(info.block_sizes.maximum);
        let minimum = info.block_sizes.minimum;
        Ok(Self {
            connections,
            budget: Arc::new(Semaphore::new(budget_bytes as usize)),
            budget_bytes,
            // Whole blocks, so that the parts of a long read are aligned.
            request_bytes_max: (most - most % minimum).max(minimum),
            info,
        })
    }

    /// What the server says about the export.
    #[must_use]
    pub const fn info(&self) -> &ExportInfo {
        &self.info
    }

    /// Size of the export in bytes.
    #[must_use]
    pub const fn size_bytes(&self) -> u64 {
        self.info.size_bytes
    }

    /// Number of connections. One, if more were wanted but sharing is neither announced nor forced.
    #[must_use]
    pub const fn connections(&self) -> usize {
        self.connections.len()
    }

    /// Exactly `length` bytes from `offset` on; holes are zeroes. Any alignment will do: requests are widened
    /// to the server's blocks and split at its limits. The bytes are received into the memory that is
    /// returned, without a copy.
    ///
    /// # Errors
    /// [`Error::OutOfRange`]; [`Error::Server`], after which the client stays usable; otherwise what ended the
    /// connection: [`Error::Disconnected`], [`Error::RequestTimeout`], [`Error::Protocol`], [`Error::Closed`].
    pub async fn read(&self, offset: u64, length: usize) -> Result<Bytes> {
        let range = self.align(offset, length as u64)?;
        if length == 0 {
            return Ok(Bytes::new());
        }
        let room = in_memory(range.length());
        let mut bytes = self.read_aligned(range, BytesMut::with_capacity(room)).await?;
        bytes.advance(in_memory(range.head));
        bytes.truncate(length);
        Ok(bytes.freeze())
    }

    /// Like [`Client::read`], appending to a buffer of the caller. Aligned ranges are received in place,
    /// others are copied once. After an error the buffer has its old content.
    ///
    /// # Errors
    /// As [`Client::read`].
    pub async fn read_into(&self, offset: u64, length: usize, buffer: &mut BytesMut) -> Result<()> {
        let range = self.align(offset, length as u64)?;
        if range.head > 0 || length == 0 {
            buffer.extend_from_slice(&self.read(offset, length).await?);
            return Ok(());
        }
        buffer.reserve(in_memory(range.length()));
        let room = buffer.split_off(buffer.len());
        let mut received = self.read_aligned(range, room).await?;
        received.truncate(length);
        buffer.unsplit(received);
        Ok(())
    }

    /// Which parts of `length` bytes from `offset` on are holes or zeroes: in order, without gaps, with equal
    /// neighbours joined.
    ///
    /// # Errors
    /// [`Error::NoBlockStatus`], and as [`Client::read`].
    pub async fn block_status(&self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        let range = self.align(offset, length)?;
        let mut extents = Vec::new();
        let mut position = range.start;
        while position < range.end && length > 0 {
            for extent in self.status_once(position, (range.end - position).min(STATUS_BYTES_MAX)).await? {
                position = extent.end();
                if let Some(wanted) = extent.clip(offset, offset + length) {
                    wanted.push_to(&mut extents);
                }
            }
        }
        Ok(extents)
    }

    /// Waits for the requests in flight, says good-bye on all connections and waits until they are closed.
    /// Later calls fail with [`Error::Closed`].
    pub async fn close(&self) {
        let all = self.budget.acquire_many(self.budget_bytes).await;
        self.budget.close();
        join_all(self.connections.iter().map(Connection::close)).await;
        drop(all);
    }

    fn align(&self, offset: u64, length: u64) -> Result<AlignedRange> {
        AlignedRange::around(offset, length, self.info.block_sizes.minimum, self.info.size_bytes)
    }

    /// Reads into a buffer that is empty and has room: each request gets its part of it, and the parts, filled
    /// side by side, are joined where they lie.
    async fn read_aligned(&self, range: AlignedRange, buffer: BytesMut) -> Result<BytesMut> {
        let step = u64::from(self.request_bytes_max);
        let mut rest = buffer;
        let parts = (range.start..range.end).step_by(self.request_bytes_max as usize).map(|start| {
            let length = step.min(range.end - start);
            let beyond =
                if start + length < range.end { rest.split_off(in_memory(length)) } else { BytesMut::new() };
            let part = std::mem::replace(&mut rest, beyond);
            self.read_once(start, u32::try_from(length).unwrap_or(u32::MAX), part)
        });
        let parts = try_join_all(parts).await?;
        let joined = parts.into_iter().reduce(|mut whole, part| {
            whole.unsplit(part);
            whole
        });
        Ok(joined.unwrap_or_default())
    }

    async fn read_once(&self, offset: u64, length: u32, buffer: BytesMut) -> Result<BytesMut> {
        let charge = self.charge(length).await?;
        self.least_busy()?.read(offset, length, buffer, charge).await
    }

    async fn status_once(&self, offset: u64, length: u64) -> Result<Vec<Extent>> {
        let charge = self.charge(STATUS_CHARGE_BYTES).await?;
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        self.least_busy()?.block_status(offset, length, charge).await
    }

    async fn charge(&self, bytes: u32) -> Result<Charge> {
        let bytes = bytes.clamp(CHARGE_BYTES_MIN, self.budget_bytes);
        let permit = Arc::clone(&self.budget).acquire_many_owned(bytes).await;
        Ok(Charge { bytes: bytes.into(), permit: Some(permit.map_err(|_| Error::Closed)?) })
    }

    /// The connection whose server owes the least. One that has ended ends the client: a retry on the others
    /// would hide that the caller reads with less than was asked for.
    fn least_busy(&self) -> Result<&Connection> {
        if let Some(reason) = self.connections.iter().find_map(Connection::end_reason) {
            return Err(reason);
        }
        self.connections.iter().min_by_key(|connection| connection.owed_bytes()).ok_or(Error::Closed)
    }
}

/// Lengths of reads come from `usize` and grow by two blocks at most.
fn in_memory(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
