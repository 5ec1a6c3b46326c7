//! Work that keeps a core busy stays off the threads that serve connections.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::{Error, Result};

/// How many cores this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Runs `work` on a thread of its own, as soon as one of `slots` is free.
///
/// # Errors
/// [`Error::Internal`] if `work` panics.
pub(crate) async fn on_cpu<T: Send + 'static>(
    slots: &Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let slot = Arc::clone(slots).acquire_owned().await;
    let slot = slot.map_err(|_| Error::Internal("The threads are gone".into()))?;
    let run = move || {
        let _held_while_working = slot;
        work()
    };
    spawn_blocking(run).await.map_err(|error| Error::Internal(format!("A calculation failed: {error}")))
}
