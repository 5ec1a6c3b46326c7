use crate::error::{Error, Result};

/// A range of an export, widened to what the server accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AlignedRange {
    /// First byte to ask for; a multiple of the block.
    pub(crate) start: u64,
    /// End of what to ask for; a multiple of the block, or the end of the export.
    pub(crate) end: u64,
    /// Bytes to cut off the front.
    pub(crate) head: u64,
}

impl AlignedRange {
    /// Widens `length` bytes at `offset` to multiples of `block_bytes`, but not beyond the export: if its size
    /// is no multiple of anything, its last block is short.
    pub(crate) fn around(offset: u64, length: u64, block_bytes: u32, size_bytes: u64) -> Result<Self> {
        let Some(end) = offset.checked_add(length).filter(|end| *end <= size_bytes) else {
            return Err(Error::OutOfRange { offset, length, size_bytes });
        };
        let block_bytes = u64::from(block_bytes);
        let head = offset % block_bytes;
        // Sizes are limited to 63 bits when they arrive, so rounding up cannot overflow.
        Ok(Self { start: offset - head, end: end.next_multiple_of(block_bytes).min(size_bytes), head })
    }

    pub(crate) const fn length(&self) -> u64 {
        self.end - self.start
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_range_is_widened_to_blocks_and_stays_within_the_export(
            size_bytes in 1..1_000_000_u64, exponent in 0..17_u32, from in any::<u64>(), to in any::<u64>()
        ) {
            let block = 1 << exponent;
            let (offset, end) = (from % size_bytes, to % (size_bytes + 1));
            prop_assume!(offset <= end);
            let range = AlignedRange::around(offset, end - offset, block, size_bytes).unwrap();
            prop_assert_eq!(range.start % u64::from(block), 0);
            prop_assert!(range.end.is_multiple_of(block.into()) || range.end == size_bytes);
            prop_assert_eq!(range.start + range.head, offset);
            prop_assert!(end <= range.end && range.end < end + u64::from(block));
        }

        #[test]
        fn a_range_beyond_the_export_is_refused(size_bytes in 0..1_000_u64, offset in any::<u64>(), length in any::<u64>()) {
            prop_assume!(u128::from(offset) + u128::from(length) > u128::from(size_bytes));
            prop_assert!(AlignedRange::around(offset, length, 512, size_bytes).is_err());
        }
    }

    #[test]
    fn the_largest_export_does_not_overflow() {
        let size_bytes = i64::MAX.unsigned_abs();
        let range = AlignedRange::around(size_bytes - 1, 1, 65_536, size_bytes).unwrap();
        assert_eq!((range.end, range.head), (size_bytes, 65_534));
    }
}
