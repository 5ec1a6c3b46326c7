//! Who may still want what was marked.

use std::time::{Duration, SystemTime};

use super::BlockedBy;
use crate::lock::{LockFile, Locks};

/// The locks of others, as one look showed them.
pub(super) struct Blockers {
    locks: Vec<LockFile>,
    unreadable: usize,
    /// Locks that nobody had refreshed for so long that they were removed.
    pub(super) removed: usize,
}

impl Blockers {
    /// All locks but those of the holder with this id.
    pub(super) fn new(locks: Locks, own_writer: &str, removed: usize) -> Self {
        let is_own =
            |lock: &LockFile| lock.sendense.as_ref().is_some_and(|holding| holding.writer == own_writer);
        let others = locks.alive.into_iter().map(|(_, lock)| lock).filter(|lock| !is_own(lock));
        Self { locks: others.collect(), unreadable: locks.unreadable, removed }
    }

    /// Whether anybody is at work.
    pub(super) fn is_anybody_there(&self) -> bool {
        !self.locks.is_empty() || self.unreadable > 0
    }

    /// Who may rely on a pack whose mark was settled at that time. Nobody who read the index afterwards, and a
    /// writer of ours reads it after the time that its lock names.
    pub(super) fn of(&self, settled: SystemTime, now: SystemTime, margin: Duration) -> Option<BlockedBy> {
        if self.unreadable > 0 {
            return Some(BlockedBy::UnreadableLock);
        }
        self.locks.iter().find_map(|lock| blocks(lock, settled, now, margin))
    }
}

fn blocks(lock: &LockFile, settled: SystemTime, now: SystemTime, margin: Duration) -> Option<BlockedBy> {
    let (hostname, pid) = (lock.hostname.clone(), lock.pid);
    let Some(holding) = &lock.sendense else { return Some(BlockedBy::ForeignLock { hostname, pid }) };
    // A lock from the future says that its clock is ahead of ours, and then the start that it names is no use.
    let is_ahead = !margin.is_zero() && lock.time > now + margin;
    if is_ahead || holding.started <= settled + margin {
        return Some(BlockedBy::Writer { hostname, pid, started: holding.started });
    }
    None
}
