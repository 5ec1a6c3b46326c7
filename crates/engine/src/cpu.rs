//! Work that keeps a core busy stays off the threads that serve connections.

use std::sync::{Arc, LazyLock};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

use crate::{Error, Result};

/// One for each core, shared by everything that this process calculates: hashing and compressing of all captures,
/// and checking what arrives. They are given in the order of asking, and what a capture can ask for is bounded by its
/// part of the memory, so that no capture waits for another one to end.
static SLOTS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(cores())));

/// How many cores this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Runs `work` on a thread of its own, as soon as one of the process's slots is free.
///
/// # Errors
/// [`Error::Internal`] if `work` panics.
pub(crate) async fn on_cpu<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    Slot::take().await?.run(work).await
}

/// The right to keep a core busy.
pub(crate) struct Slot {
    _permit: OwnedSemaphorePermit,
}

impl Slot {
    /// Waits for one to be free.
    pub(crate) async fn take() -> Result<Self> {
        let permit = Arc::clone(&SLOTS).acquire_owned().await;
        let permit = permit.map_err(|_| Error::Internal("The threads are gone".into()))?;
        Ok(Self { _permit: permit })
    }

    /// As [`on_cpu`].
    pub(crate) async fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let run = move || {
            let _held_while_working = self;
            work()
        };
        spawn_blocking(run).await.map_err(|error| Error::Internal(format!("A calculation failed: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn no_more_is_calculated_at_a_time_than_there_are_cores() {
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let work = (0..4 * cores()).map(|_| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            on_cpu(move || {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                std::thread::sleep(Duration::from_millis(5));
                running.fetch_sub(1, Ordering::SeqCst);
            })
        });
        futures::future::try_join_all(work).await.unwrap();
        assert!((1..=cores()).contains(&most.load(Ordering::SeqCst)));
    }
}
