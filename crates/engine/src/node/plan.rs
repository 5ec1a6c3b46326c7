//! Which chunks of a disk to read, and which are zero without reading.

use std::ops::Range;

use sendense_disk::{Extent, ExtentSet};

use crate::geometry::Geometry;
use crate::wire::{Coverage, ZeroRun};
use crate::{Error, Result};

/// What to read of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Areas {
    /// Everything, less what the source itself reports as a hole.
    Whole,
    /// Only these; everything else is known to be zero.
    Allocated(Vec<Extent>),
    /// Only these; everything else is as in the base of the Hub's session.
    Changed(Vec<Extent>),
}

impl Areas {
    /// What the Hub is told.
    pub(super) fn coverage(&self) -> Coverage {
        match self {
            Self::Whole | Self::Allocated(_) => Coverage::Complete,
            Self::Changed(_) => Coverage::Changed,
        }
    }
}

/// The chunks of a disk, divided.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Chunks to read: sorted, disjoint, not adjacent.
    pub(super) read: Vec<Range<u64>>,
    /// Chunks that are zero without reading; none where the base fills the gaps.
    pub(super) zero: Vec<ZeroRun>,
    /// Bytes of the areas as given.
    pub(super) changed_bytes: u64,
    /// Bytes that will be read.
    pub(super) planned_bytes: u64,
}

impl Plan {
    /// Widens `extents` to chunks. With [`Coverage::Complete`] everything else is zero.
    ///
    /// # Errors
    /// [`Error::Request`] if an extent reaches beyond the end of the disk.
    pub(super) fn new(geometry: &Geometry, extents: &[Extent], coverage: Coverage) -> Result<Self> {
        let size_bytes = geometry.size_bytes();
        if let Some(Extent { offset, length }) = extents.iter().find(|extent| extent.end() > size_bytes) {
            let detail = format!("The area of {length} bytes at {offset} reaches beyond the end of the disk");
            return Err(Error::Request(detail));
        }
        let areas = ExtentSet::new(extents.to_vec());
        let read = areas.align(u64::from(geometry.chunk_bytes()), size_bytes);
        let zero = match coverage {
            Coverage::Complete => {
                ExtentSet::new(vec![Extent { offset: 0, length: size_bytes }]).subtract(&read)
            }
            Coverage::Changed => ExtentSet::default(),
        };
        let chunks = |set: &ExtentSet| -> Vec<Range<u64>> {
            set.extents().iter().map(|extent| chunks_of(geometry, extent)).collect()
        };
        let runs =
            chunks(&zero).into_iter().map(|run| ZeroRun { first: run.start, count: run.end - run.start });
        Ok(Self {
            zero: runs.collect(),
            read: chunks(&read),
            changed_bytes: areas.total_bytes(),
            planned_bytes: read.total_bytes(),
        })
    }
}

/// The chunks of an extent that is made of whole ones.
fn chunks_of(geometry: &Geometry, extent: &Extent) -> Range<u64> {
    let chunk_bytes = u64::from(geometry.chunk_bytes());
    extent.offset / chunk_bytes..extent.end().div_ceil(chunk_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn plan(extents: &[(u64, u64)], coverage: Coverage) -> Result<Plan> {
        let extents: Vec<_> =
            extents.iter().map(|(offset, length)| Extent { offset: *offset, length: *length }).collect();
        Plan::new(&Geometry::new(10 * MIB + 5, 1 << 20).unwrap(), &extents, coverage)
    }

    #[test]
    fn areas_are_widened_to_chunks_and_merged() {
        let plan =
            plan(&[(5 * MIB, 1), (3 * MIB - 1, 2), (3 * MIB + 7, 0), (10 * MIB, 5)], Coverage::Complete)
                .unwrap();
        assert_eq!(plan.read, [2..4, 5..6, 10..11]);
        let zero: Vec<_> = plan.zero.iter().map(|run| run.first..run.first + run.count).collect();
        assert_eq!(zero, [0..2, 4..5, 6..10]);
        assert_eq!((plan.changed_bytes, plan.planned_bytes), (8, 3 * MIB + 5));
    }

    #[test]
    fn what_did_not_change_is_left_to_the_base() {
        let plan = plan(&[(0, 1)], Coverage::Changed).unwrap();
        assert_eq!(plan.zero, []);
        assert_eq!(
            super::Plan::new(&Geometry::new(MIB, 1 << 20).unwrap(), &[], Coverage::Changed).unwrap().read,
            []
        );
    }

    #[test]
    fn an_area_beyond_the_end_is_an_error_and_not_cut() {
        assert!(plan(&[(10 * MIB, 6)], Coverage::Changed).is_err());
        assert!(plan(&[(u64::MAX, 2)], Coverage::Changed).is_err());
    }
}
