use std::ops::Range;

use super::Violation;

/// Checks the pieces of a reply to a read: each inside the request, none twice, none missing.
#[derive(Debug)]
pub struct ReadAnswer {
    offset: u64,
    length: usize,
    /// Covered parts, ascending, never touching each other.
    covered: Vec<Range<usize>>,
}

/// Servers answer in order or in a few pieces; more than this is an attack on our memory.
const PIECES_MAX: usize = 4096;

impl ReadAnswer {
    /// Expects `length` bytes of `offset`.
    #[must_use]
    pub const fn new(offset: u64, length: usize) -> Self {
        Self { offset, length, covered: Vec::new() }
    }

    /// Start of the request.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Length of the request in bytes.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.length
    }

    /// Accepts a piece and says where in the buffer it belongs.
    ///
    /// # Errors
    /// An empty piece, one outside of the request, one that overlaps an earlier one, too many pieces.
    pub fn place(&mut self, offset: u64, length: u64) -> Result<Range<usize>, Violation> {
        if length == 0 {
            return Err(Violation::Empty { what: "piece of data" });
        }
        let piece = self.locate(offset, length).ok_or(Violation::Outside {
            offset,
            length,
            request_offset: self.offset,
            request_length: self.length as u64,
        })?;
        self.cover(piece.clone(), offset)?;
        Ok(piece)
    }

    /// Checks that nothing is missing.
    ///
    /// # Errors
    /// [`Violation::Gap`].
    pub fn finish(&self) -> Result<(), Violation> {
        let received: usize = self.covered.iter().map(ExactSizeIterator::len).sum();
        match self.length - received {
            0 => Ok(()),
            missing => Err(Violation::Gap {
                offset: self.offset,
                length: self.length as u64,
                missing: missing as u64,
            }),
        }
    }

    fn locate(&self, offset: u64, length: u64) -> Option<Range<usize>> {
        let start = usize::try_from(offset.checked_sub(self.offset)?).ok()?;
        let end = start.checked_add(usize::try_from(length).ok()?)?;
        (end <= self.length).then_some(start..end)
    }

    fn cover(&mut self, piece: Range<usize>, offset: u64) -> Result<(), Violation> {
        let place = self.covered.partition_point(|range| range.end <= piece.start);
        if self.covered.get(place).is_some_and(|next| next.start < piece.end) {
            return Err(Violation::Overlap { offset });
        }
        if self.covered.len() >= PIECES_MAX {
            return Err(Violation::Scattered { offset: self.offset });
        }
        self.covered.insert(place, piece);
        self.join_with_previous(place + 1);
        self.join_with_previous(place);
        Ok(())
    }

    fn join_with_previous(&mut self, place: usize) {
        let touches = place > 0
            && self.covered.get(place).is_some_and(|range| range.start == self.covered[place - 1].end);
        if touches {
            self.covered[place - 1].end = self.covered.remove(place).end;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pieces_in_any_order_complete_a_reply() {
        let mut answer = ReadAnswer::new(100, 10);
        assert_eq!(answer.place(106, 2), Ok(6..8));
        assert_eq!(answer.place(100, 3), Ok(0..3));
        assert_eq!(answer.finish(), Err(Violation::Gap { offset: 100, length: 10, missing: 5 }));
        assert_eq!(answer.place(108, 2), Ok(8..10));
        assert_eq!(answer.place(103, 3), Ok(3..6));
        assert_eq!(answer.finish(), Ok(()));
        assert_eq!(answer.covered.len(), 1);
    }

    #[test]
    fn a_reply_in_too_many_pieces_is_refused() {
        let mut answer = ReadAnswer::new(0, 1 << 20);
        let placed = (0..1 << 19).map(|piece| answer.place(piece * 2, 1)).find(Result::is_err);
        assert_eq!(placed, Some(Err(Violation::Scattered { offset: 0 })));
    }

    proptest! {
        #[test]
        fn every_byte_is_accepted_once_and_none_outside(
            pieces in proptest::collection::vec((0..80_usize, 0..30_usize), 0..40)
        ) {
            const START: usize = 20;
            let mut answer = ReadAnswer::new(START as u64, 40);
            let mut model = [false; 40];
            for (offset, length) in pieces {
                let place = offset.checked_sub(START).map(|start| start..start + length);
                let free = place.filter(|place| model.get(place.clone()).is_some_and(|part| !part.contains(&true)));
                let expected = free.filter(|place| !place.is_empty());
                prop_assert_eq!(answer.place(offset as u64, length as u64).ok(), expected.clone());
                model[expected.unwrap_or(0..0)].fill(true);
            }
            prop_assert_eq!(answer.finish().is_ok(), model.iter().all(|covered| *covered));
        }
    }
}
