//! Work that would hold up the other tasks of a thread.

use crate::{Error, Result};

/// Runs `work` on a thread that may be busy for a while.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(_) => Err(Error::Internal { reason: "a worker thread died".into() }),
    }
}
