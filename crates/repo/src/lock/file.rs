//! Lock files, and the rules by which restic and we read each other's.

use std::time::{Duration, SystemTime};

use rand::RngCore;
use serde::{Deserialize, Serialize};

use super::LockRole;
use crate::{Error, host, timestamp};

/// A lock that was not refreshed for this long is stale: its holder is probably dead.
pub(crate) const STALE_AFTER: Duration = Duration::from_mins(30);

/// The document in a lock file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LockFile {
    /// When it was made or refreshed last.
    #[serde(with = "timestamp")]
    pub(crate) time: SystemTime,
    pub(crate) exclusive: bool,
    pub(crate) hostname: String,
    #[serde(default)]
    pub(crate) username: String,
    pub(crate) pid: u32,
    #[serde(default)]
    uid: u32,
    #[serde(default)]
    gid: u32,
    /// What only our own locks say; other tools ignore it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sendense: Option<Holding>,
}

/// Who holds a lock, over all its refreshes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holding {
    /// Random, and the same over all refreshes of one holder.
    pub(crate) writer: String,
    /// When the holder began, before it read anything: a refresh does not change it.
    #[serde(with = "timestamp")]
    pub(crate) started: SystemTime,
    pub(crate) role: LockRole,
}

impl Holding {
    /// A new holder that begins now.
    pub(super) fn begin(role: LockRole) -> Self {
        let mut id = [0; 16];
        rand::rng().fill_bytes(&mut id);
        Self { writer: hex::encode(id), started: SystemTime::now(), role }
    }
}

impl LockFile {
    /// A lock of this process that many may hold at a time.
    pub(super) fn shared(now: SystemTime, holding: Option<Holding>) -> Self {
        Self {
            time: now,
            exclusive: false,
            sendense: holding,
            hostname: host::hostname(),
            username: host::username(),
            pid: host::pid(),
            uid: host::uid(),
            gid: host::gid(),
        }
    }

    /// A lock that tolerates no other.
    pub(super) fn exclusive(now: SystemTime, holding: Option<Holding>) -> Self {
        Self { exclusive: true, ..Self::shared(now, holding) }
    }

    /// A lock of a process of this machine that is dead.
    #[cfg(test)]
    pub(super) fn of_dead_process(now: SystemTime) -> Self {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        Self { pid: child.id(), ..Self::exclusive(now, None) }
    }

    /// Whether the holder was a process of this machine and is gone. That is certain, unlike age.
    pub(crate) fn is_orphaned(&self) -> bool {
        self.hostname == host::hostname() && !host::is_alive(self.pid)
    }

    /// Whether `restic unlock` would remove it.
    pub(crate) fn is_stale(&self, now: SystemTime) -> bool {
        // A lock from the future is fresh: clocks differ.
        now.duration_since(self.time).is_ok_and(|age| age > STALE_AFTER) || self.is_orphaned()
    }

    /// Whether this is a refresh of the same holder's lock.
    pub(super) fn is_of(&self, holding: &Holding) -> bool {
        self.sendense.as_ref().is_some_and(|own| own.writer == holding.writer)
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
        assert!(lock.exclusive && lock.sendense.is_none());
        assert!(!lock.is_orphaned());
        assert!(lock.is_stale(SystemTime::now()));
    }

    #[test]
    fn age_makes_a_lock_stale_and_a_dead_process_too() {
        let now = SystemTime::now();
        let mut lock = LockFile::shared(now, None);
        assert!(!lock.is_stale(now + STALE_AFTER));
        assert!(lock.is_stale(now + STALE_AFTER + Duration::from_secs(1)));
        assert!(!lock.is_stale(now - Duration::from_hours(1)));
        lock.pid = LockFile::of_dead_process(now).pid;
        assert!(lock.is_orphaned() && lock.is_stale(now));
        lock.hostname = "another machine".into();
        assert!(!lock.is_orphaned() && !lock.is_stale(now));
    }
}
