//! How a prune works, and how far it is.

use std::time::{Duration, SystemTime};

use crate::{Error, LockTiming, Result};

/// How a prune works.
#[derive(Clone, Copy, Debug)]
pub struct PruneOptions {
    /// How long a pack stays marked before it is deleted.
    pub grace: Duration,
    /// How far the clocks of writers and pruner may be apart; at most half of the grace counts.
    pub clock_margin: Duration,
    /// The part of the kept packs that may consist of what nobody needs. Beyond it, packs are copied without it.
    pub waste_ratio_max: f64,
    /// How many bytes of packs are copied at most; `None` for no limit.
    pub repack_bytes_max: Option<u64>,
    /// Keeps everybody else out, and deletes at once. For a place that is full.
    pub exclusive: bool,
    /// Says what would be done and changes nothing.
    pub dry_run: bool,
    /// When its lock is looked at and refreshed.
    pub lock: LockTiming,
    /// The time it is, where the caller owns the clock; the machine's otherwise.
    pub now: Option<SystemTime>,
}

impl Default for PruneOptions {
    fn default() -> Self {
        Self {
            grace: Duration::from_hours(24),
            clock_margin: Duration::from_hours(1),
            waste_ratio_max: 0.05,
            repack_bytes_max: None,
            exclusive: false,
            dry_run: false,
            lock: LockTiming::default(),
            now: None,
        }
    }
}

impl PruneOptions {
    pub(super) fn check(&self) -> Result<()> {
        if (0.0..=1.0).contains(&self.waste_ratio_max) {
            return Ok(());
        }
        Err(Error::Unacceptable { reason: format!("a part of {} to be wasted", self.waste_ratio_max) })
    }

    pub(super) fn margin(&self) -> Duration {
        self.clock_margin.min(self.grace / 2)
    }

    pub(super) fn now_or_clock(&self) -> SystemTime {
        self.now.unwrap_or_else(SystemTime::now)
    }
}

/// How far a prune is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PruneProgress {
    /// Restore points of which all that they need is known.
    pub walked_restore_points: u64,
    /// All restore points; 0 until they are listed.
    pub total_restore_points: u64,
    /// Bytes that were copied into new packs.
    pub repacked_bytes: u64,
    /// Bytes that shall be copied; 0 until that is known.
    pub total_repack_bytes: u64,
    /// Packs that were deleted.
    pub deleted_packs: u64,
}
