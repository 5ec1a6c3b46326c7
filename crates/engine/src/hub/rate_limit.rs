//! A limit in bytes per second, kept by reading later.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex as Turn;
use tokio::time::{Instant, sleep_until};

/// A rate that any number of sessions share, for example all those of a Node or of a repository. It may be changed at
/// any time. Who asks first is served first, in pieces of what a connection delivers at once, so that sessions that
/// share a limit get about the same.
#[derive(Debug)]
pub struct RateLimit {
    state: Mutex<State>,
    /// Held by the one who waits for the next bytes; the others stand in line. Without it, who has just been served
    /// would be the first to know when the next ones are due, and be served again.
    turn: Turn<()>,
}

#[derive(Debug)]
struct State {
    /// `None`: no limit.
    bytes_per_second: Option<u64>,
    /// When the bytes that were let through so far are paid for.
    paid_at: Instant,
}

/// Nobody sleeps longer than this at once, so that a new rate is soon in force for those who wait.
const SLEEP_MAX: Duration = Duration::from_millis(500);

impl RateLimit {
    /// `None` is no limit; 0 is taken as 1.
    #[must_use]
    pub fn new(bytes_per_second: Option<u64>) -> Self {
        let bytes_per_second = bytes_per_second.map(|rate| rate.max(1));
        let state = Mutex::new(State { bytes_per_second, paid_at: Instant::now() });
        Self { state, turn: Turn::new(()) }
    }

    /// Changes the rate. What was let through at the old one is not charged for again.
    pub fn set_rate(&self, bytes_per_second: Option<u64>) {
        let mut state = self.state();
        state.bytes_per_second = bytes_per_second.map(|rate| rate.max(1));
        state.paid_at = state.paid_at.min(Instant::now());
    }

    /// Waits until the bytes taken before are paid for, and takes `bytes` more.
    pub(crate) async fn take(&self, bytes: usize) {
        let _turn = self.turn.lock().await;
        while let Err(until) = self.try_take(bytes) {
            sleep_until(until).await;
        }
    }

    /// Takes `bytes`, or says when to try again.
    fn try_take(&self, bytes: usize) -> Result<(), Instant> {
        let mut state = self.state();
        let now = Instant::now();
        let Some(bytes_per_second) = state.bytes_per_second else { return Ok(()) };
        if state.paid_at > now {
            return Err(state.paid_at.min(now + SLEEP_MAX));
        }
        let microseconds = (bytes as u64).saturating_mul(1_000_000) / bytes_per_second;
        // A timer rings late by up to a millisecond or two; what was missed is caught up with.
        let start = state.paid_at.max(now.checked_sub(CATCH_UP_MAX).unwrap_or(now));
        state.paid_at = start + Duration::from_micros(microseconds);
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The delay of timers that is made up for. After a longer pause nothing is.
const CATCH_UP_MAX: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    async fn take_many(limit: &RateLimit, count: usize, bytes: usize) -> Duration {
        let begin = Instant::now();
        for _ in 0..count {
            limit.take(bytes).await;
        }
        begin.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn bytes_beyond_the_rate_wait_for_their_turn() {
        let limit = RateLimit::new(Some(1000));
        let elapsed = take_many(&limit, 5, 500).await;
        assert_eq!(elapsed.as_millis() / 100, 20, "2 s for the four before the last");
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_share_a_limit_have_it_together_and_about_alike() {
        let limit = Arc::new(RateLimit::new(Some(10_000)));
        let shares = (0..4).map(|_| {
            let limit = Arc::clone(&limit);
            tokio::spawn(async move { take_many(&limit, 20, 500).await })
        });
        for share in futures::future::join_all(shares).await {
            let seconds = share.unwrap().as_secs_f64();
            assert!((3.5..4.2).contains(&seconds), "{seconds} s for 40,000 bytes of all four");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_rate_is_in_force_for_those_who_wait_already() {
        let limit = Arc::new(RateLimit::new(Some(1)));
        limit.take(1_000_000).await;
        let waiting = tokio::spawn({
            let limit = Arc::clone(&limit);
            async move { take_many(&limit, 1, 10).await }
        });
        tokio::time::sleep(Duration::from_secs(2)).await;
        limit.set_rate(Some(1000));
        assert!(waiting.await.unwrap() < Duration::from_secs(3));
        limit.set_rate(None);
        assert_eq!(take_many(&limit, 100, usize::MAX).await, Duration::ZERO);
    }
}
