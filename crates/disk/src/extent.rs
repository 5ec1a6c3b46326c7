//! Ranges of bytes, and sets of them.

/// A range of bytes of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Extent {
    /// First byte.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
}

impl Extent {
    /// The byte after the last one; saturates, so that a hostile length cannot wrap around.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.length)
    }
}

/// Bytes of a disk as sorted extents that neither overlap nor touch nor are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExtentSet(Vec<Extent>);

impl ExtentSet {
    /// The set of all bytes in `extents`, which may be in any order and overlap.
    #[must_use]
    pub fn new(mut extents: Vec<Extent>) -> Self {
        extents.retain(|extent| extent.length > 0);
        extents.sort_unstable();
        let mut merged: Vec<Extent> = Vec::with_capacity(extents.len());
        for extent in extents {
            match merged.last_mut() {
                Some(last) if extent.offset <= last.end() => {
                    last.length = last.end().max(extent.end()) - last.offset;
                }
                _ => merged.push(extent),
            }
        }
        Self(merged)
    }

    /// The extents, in order.
    #[must_use]
    pub fn extents(&self) -> &[Extent] {
        &self.0
    }

    /// The same as a list.
    #[must_use]
    pub fn into_extents(self) -> Vec<Extent> {
        self.0
    }

    /// Number of bytes.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.0.iter().map(|extent| extent.length).sum()
    }

    /// Without what lies at or beyond `size_bytes`.
    #[must_use]
    pub fn clip(&self, size_bytes: u64) -> Self {
        let inside = self.0.iter().filter(|extent| extent.offset < size_bytes);
        Self(
            inside
                .map(|extent| Extent {
                    offset: extent.offset,
                    length: extent.end().min(size_bytes) - extent.offset,
                })
                .collect(),
        )
    }

    /// Widened to whole units of `unit_bytes`, but not beyond `size_bytes`.
    #[must_use]
    pub fn align(&self, unit_bytes: u64, size_bytes: u64) -> Self {
        let widened = self.clip(size_bytes).0.into_iter().map(|extent| {
            let offset = extent.offset - extent.offset % unit_bytes;
            let end = extent.end().div_ceil(unit_bytes).saturating_mul(unit_bytes).min(size_bytes);
            Extent { offset, length: end - offset }
        });
        Self::new(widened.collect())
    }

    /// The bytes of this set that are not in `other`.
    #[must_use]
    pub fn subtract(&self, other: &Self) -> Self {
        let mut rest = Vec::new();
        let mut cuts = other.0.iter().copied().peekable();
        for extent in &self.0 {
            let mut start = extent.offset;
            while cuts.next_if(|cut| cut.end() <= start).is_some() {}
            // A cut may reach into the next extent too, so it is looked at without being taken.
            for cut in cuts.clone().take_while(|cut| cut.offset < extent.end()) {
                if cut.offset > start {
                    rest.push(Extent { offset: start, length: cut.offset - start });
                }
                start = start.max(cut.end());
            }
            if start < extent.end() {
                rest.push(Extent { offset: start, length: extent.end() - start });
            }
        }
        Self(rest)
    }
}

impl FromIterator<Extent> for ExtentSet {
    fn from_iter<I: IntoIterator<Item = Extent>>(extents: I) -> Self {
        Self::new(extents.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SIZE: u64 = 200;

    /// The bytes of the extents, one by one.
    fn bitmap(extents: &[Extent]) -> Vec<bool> {
        let contains = |byte| extents.iter().any(|extent| extent.offset <= byte && byte < extent.end());
        (0..SIZE).map(contains).collect()
    }

    fn is_normal(set: &ExtentSet) -> bool {
        set.0.iter().all(|extent| extent.length > 0)
            && set.0.windows(2).all(|pair| pair[0].end() < pair[1].offset)
    }

    fn any_extents() -> impl Strategy<Value = Vec<Extent>> {
        let extent = (0..SIZE, 0..40_u64)
            .prop_map(|(offset, length)| Extent { offset, length: length.min(SIZE - offset) });
        proptest::collection::vec(extent, 0..12)
    }

    proptest! {
        #[test]
        fn a_set_holds_the_same_bytes_as_its_extents(extents in any_extents()) {
            let set = ExtentSet::new(extents.clone());
            prop_assert!(is_normal(&set));
            prop_assert_eq!(bitmap(&extents), bitmap(set.extents()));
            prop_assert_eq!(set.total_bytes(), bitmap(&extents).iter().filter(|bit| **bit).count() as u64);
        }

        #[test]
        fn subtraction_is_that_of_the_bytes(one in any_extents(), other in any_extents()) {
            let rest = ExtentSet::new(one.clone()).subtract(&ExtentSet::new(other.clone()));
            let expected: Vec<_> = bitmap(&one).iter().zip(bitmap(&other)).map(|(a, b)| *a && !b).collect();
            prop_assert!(is_normal(&rest));
            prop_assert_eq!(expected, bitmap(rest.extents()));
        }

        #[test]
        fn alignment_covers_every_unit_that_was_touched(extents in any_extents(), unit in 1..33_u64) {
            let aligned = ExtentSet::new(extents.clone()).align(unit, SIZE);
            let bits = bitmap(&extents);
            let touched = |byte: u64| (byte / unit * unit..((byte / unit + 1) * unit).min(SIZE)).any(|b| bits[usize::try_from(b).unwrap()]);
            prop_assert!(is_normal(&aligned));
            prop_assert_eq!((0..SIZE).map(touched).collect::<Vec<_>>(), bitmap(aligned.extents()));
        }

        #[test]
        fn clipping_drops_what_is_beyond_the_end(extents in any_extents(), size in 0..SIZE) {
            let clipped = ExtentSet::new(extents.clone()).clip(size);
            let expected: Vec<_> = bitmap(&extents).iter().zip(0..).map(|(bit, byte)| *bit && byte < size).collect();
            prop_assert!(is_normal(&clipped));
            prop_assert_eq!(expected, bitmap(clipped.extents()));
        }
    }

    #[test]
    fn a_hostile_length_does_not_wrap_around() {
        let set =
            ExtentSet::new(vec![Extent { offset: 10, length: u64::MAX }, Extent { offset: 5, length: 1 }]);
        assert_eq!(set.clip(100).total_bytes(), 91);
    }
}
