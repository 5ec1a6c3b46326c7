//! What a disk can do for whoever reads it.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use crate::{Error, Extent, Result};

/// A disk whose content does not change while it is read. Reads may run at the same time.
#[async_trait]
pub trait BlockSource: Send + Sync {
    /// Bytes of the disk.
    fn size_bytes(&self) -> u64;

    /// Exactly `length` bytes from `offset` on.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] beyond the end; whatever the source fails with otherwise.
    async fn read(&self, offset: u64, length: usize) -> Result<Bytes>;

    /// Like [`Self::read`], appended to a buffer of the caller, who uses its memory again and again.
    ///
    /// # Errors
    /// As [`Self::read`]; the buffer has its old content then.
    async fn read_into(&self, offset: u64, length: usize, buffer: &mut BytesMut) -> Result<()> {
        buffer.extend_from_slice(&self.read(offset, length).await?);
        Ok(())
    }

    /// Where there may be something else than zeroes, sorted and disjoint. A source that does not know says
    /// everywhere.
    ///
    /// # Errors
    /// Whatever the source fails with.
    async fn allocated(&self) -> Result<Vec<Extent>>;
}

/// Refuses what reaches beyond the end.
pub(crate) fn check_range(offset: u64, length: usize, size_bytes: u64) -> Result<()> {
    let length = length as u64;
    match offset.checked_add(length) {
        Some(end) if end <= size_bytes => Ok(()),
        _ => Err(Error::OutOfRange { offset, length, size_bytes }),
    }
}
