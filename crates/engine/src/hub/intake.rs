//! What the Hub knows of one disk while it arrives: which chunk stands where, and what is still missing.
//! A state machine without I/O; the session drives it.

use std::collections::{HashMap, HashSet};

use crate::geometry::Geometry;
use crate::wire::{Answer, Coverage, Entry, Finish, FrameHeader, Offer, Open, ZeroRun};
use crate::zero_ids::ZeroIds;
use crate::{ChunkId, Code, Error, Result};

/// Content of one disk in the making.
pub(crate) struct Intake {
    geometry: Geometry,
    zero_ids: ZeroIds,
    has_base: bool,
    /// The current attempt; 0 before the first.
    attempt: u32,
    coverage: Coverage,
    /// The id of each chunk. Where `marks` says `Untouched`, that of the base, or the one of zeros.
    content: Vec<ChunkId>,
    marks: Vec<Mark>,
    /// Chunks that were asked for and are not stored yet.
    wanted: HashMap<ChunkId, Claim>,
    is_finished: bool,
}

/// What the current attempt has said of a chunk.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Untouched,
    Offered,
    Zero,
}

/// Who was asked for a chunk, and how long it must be.
#[derive(Clone, Copy)]
struct Claim {
    /// The offer that was asked; `None` after an upload that failed, so that the next offer is asked again.
    offer: Option<u64>,
    plain_bytes: u32,
}

impl Intake {
    pub(crate) fn new(geometry: Geometry, has_base: bool) -> Self {
        Self {
            geometry,
            zero_ids: ZeroIds::of(geometry),
            has_base,
            attempt: 0,
            coverage: Coverage::Complete,
            content: Vec::new(),
            marks: Vec::new(),
            wanted: HashMap::new(),
            is_finished: false,
        }
    }

    pub(crate) fn zero_ids(&self) -> &ZeroIds {
        &self.zero_ids
    }

    /// What a disk without a base consists of before anything is offered.
    pub(crate) fn content_of_zeros(&self) -> Vec<ChunkId> {
        (0..self.geometry.chunk_count()).map(|index| self.zero_ids.at(index)).collect()
    }

    /// Fails unless the Node is about to do what the session was planned for.
    pub(crate) fn check_open(&self, open: &Open) -> Result<()> {
        if open.size_bytes != self.geometry.size_bytes() {
            let (theirs, ours) = (open.size_bytes, self.geometry.size_bytes());
            return Err(mismatch(format!("The disk has {theirs} bytes, the capture was planned for {ours}")));
        }
        if open.coverage == Coverage::Changed && !self.has_base {
            return Err(mismatch("Changed areas were announced for a disk without a base".into()));
        }
        Ok(())
    }

    /// Begins an attempt. `content` is that of the base, or the ids of zeros.
    pub(crate) fn open(&mut self, open: &Open, content: Vec<ChunkId>) -> Result<u32> {
        self.check_open(open)?;
        if content.len() as u64 != self.geometry.chunk_count() {
            return Err(Error::Internal("A base of another length passed the checks".into()));
        }
        self.attempt += 1;
        self.coverage = open.coverage;
        self.marks = vec![Mark::Untouched; content.len()];
        self.content = content;
        self.wanted.clear();
        self.is_finished = false;
        Ok(self.attempt)
    }

    /// Notes an offer, and says what shall be sent. `plain_bytes_of` tells the length of a chunk that is stored.
    pub(crate) fn offer(
        &mut self,
        offer: &Offer,
        plain_bytes_of: impl Fn(&ChunkId) -> Option<u64>,
    ) -> Result<Answer> {
        self.check_attempt(offer.attempt)?;
        self.check_zero_runs(&offer.zero_runs)?;
        let mut answer = Vec::with_capacity(offer.entries.len());
        let mut asked = HashSet::new();
        for entry in &offer.entries {
            let plain_bytes = self.geometry.chunk_bytes_at(entry.index).ok_or_else(beyond_the_end)?;
            let wanted = match plain_bytes_of(&entry.id) {
                None => self.claim(entry, offer.number, plain_bytes)?,
                Some(stored) if stored == u64::from(plain_bytes) => false,
                Some(_) => return Err(malformed("A chunk of another length has this id")),
            };
            self.put(entry.index, entry.id, Mark::Offered);
            // Of entries with the same id only the first is asked for.
            answer.push(wanted && asked.insert(entry.id));
        }
        self.put_zero_runs(&offer.zero_runs);
        Ok(Answer(answer))
    }

    /// Whether a frame may be stored: it was offered with this length and is still missing. `false` if it is stored
    /// already, as `plain_bytes_of` then tells.
    pub(crate) fn expects(
        &self,
        attempt: u32,
        frame: &FrameHeader,
        plain_bytes_of: impl Fn(&ChunkId) -> Option<u64>,
    ) -> Result<bool> {
        self.check_attempt(attempt)?;
        if frame.plain_bytes > self.geometry.chunk_bytes() {
            return Err(Error::protocol(
                Code::FrameTooLarge,
                "A chunk is longer than the chunks of this capture",
            ));
        }
        match self.wanted.get(&frame.id) {
            Some(claim) if claim.plain_bytes == frame.plain_bytes => Ok(true),
            Some(_) => Err(malformed("The chunk has another length than the place it was offered for")),
            None if plain_bytes_of(&frame.id).is_none() => Err(malformed("The chunk was not offered")),
            None => Ok(false),
        }
    }

    /// Notes that a chunk is stored; `true` if it was missing until now.
    pub(crate) fn stored(&mut self, id: &ChunkId) -> bool {
        self.wanted.remove(id).is_some()
    }

    /// Gives up the claims after an upload that failed. Some may belong to uploads that go on; then a chunk is asked
    /// for twice, which costs a transfer and nothing else.
    pub(crate) fn release_claims(&mut self) {
        for claim in self.wanted.values_mut() {
            claim.offer = None;
        }
    }

    /// Ends the attempt if everything is there.
    pub(crate) fn finish(&mut self, finish: &Finish) -> Result<()> {
        self.check_attempt_number(finish.attempt)?;
        let untouched = self.count(Mark::Untouched);
        if self.coverage == Coverage::Complete && untouched > 0 {
            return Err(incomplete(format!("{untouched} chunks were neither offered nor declared zero")));
        }
        if !self.wanted.is_empty() {
            return Err(incomplete(format!("{} chunks were offered and not received", self.wanted.len())));
        }
        let (offered, zero) = (self.count(Mark::Offered), self.count(Mark::Zero));
        if (finish.offered_chunks, finish.zero_chunks) != (offered, zero) {
            return Err(incomplete(format!(
                "The Node counts {} chunks and {} of zeros, the Hub {offered} and {zero}",
                finish.offered_chunks, finish.zero_chunks
            )));
        }
        self.is_finished = true;
        Ok(())
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.is_finished
    }

    /// The id of every chunk; only of a finished disk.
    pub(crate) fn content(&self) -> Option<&[ChunkId]> {
        self.is_finished.then_some(&self.content)
    }

    /// Bytes that the current attempt offered with an id, and that it declared zero.
    pub(crate) fn offered_and_zero_bytes(&self) -> (u64, u64) {
        let bytes = |mark| {
            let indexes = (0..).zip(&self.marks).filter(|(_, found)| **found == mark);
            indexes.filter_map(|(index, _)| self.geometry.chunk_bytes_at(index)).map(u64::from).sum()
        };
        (bytes(Mark::Offered), bytes(Mark::Zero))
    }

    /// Whether the offer `number` is the one to send this chunk.
    fn claim(&mut self, entry: &Entry, number: u64, plain_bytes: u32) -> Result<bool> {
        let claim = self.wanted.entry(entry.id).or_insert(Claim { offer: None, plain_bytes });
        if claim.plain_bytes != plain_bytes {
            return Err(malformed("One id was offered for chunks of different length"));
        }
        Ok(*claim.offer.get_or_insert(number) == number)
    }

    fn put(&mut self, index: u64, id: ChunkId, mark: Mark) {
        let Ok(index) = usize::try_from(index) else { return };
        self.content[index] = id;
        self.marks[index] = mark;
    }

    fn put_zero_runs(&mut self, runs: &[ZeroRun]) {
        for index in runs.iter().flat_map(|run| run.first..run.first + run.count) {
            self.put(index, self.zero_ids.at(index), Mark::Zero);
        }
    }

    /// The sum is bounded too: an offer must not be able to keep the Hub busy with runs that overlap.
    fn check_zero_runs(&self, runs: &[ZeroRun]) -> Result<()> {
        let chunk_count = self.geometry.chunk_count();
        let mut sum = 0_u64;
        for run in runs {
            let end = run.first.checked_add(run.count).filter(|end| *end <= chunk_count);
            end.ok_or_else(beyond_the_end)?;
            sum += run.count;
        }
        if sum > chunk_count { Err(malformed("The zero runs overlap")) } else { Ok(()) }
    }

    fn check_attempt(&self, attempt: u32) -> Result<()> {
        self.check_attempt_number(attempt)?;
        if self.is_finished { Err(mismatch("The disk is finished".into())) } else { Ok(()) }
    }

    fn check_attempt_number(&self, attempt: u32) -> Result<()> {
        if attempt == self.attempt && attempt > 0 {
            return Ok(());
        }
        Err(mismatch(format!("Attempt {attempt} was replaced: the current one is {}", self.attempt)))
    }

    fn count(&self, mark: Mark) -> u64 {
        self.marks.iter().filter(|found| **found == mark).count() as u64
    }
}

fn beyond_the_end() -> Error {
    malformed("A chunk index is beyond the end of the disk")
}

fn malformed(detail: &str) -> Error {
    Error::protocol(Code::ChunkMalformed, detail)
}

fn mismatch(detail: String) -> Error {
    Error::protocol(Code::CaptureMismatch, detail)
}

fn incomplete(detail: String) -> Error {
    Error::protocol(Code::CaptureIncomplete, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Codec;

    const CHUNK: u32 = 1 << 20;
    /// Two full chunks and a short one.
    const SIZE: u64 = 2 * CHUNK as u64 + 1000;

    fn intake() -> Intake {
        Intake::new(Geometry::new(SIZE, CHUNK).unwrap(), false)
    }

    fn opened() -> Intake {
        let mut intake = intake();
        let content = intake.content_of_zeros();
        intake.open(&Open { size_bytes: SIZE, coverage: Coverage::Complete }, content).unwrap();
        intake
    }

    fn offer(number: u64, entries: &[(u64, u8)], runs: &[(u64, u64)]) -> Offer {
        let entries = entries.iter().map(|(index, n)| Entry { index: *index, id: id(*n) }).collect();
        let zero_runs = runs.iter().map(|(first, count)| ZeroRun { first: *first, count: *count }).collect();
        Offer { attempt: 1, number, entries, zero_runs }
    }

    fn id(n: u8) -> ChunkId {
        ChunkId::of(&[n])
    }

    fn frame(n: u8, plain_bytes: u32) -> FrameHeader {
        FrameHeader { id: id(n), plain_bytes, stored_bytes: plain_bytes, codec: Codec::Raw }
    }

    fn nothing_stored(_: &ChunkId) -> Option<u64> {
        None
    }

    fn stored(plain_bytes: u32) -> impl Fn(&ChunkId) -> Option<u64> {
        move |_| Some(plain_bytes.into())
    }

    fn code<T>(result: Result<T>) -> Code {
        result.err().expect("an error").code()
    }

    #[test]
    fn a_chunk_offered_twice_is_asked_for_once() {
        let mut intake = opened();
        let first = intake.offer(&offer(1, &[(0, 7), (1, 7)], &[]), nothing_stored).unwrap();
        assert_eq!(first.0, [true, false]);
        let second = intake.offer(&offer(2, &[(1, 7)], &[]), nothing_stored).unwrap();
        assert_eq!(second.0, [false]);
        let repeated = intake.offer(&offer(1, &[(0, 7), (1, 7)], &[]), nothing_stored).unwrap();
        assert_eq!(repeated, first, "a repeated offer is asked for its own claims again");
    }

    #[test]
    fn a_released_claim_goes_to_the_next_offer() {
        let mut intake = opened();
        intake.offer(&offer(1, &[(0, 7)], &[]), nothing_stored).unwrap();
        intake.release_claims();
        assert_eq!(intake.offer(&offer(2, &[(0, 7)], &[]), nothing_stored).unwrap().0, [true]);
    }

    #[test]
    fn a_stored_chunk_is_not_asked_for_and_must_have_the_length_of_its_place() {
        let mut intake = opened();
        assert_eq!(intake.offer(&offer(1, &[(0, 7)], &[]), stored(CHUNK)).unwrap().0, [false]);
        assert_eq!(code(intake.offer(&offer(2, &[(2, 7)], &[]), stored(CHUNK))), Code::ChunkMalformed);
        assert_eq!(
            code(intake.offer(&offer(3, &[(0, 8), (2, 8)], &[]), nothing_stored)),
            Code::ChunkMalformed
        );
    }

    #[test]
    fn a_frame_must_have_been_offered_with_its_length() {
        let mut intake = opened();
        intake.offer(&offer(1, &[(0, 7), (2, 8)], &[]), nothing_stored).unwrap();
        assert!(intake.expects(1, &frame(7, CHUNK), nothing_stored).unwrap());
        assert!(intake.expects(1, &frame(8, 1000), nothing_stored).unwrap());
        assert_eq!(code(intake.expects(1, &frame(7, 1000), nothing_stored)), Code::ChunkMalformed);
        assert_eq!(code(intake.expects(1, &frame(9, CHUNK), nothing_stored)), Code::ChunkMalformed);
        assert_eq!(code(intake.expects(1, &frame(7, CHUNK + 1), nothing_stored)), Code::FrameTooLarge);
        assert_eq!(code(intake.expects(2, &frame(7, CHUNK), nothing_stored)), Code::CaptureMismatch);
        assert!(intake.stored(&id(7)));
        assert!(
            !intake.expects(1, &frame(7, CHUNK), stored(CHUNK)).unwrap(),
            "sent again: checked, not stored"
        );
    }

    #[test]
    fn nothing_beyond_the_end_of_the_disk_is_taken() {
        let mut intake = opened();
        for bad in [offer(1, &[(3, 7)], &[]), offer(1, &[(u64::MAX, 7)], &[]), offer(1, &[], &[(2, 2)])] {
            assert_eq!(code(intake.offer(&bad, nothing_stored)), Code::ChunkMalformed);
        }
        let overflow = offer(1, &[], &[(u64::MAX, u64::MAX)]);
        assert_eq!(code(intake.offer(&overflow, nothing_stored)), Code::ChunkMalformed);
        let overlap = offer(1, &[], &[(0, 3), (0, 3)]);
        assert_eq!(code(intake.offer(&overlap, nothing_stored)), Code::ChunkMalformed);
    }

    #[test]
    fn a_disk_is_finished_when_all_is_covered_stored_and_counted_alike() {
        let mut intake = opened();
        let finish = |offered_chunks, zero_chunks| Finish { attempt: 1, offered_chunks, zero_chunks };
        intake.offer(&offer(1, &[(0, 7)], &[(1, 1)]), nothing_stored).unwrap();
        assert_eq!(code(intake.finish(&finish(1, 1))), Code::CaptureIncomplete, "chunk 2 is missing");
        intake.offer(&offer(2, &[], &[(2, 1)]), nothing_stored).unwrap();
        assert_eq!(code(intake.finish(&finish(1, 2))), Code::CaptureIncomplete, "chunk 0 is not stored");
        intake.stored(&id(7));
        assert_eq!(code(intake.finish(&finish(2, 1))), Code::CaptureIncomplete, "the counts differ");
        assert_eq!(intake.content(), None);
        intake.finish(&finish(1, 2)).unwrap();
        intake.finish(&finish(1, 2)).expect("finish may be repeated");
        let zeros = ZeroIds::of(Geometry::new(SIZE, CHUNK).unwrap());
        assert_eq!(intake.content().unwrap(), [id(7), zeros.at(1), zeros.at(2)]);
        assert_eq!(zeros.at(2), ChunkId::of(&[0; 1000]));
    }

    #[test]
    fn a_new_attempt_replaces_the_earlier_one() {
        let mut intake = opened();
        intake.offer(&offer(1, &[(0, 7)], &[]), nothing_stored).unwrap();
        let content = intake.content_of_zeros();
        let open = Open { size_bytes: SIZE, coverage: Coverage::Complete };
        assert_eq!(intake.open(&open, content).unwrap(), 2);
        assert_eq!(code(intake.offer(&offer(2, &[(0, 7)], &[]), nothing_stored)), Code::CaptureMismatch);
        let again = Offer { attempt: 2, ..offer(1, &[(0, 7)], &[]) };
        assert_eq!(intake.offer(&again, nothing_stored).unwrap().0, [true], "the old claim is gone");
    }

    #[test]
    fn a_plan_that_does_not_fit_is_refused_when_the_disk_is_opened() {
        let changed = Open { size_bytes: SIZE, coverage: Coverage::Changed };
        let grown = Open { size_bytes: SIZE + 512, coverage: Coverage::Complete };
        assert_eq!(code(intake().check_open(&changed)), Code::CaptureMismatch);
        assert_eq!(code(intake().check_open(&grown)), Code::CaptureMismatch);
        let with_base = Intake::new(Geometry::new(SIZE, CHUNK).unwrap(), true);
        assert!(with_base.check_open(&changed).is_ok());
    }

    #[test]
    fn a_changed_disk_keeps_what_was_not_offered() {
        let mut intake = Intake::new(Geometry::new(SIZE, CHUNK).unwrap(), true);
        let base = vec![id(1), id(2), id(3)];
        intake.open(&Open { size_bytes: SIZE, coverage: Coverage::Changed }, base).unwrap();
        intake.offer(&offer(1, &[(1, 9)], &[]), stored(CHUNK)).unwrap();
        intake.finish(&Finish { attempt: 1, offered_chunks: 1, zero_chunks: 0 }).unwrap();
        assert_eq!(intake.content().unwrap(), [id(1), id(9), id(3)]);
        assert_eq!(intake.offered_and_zero_bytes(), (u64::from(CHUNK), 0));
    }
}
