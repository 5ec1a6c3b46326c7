//! Notices readers that go through a disk from front to back.

use std::ops::Range;

/// Readers that are followed at a time: a copy of a disk, and a guest that reads a few files.
const STREAMS_MAX: usize = 8;
/// A read may begin so far before or behind where the last one ended: clients send several requests at once, and
/// they overtake each other.
const SLACK_BYTES: u64 = 1 << 20;
/// Who has read less than this in one go is not read ahead for: many small reads at one place are no stream.
const STREAM_BYTES_MIN: u64 = 512 << 10;

/// The places where reads ended lately.
pub(super) struct Streams {
    followed: Vec<Stream>,
    window_bytes_max: u64,
    clock: u64,
}

struct Stream {
    next: u64,
    /// What was read so far.
    read_bytes: u64,
    ahead_until: u64,
    used_at: u64,
}

impl Streams {
    /// Reads ahead at most `window_bytes_max` per stream.
    pub(super) fn new(window_bytes_max: u64) -> Self {
        Self { followed: Vec::new(), window_bytes_max, clock: 0 }
    }

    /// Notes a read of `start..end`, and says what to read ahead now, if anything: as much again as the reader
    /// has read in one go.
    pub(super) fn note(&mut self, start: u64, end: u64) -> Option<Range<u64>> {
        self.clock += 1;
        let is_near = |stream: &&mut Stream| start.abs_diff(stream.next) <= SLACK_BYTES;
        let Some(stream) =
            self.followed.iter_mut().filter(is_near).min_by_key(|one| start.abs_diff(one.next))
        else {
            self.follow(end, end - start);
            return None;
        };
        stream.used_at = self.clock;
        stream.next = stream.next.max(end);
        stream.read_bytes += end - start;
        if stream.read_bytes < STREAM_BYTES_MIN {
            return None;
        }
        let window_bytes = stream.read_bytes.min(self.window_bytes_max);
        let from = stream.ahead_until.max(stream.next);
        let until = stream.next + window_bytes;
        // In steps of half a window, so that neighbours in a pack are read together.
        if until < from + window_bytes / 2 {
            return None;
        }
        stream.ahead_until = until;
        Some(from..until)
    }

    fn follow(&mut self, next: u64, read_bytes: u64) {
        if self.followed.len() == STREAMS_MAX {
            let oldest = self.followed.iter().enumerate().min_by_key(|(_, stream)| stream.used_at);
            if let Some((oldest, _)) = oldest {
                self.followed.swap_remove(oldest);
            }
        }
        self.followed.push(Stream { next, read_bytes, ahead_until: next, used_at: self.clock });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_reader_that_goes_on_is_read_ahead_for_with_a_growing_window_up_to_the_bound() {
        let mut streams = Streams::new(16 * MIB);
        let mut ahead_until = 0;
        for number in 0..400 {
            let start = number * MIB / 4;
            let end = start + MIB / 4;
            if let Some(ahead) = streams.note(start, end) {
                assert!(ahead.start >= ahead_until, "nothing is read ahead twice");
                ahead_until = ahead.end;
            }
            assert!(ahead_until <= end + 16 * MIB);
            assert!(number < 100 || ahead_until >= end + 7 * MIB, "{number}");
        }
    }

    #[test]
    fn random_reads_read_nothing_ahead() {
        let mut streams = Streams::new(16 * MIB);
        for number in 0..100 {
            let start = number * 7919 % 1000 * 4 * MIB;
            assert_eq!(streams.note(start, start + 4096), None);
        }
        assert!(streams.followed.len() <= STREAMS_MAX);
    }

    #[test]
    fn small_reads_at_one_place_are_no_stream() {
        let mut streams = Streams::new(16 * MIB);
        assert!((0..100).all(|number| streams.note(5 * MIB + number, 5 * MIB + number + 512).is_none()));
    }

    #[test]
    fn two_readers_and_requests_that_overtake_each_other_are_followed() {
        let mut streams = Streams::new(4 * MIB);
        let mut found = [0, 0];
        for number in 0..40_u64 {
            let place = (number ^ 1) * MIB / 4;
            for (reader, first) in [0, 1 << 40].into_iter().enumerate() {
                let start = first + place;
                found[reader] += usize::from(streams.note(start, start + MIB / 4).is_some());
            }
        }
        assert!(found.iter().all(|found| *found >= 3), "{found:?}");
    }
}
