//! A bound on speed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::around::{Around, Call, Content};
use crate::{Result, Storage};

/// So many bytes a second, for everybody who shares it.
#[derive(Debug)]
pub struct ByteBudget {
    bytes_per_second: u64,
    /// When what was taken so far is paid off.
    paid_at: Mutex<Option<Instant>>,
}

impl ByteBudget {
    /// A budget of so many bytes a second; zero is taken as one.
    #[must_use]
    pub fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), paid_at: Mutex::default() }
    }

    /// Waits until all that was taken before is paid off, then takes `bytes`. So a single file of any size begins
    /// at once, and whoever comes next waits for it: nothing starves, and the average holds.
    async fn take(&self, bytes: u64) {
        #[allow(clippy::cast_precision_loss, reason = "a duration need not be exact")]
        let price = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        let begin = {
            let mut paid_at = self.paid_at.lock().unwrap_or_else(PoisonError::into_inner);
            let now = Instant::now();
            let begin = paid_at.unwrap_or(now).max(now);
            *paid_at = Some(begin + price);
            begin
        };
        sleep_until(begin).await;
    }
}

/// Keeps reads and writes within budgets, which several storages may share: the line to a place is one line, however
/// many repositories lie there.
#[derive(Debug)]
pub struct Throttle {
    inner: Arc<dyn Storage>,
    reads: Option<Arc<ByteBudget>>,
    writes: Option<Arc<ByteBudget>>,
}

impl Throttle {
    /// Wraps `inner`. Without a budget there is no limit.
    #[must_use]
    pub fn new(
        inner: Arc<dyn Storage>,
        reads: Option<Arc<ByteBudget>>,
        writes: Option<Arc<ByteBudget>>,
    ) -> Self {
        Self { inner, reads, writes }
    }
}

impl Around for Throttle {
    fn inner(&self) -> &dyn Storage {
        &*self.inner
    }

    async fn around<T: Content>(
        &self,
        call: Call<'_>,
        operation: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let budget = if call.verb.is_write() { &self.writes } else { &self.reads };
        let Some(budget) = budget else { return operation.await };
        match call.bytes {
            Some(0) => operation.await,
            Some(bytes) => {
                budget.take(bytes).await;
                operation.await
            }
            // How long a whole file is shows when it is there: those that follow wait for it.
            None => {
                budget.take(0).await;
                let answer = operation.await?;
                budget.take(answer.content_bytes()).await;
                Ok(answer)
            }
        }
    }
}
