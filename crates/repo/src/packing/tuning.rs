//! Sizes and numbers.

use std::time::Duration;

/// Larger chunks are refused; the largest chunk size is 8 MiB.
pub(super) const PAYLOAD_BYTES_MAX: usize = 16 << 20;

/// More threads than this never waited for anything but memory in our measurements.
const WORKERS_MAX: usize = 8;

/// How much a repository may use. All writers of one [`crate::Repository`] share it.
#[derive(Clone, Copy, Debug)]
pub struct Tuning {
    /// The size at which a pack is written.
    pub pack_bytes: usize,
    /// Chunks that are in open packs or being written, in bytes. Raised where it could not hold one open pack per
    /// thread and one chunk.
    pub memory_bytes: usize,
    /// Threads that seal chunks; 0 stands for one per processor.
    pub threads: usize,
    /// Packs that are written at a time.
    pub writes_max: usize,
    /// An index file is written when packs of so many bytes are in none.
    pub index_every_bytes: u64,
    /// An index file is written when a pack has waited so long for one.
    pub index_every: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            pack_bytes: 16 << 20,
            memory_bytes: 128 << 20,
            threads: 0,
            writes_max: 4,
            index_every_bytes: 8 << 30,
            index_every: Duration::from_mins(2),
        }
    }
}

/// A [`Tuning`] of which every number is usable.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) pack_bytes: usize,
    pub(super) memory_bytes: usize,
    pub(super) workers: u32,
    pub(super) writes_max: usize,
    pub(super) index_every_bytes: u64,
    pub(super) index_every: Duration,
}

impl Tuning {
    /// Makes the numbers fit: there is always memory for one more chunk while every worker's pack is almost full.
    /// Otherwise all chunks could wait for memory that is held by packs that wait for chunks.
    pub(super) fn limits(&self) -> Limits {
        // Offsets in a pack have 32 bits.
        let pack_bytes = self.pack_bytes.clamp(1, 1 << 30);
        let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let wanted = if self.threads == 0 { processors } else { self.threads };
        let affordable = self.memory_bytes.saturating_sub(PAYLOAD_BYTES_MAX) / pack_bytes / 2;
        let workers = wanted.min(affordable).clamp(1, WORKERS_MAX);
        Limits {
            pack_bytes,
            memory_bytes: self.memory_bytes.max(workers * pack_bytes + PAYLOAD_BYTES_MAX),
            workers: u32::try_from(workers).unwrap_or(1),
            writes_max: self.writes_max.max(1),
            index_every_bytes: self.index_every_bytes,
            index_every: self.index_every,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_always_has_room_for_one_more_chunk() {
        for pack_bytes in [0, 1 << 20, 16 << 20, 128 << 20] {
            for memory_bytes in [0, 1 << 20, 64 << 20, 1 << 30] {
                for threads in [0, 1, 64] {
                    let limits = Tuning { pack_bytes, memory_bytes, threads, ..Tuning::default() }.limits();
                    let held = limits.workers as usize * limits.pack_bytes;
                    assert!(limits.memory_bytes - held >= PAYLOAD_BYTES_MAX);
                    assert!(limits.workers >= 1);
                }
            }
        }
    }
}
