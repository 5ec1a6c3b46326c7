//! A limit in bytes per second, kept by reading later.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Shared by all requests of a session.
pub(crate) struct RateLimit {
    bytes_per_second: u64,
    /// When the bytes that were let through so far are paid for.
    paid_at: Mutex<Instant>,
}

impl RateLimit {
    /// 0 is taken as 1.
    pub(crate) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), paid_at: Mutex::new(Instant::now()) }
    }

    /// Waits until the bytes taken before are paid for, and takes `bytes` more.
    pub(crate) async fn take(&self, bytes: usize) {
        sleep_until(self.reserve(bytes)).await;
    }

    fn reserve(&self, bytes: usize) -> Instant {
        let mut paid_at = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
        let start = (*paid_at).max(Instant::now());
        let microseconds = (bytes as u64).saturating_mul(1_000_000) / self.bytes_per_second;
        *paid_at = start + Duration::from_micros(microseconds);
        start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_beyond_the_rate_wait_for_their_turn() {
        let limit = RateLimit::new(1000);
        let begin = Instant::now();
        for _ in 0..5 {
            limit.take(500).await;
        }
        assert_eq!(begin.elapsed().as_millis() / 100, 20, "2 s for the four before the last");
    }
}
