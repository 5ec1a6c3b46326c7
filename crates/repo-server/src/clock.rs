//! What time it is, for a guard whom somebody may want to deceive about it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A step forward that is taken for the correction of a clock that was set a little wrong.
const STEP_MAX_SECONDS: u64 = 300;
/// Clocks of cheap machines run by up to a thousandth too slow or too fast.
const DRIFT_PARTS: u64 = 1000;

/// Where the time comes from; tests bring their own.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time of day, which somebody may set.
    fn wall(&self) -> SystemTime;

    /// Time since some fixed moment, which nobody can set.
    fn steady(&self) -> Duration;
}

/// The clock of this machine.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn wall(&self) -> SystemTime {
        SystemTime::now()
    }

    fn steady(&self) -> Duration {
        self.0.elapsed()
    }
}

/// Two answers to "what time is it", in seconds since 1970: a late one for promises and an early one for letting go.
/// Where they differ, files stay protected for longer, never for less.
#[derive(Debug)]
pub(crate) struct GuardClock {
    clock: Arc<dyn Clock>,
    started: u64,
    started_steady: u64,
    latest: AtomicU64,
}

impl GuardClock {
    /// `latest` is the latest time that was ever seen here.
    pub(crate) fn new(clock: Arc<dyn Clock>, latest: u64) -> Self {
        let started = to_seconds(clock.wall());
        let started_steady = clock.steady().as_secs();
        Self { clock, started, started_steady, latest: AtomicU64::new(latest) }
    }

    /// For promises: a clock that is set back does not make them shorter.
    pub(crate) fn for_promises(&self) -> u64 {
        let now = to_seconds(self.clock.wall()).max(self.started + self.elapsed());
        self.latest.fetch_max(now, Ordering::Relaxed).max(now)
    }

    /// For letting go: a clock that is set forward frees nothing until an administrator restarts the server.
    pub(crate) fn for_release(&self) -> u64 {
        let elapsed = self.elapsed();
        let plausible = self.started + elapsed + STEP_MAX_SECONDS + elapsed / DRIFT_PARTS;
        to_seconds(self.clock.wall()).min(plausible)
    }

    fn elapsed(&self) -> u64 {
        self.clock.steady().as_secs().saturating_sub(self.started_steady)
    }
}

/// Whole seconds since 1970, rounded up: a promise is kept for longer rather than for less.
pub(crate) fn to_seconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs() + u64::from(since.subsec_nanos() > 0)
}

pub(crate) fn to_time(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Debug)]
    struct SetClock(Mutex<(u64, u64)>);

    impl Clock for SetClock {
        fn wall(&self) -> SystemTime {
            to_time(self.0.lock().unwrap().0)
        }
        fn steady(&self) -> Duration {
            Duration::from_secs(self.0.lock().unwrap().1)
        }
    }

    fn a_clock() -> (Arc<SetClock>, GuardClock) {
        let clock = Arc::new(SetClock(Mutex::new((1_000_000, 50))));
        (Arc::clone(&clock), GuardClock::new(clock, 0))
    }

    #[test]
    fn a_clock_that_is_set_back_shortens_no_promise() {
        let (set, guard) = a_clock();
        assert_eq!(guard.for_promises(), 1_000_000);
        *set.0.lock().unwrap() = (10, 150);
        assert_eq!(guard.for_promises(), 1_000_100);
        assert_eq!(guard.for_release(), 10);
    }

    #[test]
    fn a_clock_that_was_set_back_before_the_start_shortens_no_promise() {
        let clock = Arc::new(SetClock(Mutex::new((10, 0))));
        assert_eq!(GuardClock::new(clock, 2_000_000).for_promises(), 2_000_000);
    }

    #[test]
    fn a_clock_that_is_set_forward_frees_nothing() {
        let (set, guard) = a_clock();
        *set.0.lock().unwrap() = (9_000_000, 60);
        assert_eq!(guard.for_release(), 1_000_000 + 10 + STEP_MAX_SECONDS);
        assert_eq!(guard.for_promises(), 9_000_000);
    }

    #[test]
    fn time_that_passes_is_believed() {
        let (set, guard) = a_clock();
        *set.0.lock().unwrap() = (1_086_400, 86_450);
        assert_eq!(guard.for_release(), 1_086_400);
    }
}
