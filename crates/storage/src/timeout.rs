//! A bound on waiting.

use std::sync::Arc;
use std::time::Duration;

use crate::around::{Around, Call, Content};
use crate::{Error, ErrorKind, Result, Storage, Verb};

/// How long an operation may take.
#[derive(Clone, Copy, Debug)]
pub struct TimeoutPolicy {
    /// For what moves no content.
    pub answer: Duration,
    /// For what has no length that is known before: a listing, a whole file.
    pub unmeasured: Duration,
    /// A transfer has the time of an answer, and as much more as its bytes need at this rate.
    pub bytes_per_second_min: u64,
}

impl Default for TimeoutPolicy {
    /// A minute for an answer, half an hour for a listing, and four and a half minutes for a pack of 16 MiB: a slow
    /// line is no error.
    fn default() -> Self {
        Self {
            answer: Duration::from_mins(1),
            unmeasured: Duration::from_mins(30),
            bytes_per_second_min: 80_000,
        }
    }
}

impl TimeoutPolicy {
    fn limit(&self, call: Call<'_>) -> Duration {
        match call.bytes {
            Some(bytes) if call.verb != Verb::List => {
                self.answer + Duration::from_secs(bytes / self.bytes_per_second_min.max(1))
            }
            _ => self.unmeasured,
        }
    }
}

/// Gives an operation up that takes too long, with the temporary error [`ErrorKind::Timeout`].
#[derive(Debug)]
pub struct Timeout {
    inner: Arc<dyn Storage>,
    policy: TimeoutPolicy,
}

impl Timeout {
    /// Wraps `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>, policy: TimeoutPolicy) -> Self {
        Self { inner, policy }
    }
}

impl Around for Timeout {
    fn inner(&self) -> &dyn Storage {
        &*self.inner
    }

    async fn around<T: Content>(
        &self,
        call: Call<'_>,
        operation: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let limit = self.policy.limit(call);
        tokio::time::timeout(limit, operation).await.unwrap_or_else(|_| {
            let message = format!("no answer within {} s", limit.as_secs_f64());
            Err(call.blame(Error::new(ErrorKind::Timeout, call.verb.words(), message)))
        })
    }
}
