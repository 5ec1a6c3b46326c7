//! How a disk is cut into chunks.

use std::ops::Range;

use crate::wire::CHUNK_BYTES_RANGE;
use crate::{Error, Result};

/// A disk's size and the size of its chunks; the last chunk may be shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    size_bytes: u64,
    chunk_bytes: u32,
}

impl Geometry {
    /// # Errors
    /// [`Error::Request`] unless `chunk_bytes` is a power of two from 128 KiB to 8 MiB.
    pub fn new(size_bytes: u64, chunk_bytes: u32) -> Result<Self> {
        if !chunk_bytes.is_power_of_two() || !CHUNK_BYTES_RANGE.contains(&chunk_bytes) {
            let detail =
                format!("Chunks of {chunk_bytes} bytes are not possible: 128 KiB to 8 MiB, a power of two");
            return Err(Error::Request(detail));
        }
        Ok(Self { size_bytes, chunk_bytes })
    }

    /// Size of the disk.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Size of every chunk but the last.
    #[must_use]
    pub fn chunk_bytes(&self) -> u32 {
        self.chunk_bytes
    }

    /// How many chunks the disk has.
    #[must_use]
    pub fn chunk_count(&self) -> u64 {
        self.size_bytes.div_ceil(u64::from(self.chunk_bytes))
    }

    /// Size of the chunk at `index`; `None` beyond the end.
    #[must_use]
    pub fn chunk_bytes_at(&self, index: u64) -> Option<u32> {
        let offset = index.checked_mul(u64::from(self.chunk_bytes))?;
        let left = self.size_bytes.checked_sub(offset).filter(|left| *left > 0)?;
        Some(u32::try_from(left).map_or(self.chunk_bytes, |left| left.min(self.chunk_bytes)))
    }

    /// The bytes of the chunks `indexes`.
    #[must_use]
    pub fn bytes_of(&self, indexes: Range<u64>) -> u64 {
        let offset = |index: u64| index.saturating_mul(u64::from(self.chunk_bytes)).min(self.size_bytes);
        offset(indexes.end) - offset(indexes.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_chunk_is_what_is_left() {
        let geometry = Geometry::new((5 << 19) + 100, 1 << 20).unwrap();
        assert_eq!(geometry.chunk_count(), 3);
        assert_eq!(geometry.chunk_bytes_at(1), Some(1 << 20));
        assert_eq!(geometry.chunk_bytes_at(2), Some((1 << 19) + 100));
        assert_eq!(geometry.chunk_bytes_at(3), None);
        assert_eq!(geometry.chunk_bytes_at(u64::MAX), None);
        assert_eq!(geometry.bytes_of(1..3), (3 << 19) + 100);
    }

    #[test]
    fn an_empty_disk_has_no_chunks_and_a_full_last_chunk_is_full() {
        assert_eq!(Geometry::new(0, 1 << 20).unwrap().chunk_count(), 0);
        let even = Geometry::new(2 << 20, 1 << 20).unwrap();
        assert_eq!(even.chunk_bytes_at(1), Some(1 << 20));
        assert_eq!(even.chunk_bytes_at(2), None);
    }

    #[test]
    fn chunk_sizes_that_the_protocol_does_not_know_are_refused() {
        for chunk_bytes in [0, 1, 4096, (1 << 20) + 1, 16 << 20] {
            assert!(Geometry::new(1 << 30, chunk_bytes).is_err(), "{chunk_bytes}");
        }
    }
}
