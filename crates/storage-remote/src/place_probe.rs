//! What a place tells before there is a repository in it.

use std::time::{Duration, SystemTime};

use sendense_storage::{Capacity, ProtectionMode};

/// The outcome of a probe: a small file was written, read back, listed and removed.
#[derive(Clone, Debug)]
pub struct PlaceProbe {
    /// Whether there is a config, so a repository.
    pub is_repository: bool,
    /// Whether there is nothing at all.
    pub is_empty: bool,
    /// How much room there is, where the place can tell.
    pub capacity: Option<Capacity>,
    /// How long the fastest of the answers took.
    pub latency: Duration,
    /// By how much the place's clock is ahead of ours, in milliseconds, where the place tells the time.
    pub clock_skew_ms: Option<i64>,
    /// Object lock, where the place has such a thing.
    pub object_lock: Option<ObjectLockProbe>,
}

/// Object lock of a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectLockProbe {
    /// Whether files can be protected at all.
    pub is_enabled: bool,
    /// How the bucket itself protects what nobody else protects.
    pub default: Option<(ProtectionMode, Duration)>,
}

/// What the file of a probe contains.
pub(crate) const PROBE_TEXT: &[u8] = b"This file was made by a test of the place and may be removed.\n";

/// A name that is no file of a repository and that nobody else chooses.
pub(crate) fn probe_name() -> String {
    format!(".sendense-probe-{:032x}", rand::random::<u128>())
}

/// By how much one time is ahead of another one.
pub(crate) fn difference_ms(time: SystemTime, other: SystemTime) -> i64 {
    let milliseconds = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    match time.duration_since(other) {
        Ok(ahead) => milliseconds(ahead),
        Err(behind) => -milliseconds(behind.duration()),
    }
}
