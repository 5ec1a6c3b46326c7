//! Blobs that lie side by side in a pack, so that one request reads them.

use crate::pack::PackedBlob;

/// Bytes between two blobs that are cheaper to read than to skip.
const GAP_BYTES_MAX: u32 = 128 << 10;

/// The part of a pack that one request reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stretch {
    start: u32,
    end: u32,
}

impl Stretch {
    /// What one blob takes.
    pub(crate) fn of(blob: &PackedBlob) -> Self {
        Self { start: blob.offset, end: blob.offset.saturating_add(blob.length) }
    }

    /// Where it begins in the pack.
    pub(crate) fn start(self) -> u32 {
        self.start
    }

    /// How many bytes it has, gaps included.
    pub(crate) fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    /// Grows by a blob that lies behind it and near enough. `false` if it is not, or if it would become too long.
    pub(crate) fn take(&mut self, next: &PackedBlob, bytes_max: u64) -> bool {
        let end = next.offset.saturating_add(next.length).max(self.end);
        let takes = next.offset.saturating_sub(self.end) <= GAP_BYTES_MAX
            && u64::from(end.saturating_sub(self.start)) <= bytes_max;
        if takes {
            self.end = end;
        }
        takes
    }
}

/// Splits blobs of one pack, in the order in which they lie, into those that are read together.
pub(crate) fn stretches(
    blobs: &[PackedBlob],
    bytes_max: u64,
) -> impl Iterator<Item = (Stretch, &[PackedBlob])> {
    let mut rest = blobs;
    std::iter::from_fn(move || {
        let mut stretch = Stretch::of(rest.first()?);
        let length = rest.iter().skip(1).take_while(|next| stretch.take(next, bytes_max)).count() + 1;
        let (together, behind) = rest.split_at(length);
        rest = behind;
        Some((stretch, together))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::BlobKind;

    fn lengths(places: &[(u32, u32)], bytes_max: u64) -> Vec<(u32, usize, usize)> {
        let blob = |&(offset, length): &(u32, u32)| PackedBlob {
            kind: BlobKind::Data,
            id: [0; 32],
            offset,
            length,
            uncompressed: 0,
        };
        let blobs: Vec<_> = places.iter().map(blob).collect();
        let found = stretches(&blobs, bytes_max);
        found.map(|(stretch, blobs)| (stretch.start(), stretch.len(), blobs.len())).collect()
    }

    #[test]
    fn neighbours_are_read_together_until_that_is_too_much() {
        assert_eq!(lengths(&[], 100), []);
        assert_eq!(lengths(&[(0, 40), (40, 40), (80, 40)], 100), [(0, 80, 2), (80, 40, 1)]);
        assert_eq!(lengths(&[(7, 400), (407, 1)], 100), [(7, 400, 1), (407, 1, 1)]);
    }

    #[test]
    fn a_gap_is_read_along_if_it_is_small() {
        let near = 10 + GAP_BYTES_MAX;
        assert_eq!(lengths(&[(0, 10), (near, 5)], 1 << 20), [(0, near as usize + 5, 2)]);
        assert_eq!(lengths(&[(0, 10), (near + 1, 5)], 1 << 20), [(0, 10, 1), (near + 1, 5, 1)]);
    }
}
