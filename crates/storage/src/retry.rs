//! The one place that repeats.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Capacity, Error, FileEntry, FileId, FileKind, Protection, ProtectionPolicy, Result, Storage};

/// When to try again, and when to give up.
#[derive(Clone, Copy, Debug)]
pub struct RetryPolicy {
    /// Tries altogether, the first included.
    pub attempts_max: u32,
    /// The wait before the second try; it doubles with every further one.
    pub first_wait: Duration,
    /// No wait is longer than this.
    pub wait_max: Duration,
}

impl Default for RetryPolicy {
    /// Eight tries over about a minute.
    fn default() -> Self {
        Self { attempts_max: 8, first_wait: Duration::from_millis(500), wait_max: Duration::from_secs(20) }
    }
}

impl RetryPolicy {
    /// The wait after the given failed try (counted from 1), with up to a half taken off at random so that many
    /// clients do not come back at the same moment.
    fn wait_after(&self, attempt: u32) -> Duration {
        let doubled = self.first_wait.saturating_mul(1_u32.checked_shl(attempt - 1).unwrap_or(u32::MAX));
        doubled.min(self.wait_max).mul_f64(rand::random_range(0.5..=1.0))
    }

    /// Does something again while it fails for a reason that may pass, as `is_temporary` tells. The last error is
    /// returned as it is.
    ///
    /// # Errors
    /// That of the last try.
    pub async fn repeat<T, E, F>(
        &self,
        operation: impl Fn() -> F,
        is_temporary: impl Fn(&E) -> bool,
    ) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        let mut attempt = 1;
        loop {
            match operation().await {
                Err(error) if is_temporary(&error) && attempt < self.attempts_max => {
                    tokio::time::sleep(self.wait_after(attempt)).await;
                    attempt += 1;
                }
                result => return result,
            }
        }
    }
}

/// Repeats what failed for a temporary reason. An error that comes out is final: nobody above repeats.
#[derive(Debug)]
pub struct Retry {
    inner: Arc<dyn Storage>,
    policy: RetryPolicy,
}

impl Retry {
    /// Wraps `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>, policy: RetryPolicy) -> Self {
        Self { inner, policy }
    }

    async fn repeat<T, F>(&self, operation: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        self.policy.repeat(operation, Error::is_temporary).await.map_err(Error::persistent)
    }
}

#[async_trait]
impl Storage for Retry {
    fn location(&self) -> String {
        self.inner.location()
    }

    async fn create(&self) -> Result<()> {
        self.repeat(|| self.inner.create()).await
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<FileEntry>> {
        self.repeat(|| self.inner.list(kind)).await
    }

    async fn size(&self, kind: FileKind, id: &FileId) -> Result<u64> {
        self.repeat(|| self.inner.size(kind, id)).await
    }

    async fn read(&self, kind: FileKind, id: &FileId) -> Result<Bytes> {
        self.repeat(|| self.inner.read(kind, id)).await
    }

    async fn read_range(&self, kind: FileKind, id: &FileId, offset: u64, len: usize) -> Result<Bytes> {
        self.repeat(|| self.inner.read_range(kind, id, offset, len)).await
    }

    async fn write(&self, kind: FileKind, id: &FileId, content: Bytes) -> Result<()> {
        self.repeat(|| self.inner.write(kind, id, content.clone())).await
    }

    async fn remove(&self, kind: FileKind, id: &FileId) -> Result<()> {
        self.repeat(|| self.inner.remove(kind, id)).await
    }

    async fn capacity(&self) -> Result<Option<Capacity>> {
        self.repeat(|| self.inner.capacity()).await
    }

    fn protection_policy(&self) -> Option<ProtectionPolicy> {
        self.inner.protection_policy()
    }

    async fn protection(&self, kind: FileKind, id: &FileId) -> Result<Option<Protection>> {
        self.repeat(|| self.inner.protection(kind, id)).await
    }

    async fn extend_protection(
        &self,
        kind: FileKind,
        id: &FileId,
        until: SystemTime,
    ) -> Result<Option<Protection>> {
        self.repeat(|| self.inner.extend_protection(kind, id, until)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_stay_below_the_limit() {
        let policy = RetryPolicy::default();
        for attempt in 1..100 {
            let wait = policy.wait_after(attempt);
            assert!(wait >= policy.first_wait / 2, "{attempt}: {wait:?}");
            assert!(wait <= policy.wait_max, "{attempt}: {wait:?}");
        }
        assert!(policy.wait_after(100) >= policy.wait_max / 2);
    }
}
