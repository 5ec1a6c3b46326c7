use bytes::Buf;

use super::Violation;

/// "Reply types": a descriptor has a length and flags, 32 bits each.
const DESCRIPTOR_BYTES: u64 = 8;
const DESCRIPTORS_MAX: u64 = 1 << 20;

/// Longest payload of a block status chunk that is believed.
pub const STATUS_PAYLOAD_BYTES_MAX: u64 = 4 + DESCRIPTORS_MAX * DESCRIPTOR_BYTES;

/// `base:allocation`: `NBD_STATE_HOLE` and `NBD_STATE_ZERO`.
const STATE_HOLE: u32 = 1;
const STATE_ZERO: u32 = 2;

/// A range of a disk in one allocation state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First byte.
    pub offset: u64,
    /// Number of bytes, never 0.
    pub length: u64,
    /// No storage is allocated. Says nothing of the content.
    pub is_hole: bool,
    /// All bytes read as zero.
    pub is_zero: bool,
}

impl Extent {
    pub(crate) const fn end(&self) -> u64 {
        self.offset + self.length
    }

    /// The part between `start` and `end`, if there is one.
    pub(crate) fn clip(self, start: u64, end: u64) -> Option<Self> {
        let (first, last) = (self.offset.max(start), self.end().min(end));
        (first < last).then(|| Self { offset: first, length: last - first, ..self })
    }

    /// Appends to a list in ascending order, joining neighbours of the same state.
    pub(crate) fn push_to(self, extents: &mut Vec<Self>) {
        match extents.last_mut() {
            Some(last)
                if last.end() == self.offset
                    && last.is_hole == self.is_hole
                    && last.is_zero == self.is_zero =>
            {
                last.length += self.length;
            }
            _ => extents.push(self),
        }
    }
}

/// Checks the reply to a block status request: the right context, once, and at least one descriptor.
#[derive(Debug)]
pub struct StatusAnswer {
    offset: u64,
    length: u64,
    context_id: u32,
    extents: Vec<Extent>,
}

impl StatusAnswer {
    /// Expects descriptors for the start of `length` bytes at `offset`. Their sum fits into 64 bits.
    #[must_use]
    pub const fn new(offset: u64, length: u64, context_id: u32) -> Self {
        Self { offset, length, context_id, extents: Vec::new() }
    }

    /// Start of the request.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Length of the request in bytes.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Takes the payload of a block status chunk. The last descriptor may reach past the request and is cut.
    ///
    /// # Errors
    /// Another context, a second chunk, a descriptor without length, descriptors past the request.
    pub fn describe(&mut self, mut payload: &[u8]) -> Result<(), Violation> {
        let too_short = Violation::too_short("a block status chunk");
        let context_id = payload.try_get_u32().map_err(&too_short)?;
        if context_id != self.context_id || !self.extents.is_empty() {
            return Err(Violation::UnexpectedContext { context_id });
        }
        let end = self.offset + self.length;
        let mut position = self.offset;
        while !payload.is_empty() {
            let length = u64::from(payload.try_get_u32().map_err(&too_short)?);
            let flags = payload.try_get_u32().map_err(&too_short)?;
            if length == 0 {
                return Err(Violation::Empty { what: "block status descriptor" });
            }
            if position >= end {
                return Err(Violation::Outside {
                    offset: position,
                    length,
                    request_offset: self.offset,
                    request_length: self.length,
                });
            }
            let length = length.min(end - position);
            let state = Extent {
                offset: position,
                length,
                is_hole: flags & STATE_HOLE != 0,
                is_zero: flags & STATE_ZERO != 0,
            };
            state.push_to(&mut self.extents);
            position += length;
        }
        Ok(())
    }

    /// The extents, from the start of the request without gaps, possibly ending before its end.
    ///
    /// # Errors
    /// No descriptor came.
    pub fn finish(self) -> Result<Vec<Extent>, Violation> {
        if self.extents.is_empty() {
            return Err(Violation::Empty { what: "block status" });
        }
        Ok(self.extents)
    }
}
