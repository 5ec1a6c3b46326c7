//! A bound on concurrency.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::around::{Around, Call, Content};
use crate::{Error, ErrorKind, Result, Storage};

/// Lets at most so many operations reach the inner storage at a time; the others wait in order of arrival.
/// Reads and writes have places of their own, so that a long write never holds up a restore.
#[derive(Debug)]
pub struct Limit {
    inner: Arc<dyn Storage>,
    reads: Semaphore,
    writes: Semaphore,
}

impl Limit {
    /// Wraps `inner`. Zero places are taken as one.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>, reads_max: usize, writes_max: usize) -> Self {
        Self { inner, reads: Semaphore::new(reads_max.max(1)), writes: Semaphore::new(writes_max.max(1)) }
    }
}

impl Around for Limit {
    fn inner(&self) -> &dyn Storage {
        &*self.inner
    }

    async fn around<T: Content>(
        &self,
        call: Call<'_>,
        operation: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let places = if call.verb.is_write() { &self.writes } else { &self.reads };
        let closed = |_| Error::new(ErrorKind::Other, call.verb.words(), "the storage is closed");
        let _place = places.acquire().await.map_err(closed)?;
        operation.await
    }
}
