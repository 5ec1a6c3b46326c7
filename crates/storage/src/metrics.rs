//! What a storage was asked and how it answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::around::{Around, Call, Content};
use crate::{Result, Storage, Verb};

/// The sums of one verb since the storage was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerbMetrics {
    /// Operations that have ended.
    pub calls: u64,
    /// Those among them that failed.
    pub errors: u64,
    /// Bytes of content that were moved by those that did not fail.
    pub bytes: u64,
    /// How long they took, added up: with several at a time more than has passed on the clock.
    pub time: Duration,
}

#[derive(Debug, Default)]
struct Counters {
    calls: AtomicU64,
    errors: AtomicU64,
    bytes: AtomicU64,
    time_us: AtomicU64,
}

impl Counters {
    fn sample(&self) -> VerbMetrics {
        VerbMetrics {
            calls: self.calls.load(Ordering::Relaxed),
            errors: self.errors.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            time: Duration::from_micros(self.time_us.load(Ordering::Relaxed)),
        }
    }
}

/// Counts calls, errors, bytes and time, by verb. Whoever wants to know samples: nothing is sent anywhere.
#[derive(Debug)]
pub struct Metrics {
    inner: Arc<dyn Storage>,
    counters: [Counters; Verb::ALL.len()],
}

impl Metrics {
    /// Wraps `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>) -> Self {
        Self { inner, counters: Default::default() }
    }

    /// The sums of a verb so far.
    #[must_use]
    pub fn sample(&self, verb: Verb) -> VerbMetrics {
        self.counters[verb as usize].sample()
    }
}

impl Around for Metrics {
    fn inner(&self) -> &dyn Storage {
        &*self.inner
    }

    async fn around<T: Content>(
        &self,
        call: Call<'_>,
        operation: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        let start = Instant::now();
        let result = operation.await;
        let counters = &self.counters[call.verb as usize];
        let time_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        counters.time_us.fetch_add(time_us, Ordering::Relaxed);
        counters.calls.fetch_add(1, Ordering::Relaxed);
        match &result {
            Ok(answer) => {
                let bytes = answer.content_bytes().max(call.bytes.unwrap_or_default());
                counters.bytes.fetch_add(bytes, Ordering::Relaxed);
            }
            Err(_) => {
                counters.errors.fetch_add(1, Ordering::Relaxed);
            }
        }
        result
    }
}
