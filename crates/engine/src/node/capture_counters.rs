//! Counters of a running capture, sampled from outside.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a capture has done so far, each in bytes. See [`CaptureProgress`] for their meaning.
#[derive(Debug, Default)]
pub struct CaptureCounters {
    pub(super) logical: AtomicU64,
    pub(super) changed: AtomicU64,
    pub(super) planned: AtomicU64,
    pub(super) read: AtomicU64,
    pub(super) zero: AtomicU64,
    pub(super) new: AtomicU64,
    pub(super) stored: AtomicU64,
}

/// The counters at one moment. They are kept apart on purpose: there is no single "speed".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CaptureProgress {
    /// Size of the disk.
    pub logical_bytes: u64,
    /// Sum of the areas given; for a whole disk what the source does not report as a hole.
    pub changed_bytes: u64,
    /// What will be read: the areas, widened to whole chunks. 0 until that is known.
    pub planned_bytes: u64,
    /// What was read.
    pub read_bytes: u64,
    /// What was read and found to be zero.
    pub zero_bytes: u64,
    /// Chunks that the repository lacked.
    pub new_bytes: u64,
    /// The same as sent, after compression.
    pub stored_bytes: u64,
}

impl CaptureCounters {
    /// The counters now.
    #[must_use]
    pub fn progress(&self) -> CaptureProgress {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        CaptureProgress {
            logical_bytes: load(&self.logical),
            changed_bytes: load(&self.changed),
            planned_bytes: load(&self.planned),
            read_bytes: load(&self.read),
            zero_bytes: load(&self.zero),
            new_bytes: load(&self.new),
            stored_bytes: load(&self.stored),
        }
    }
}

/// Adds to one counter.
pub(super) fn add(counter: &AtomicU64, bytes: u64) {
    counter.fetch_add(bytes, Ordering::Relaxed);
}

/// Sets one counter.
pub(super) fn set(counter: &AtomicU64, bytes: u64) {
    counter.store(bytes, Ordering::Relaxed);
}
