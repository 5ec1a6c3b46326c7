//! What a place tells before there is a repository in it.

use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use sendense_storage::{Capacity, Error, ErrorKind, ProtectionMode, Result};

use crate::http::Answer;

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
    /// Whether the place can be told to make a file durable before it says that the file is written.
    pub is_durable: bool,
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

/// An object store, as far as a probe needs it.
#[async_trait]
pub(crate) trait Trial {
    /// Uploads a new object.
    async fn put(&self, key: &str, content: Bytes) -> Result<Answer>;
    async fn get(&self, key: &str) -> Result<Answer>;
    async fn is_listed(&self, key: &str) -> Result<bool>;
}

/// Writes an object, reads it back and lists it. Returns how long the fastest answer took and the server's time.
pub(crate) async fn try_object(store: &impl Trial, key: &str) -> Result<(Duration, Option<SystemTime>)> {
    let start = Instant::now();
    store.put(key, Bytes::from_static(PROBE_TEXT)).await?;
    let written = Instant::now();
    let answer = store.get(key).await?;
    let fastest = written.elapsed().min(written - start);
    let wrong = |message| Err(Error::new(ErrorKind::Other, "probe", message));
    if answer.body != PROBE_TEXT {
        return wrong("what was written cannot be read back");
    }
    if !store.is_listed(key).await? {
        return wrong("what was written is not listed");
    }
    Ok((fastest, answer.date()))
}

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
