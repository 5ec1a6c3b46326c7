//! Lock files, and the rules by which restic and we read each other's.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::{Error, host, timestamp};

/// A lock that was not refreshed for this long is stale: its holder is probably dead.
pub(super) const STALE_AFTER: Duration = Duration::from_mins(30);

/// The document in a lock file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LockFile {
    #[serde(with = "timestamp")]
    time: SystemTime,
    pub(super) exclusive: bool,
    hostname: String,
    username: String,
    pid: u32,
    #[serde(default)]
    uid: u32,
    #[serde(default)]
    gid: u32,
}

impl LockFile {
    /// A lock of this process that many may hold at a time.
    pub(super) fn shared(now: SystemTime) -> Self {
        Self {
            time: now,
            exclusive: false,
            hostname: host::hostname(),
            username: host::username(),
            pid: host::pid(),
            uid: host::uid(),
            gid: host::gid(),
        }
    }

    /// A lock that tolerates no other.
    #[cfg(test)]
    pub(super) fn exclusive(now: SystemTime) -> Self {
        Self { exclusive: true, ..Self::shared(now) }
    }

    /// A lock of a process of this machine that is dead.
    #[cfg(test)]
    pub(super) fn of_dead_process(now: SystemTime) -> Self {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        Self { pid: child.id(), ..Self::exclusive(now) }
    }

    /// Whether the holder was a process of this machine and is gone. That is certain, unlike age.
    pub(super) fn is_orphaned(&self) -> bool {
        self.hostname == host::hostname() && !host::is_alive(self.pid)
    }

    /// Whether `restic unlock` would remove it.
    pub(super) fn is_stale(&self, now: SystemTime) -> bool {
        // A lock from the future is fresh: clocks differ.
        now.duration_since(self.time).is_ok_and(|age| age > STALE_AFTER) || self.is_orphaned()
    }

    /// The error for those whom it keeps out.
    pub(super) fn as_error(&self, now: SystemTime) -> Error {
        Error::Locked {
            hostname: self.hostname.clone(),
            pid: self.pid,
            since: timestamp::format(self.time),
            is_stale: self.is_stale(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_reads_as_restic_writes_it() {
        let json = r#"{"time":"2022-08-01T12:00:00.5+02:00","exclusive":true,"hostname":"other","username":"root","pid":17}"#;
        let lock: LockFile = serde_json::from_str(json).unwrap();
        assert!(lock.exclusive);
        assert!(!lock.is_orphaned());
        assert!(lock.is_stale(SystemTime::now()));
    }

    #[test]
    fn age_makes_a_lock_stale_and_a_dead_process_too() {
        let now = SystemTime::now();
        let mut lock = LockFile::shared(now);
        assert!(!lock.is_stale(now + STALE_AFTER));
        assert!(lock.is_stale(now + STALE_AFTER + Duration::from_secs(1)));
        assert!(!lock.is_stale(now - Duration::from_hours(1)));
        lock.pid = LockFile::of_dead_process(now).pid;
        assert!(lock.is_orphaned() && lock.is_stale(now));
        lock.hostname = "another machine".into();
        assert!(!lock.is_orphaned() && !lock.is_stale(now));
    }
}
