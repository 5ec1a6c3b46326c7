//! A bound on size.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::{
    Capacity, Error, ErrorKind, FileEntry, FileId, FileKind, Protection, ProtectionPolicy, Result, Storage,
};

/// How long a count of the files, and a look at the free space, is believed before it may be the reason of a refusal.
/// Others write to and remove from the same place.
const BELIEVED: Duration = Duration::from_secs(10);

/// How large the files of a storage may become.
#[derive(Clone, Copy, Debug, Default)]
pub struct GuardLimits {
    /// The sum of all files; no limit if absent.
    pub quota_bytes: Option<u64>,
    /// What of the place stays free, where the place can tell; nothing if absent.
    pub reserve_bytes: Option<u64>,
}

/// Refuses packs that would go beyond a quota ([`ErrorKind::QuotaExceeded`]) or into a reserve
/// ([`ErrorKind::ReserveReached`]).
///
/// Everything else is let through: index files, restore points, locks and keys are small, and without them neither a
/// commit could end what it began nor a prune make room. That is what the reserve is for: a place that is really full
/// cannot even be cleaned up.
#[derive(Debug)]
pub struct Guard {
    inner: Arc<dyn Storage>,
    limits: GuardLimits,
    usage: Mutex<Usage>,
    /// Bytes of writes that have begun and not ended: a count may or may not see them.
    in_flight_bytes: AtomicU64,
}

/// A write that has begun, until it is dropped.
struct InFlight<'a> {
    sum: &'a AtomicU64,
    bytes: u64,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.sum.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[derive(Debug, Default)]
struct Usage {
    /// Bytes of all files, as counted and with what was written since.
    used: Option<Sample>,
    /// Free bytes of the place, without what was written since.
    free: Option<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    bytes: u64,
    /// When it was taken; `None` after a removal, which makes every sample old.
    at: Option<Instant>,
}

impl Sample {
    fn now(bytes: u64) -> Self {
        Self { bytes, at: Some(Instant::now()) }
    }

    fn is_old(self) -> bool {
        self.at.is_none_or(|at| at.elapsed() >= BELIEVED)
    }
}

impl Guard {
    /// Wraps `inner`. What it holds already is counted before the first pack is written.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>, limits: GuardLimits) -> Self {
        Self { inner, limits, usage: Mutex::default(), in_flight_bytes: AtomicU64::new(0) }
    }

    /// Makes sure that so many bytes may be written, and reserves them.
    async fn admit(&self, kind: FileKind, len: u64) -> Result<InFlight<'_>> {
        let mut usage = self.usage.lock().await;
        if kind == FileKind::Pack {
            self.check_quota(&mut usage, len).await?;
            self.check_reserve(&mut usage, len).await?;
        }
        // Under the lock, so that nobody else is admitted for the same bytes.
        self.in_flight_bytes.fetch_add(len, Ordering::Relaxed);
        Ok(InFlight { sum: &self.in_flight_bytes, bytes: len })
    }

    async fn check_quota(&self, usage: &mut Usage, len: u64) -> Result<()> {
        let Some(quota) = self.limits.quota_bytes else { return Ok(()) };
        let exceeds = |used: Sample| used.bytes + self.in_flight() + len > quota;
        let mut used = self.used(usage).await?;
        if exceeds(used) && used.is_old() {
            usage.used = None;
            used = self.used(usage).await?;
        }
        if exceeds(used) {
            let message = format!("{} of {quota} bytes of its quota are used", used.bytes);
            return Err(Error::new(ErrorKind::QuotaExceeded, "write", message));
        }
        Ok(())
    }

    async fn check_reserve(&self, usage: &mut Usage, len: u64) -> Result<()> {
        let Some(reserve) = self.limits.reserve_bytes else { return Ok(()) };
        let Some(mut free) = self.free(usage).await? else { return Ok(()) };
        if free.is_old() {
            usage.free = None;
            let Some(fresh) = self.free(usage).await? else { return Ok(()) };
            free = fresh;
        }
        if free.bytes < reserve.saturating_add(self.in_flight() + len) {
            let message = format!("{} bytes are free, and {reserve} must stay so", free.bytes);
            return Err(Error::new(ErrorKind::ReserveReached, "write", message));
        }
        Ok(())
    }

    async fn used(&self, usage: &mut Usage) -> Result<Sample> {
        if let Some(used) = usage.used {
            return Ok(used);
        }
        let mut bytes = 0;
        for kind in FileKind::ALL {
            bytes += self.inner.list(kind).await?.iter().map(|file| file.size_bytes).sum::<u64>();
        }
        Ok(*usage.used.insert(Sample::now(bytes)))
    }

    async fn free(&self, usage: &mut Usage) -> Result<Option<Sample>> {
        if usage.free.is_some() {
            return Ok(usage.free);
        }
        let capacity = self.inner.capacity().await?;
        usage.free = capacity.map(|capacity| Sample::now(capacity.free_bytes));
        Ok(usage.free)
    }

    fn in_flight(&self) -> u64 {
        self.in_flight_bytes.load(Ordering::Relaxed)
    }

    /// The place has so many bytes more.
    async fn add(&self, len: u64) {
        let mut usage = self.usage.lock().await;
        if let Some(used) = &mut usage.used {
            used.bytes += len;
        }
        if let Some(free) = &mut usage.free {
            free.bytes = free.bytes.saturating_sub(len);
        }
    }
}

#[async_trait]
impl Storage for Guard {
    fn location(&self) -> String {
        self.inner.location()
    }

    async fn create(&self) -> Result<()> {
        self.inner.create().await
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<FileEntry>> {
        self.inner.list(kind).await
    }

    async fn size(&self, kind: FileKind, id: &FileId) -> Result<u64> {
        self.inner.size(kind, id).await
    }

    async fn read(&self, kind: FileKind, id: &FileId) -> Result<Bytes> {
        self.inner.read(kind, id).await
    }

    async fn read_range(&self, kind: FileKind, id: &FileId, offset: u64, len: usize) -> Result<Bytes> {
        self.inner.read_range(kind, id, offset, len).await
    }

    async fn write(&self, kind: FileKind, id: &FileId, content: Bytes) -> Result<()> {
        let len = content.len() as u64;
        let _in_flight = self.admit(kind, len).await.map_err(|error| error.with_file(kind, id))?;
        self.inner.write(kind, id, content).await?;
        self.add(len).await;
        Ok(())
    }

    async fn remove(&self, kind: FileKind, id: &FileId) -> Result<()> {
        self.inner.remove(kind, id).await?;
        let mut usage = self.usage.lock().await;
        let Usage { used, free } = &mut *usage;
        for sample in [used, free].into_iter().flatten() {
            sample.at = None;
        }
        Ok(())
    }

    /// What the limits leave of the place. A quota gives an answer also where the place has none.
    async fn capacity(&self) -> Result<Option<Capacity>> {
        let place = self.inner.capacity().await?.map(|place| {
            let reserve = self.limits.reserve_bytes.unwrap_or_default();
            Capacity { free_bytes: place.free_bytes.saturating_sub(reserve), ..place }
        });
        let Some(quota) = self.limits.quota_bytes else { return Ok(place) };
        let used = self.used(&mut *self.usage.lock().await).await?.bytes;
        let (total, free) = place.map_or((quota, quota), |place| (place.total_bytes, place.free_bytes));
        Ok(Some(Capacity { total_bytes: quota.min(total), free_bytes: quota.saturating_sub(used).min(free) }))
    }

    fn protection_policy(&self) -> Option<ProtectionPolicy> {
        self.inner.protection_policy()
    }

    async fn protection(&self, kind: FileKind, id: &FileId) -> Result<Option<Protection>> {
        self.inner.protection(kind, id).await
    }

    async fn extend_protection(
        &self,
        kind: FileKind,
        id: &FileId,
        until: SystemTime,
    ) -> Result<Option<Protection>> {
        self.inner.extend_protection(kind, id, until).await
    }
}
