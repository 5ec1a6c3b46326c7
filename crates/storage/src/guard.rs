//! A bound on size.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
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
/// Everything else is let through, and waits for no count: index files, restore points, locks and keys are small, and
/// without them neither a commit could end what it began nor a prune make room. That is what the reserve is for: a
/// place that is really full cannot even be cleaned up.
#[derive(Debug)]
pub struct Guard {
    inner: Arc<dyn Storage>,
    limits: GuardLimits,
    /// Never held while the place is asked.
    usage: Mutex<Usage>,
    /// Held while the place is asked, so that all who need the same answer wait for one.
    asking: tokio::sync::Mutex<()>,
}

/// How often a refusal by a sample that may be too large, or too small, is put to the test by another one.
const RECOUNTS_MAX: u32 = 1;

/// A write that has begun, until it is dropped.
struct InFlight<'a> {
    guard: &'a Guard,
    bytes: u64,
}

impl InFlight<'_> {
    /// The place has its bytes now. In one step: nobody sees them twice.
    fn land(mut self) {
        let len = std::mem::take(&mut self.bytes);
        let mut usage = self.guard.usage();
        usage.in_flight_bytes -= len;
        usage.written_bytes += len;
        if let Some(used) = &mut usage.used {
            used.bytes += len;
        }
        if let Some(free) = &mut usage.free {
            free.bytes = free.bytes.saturating_sub(len);
        }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.guard.usage().in_flight_bytes -= self.bytes;
    }
}

#[derive(Debug, Default)]
struct Usage {
    /// Bytes of all files, as counted and with what was written since.
    used: Option<Sample>,
    /// Free bytes of the place, without what was written since; the largest number where the place cannot tell.
    free: Option<Sample>,
    /// Bytes of writes that have begun and not ended: a count may or may not see them.
    in_flight_bytes: u64,
    /// Bytes of all writes that have ended.
    written_bytes: u64,
    removals: u64,
    /// Numbers the samples in the order in which they were begun.
    samples: u64,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    bytes: u64,
    number: u64,
    begun: Instant,
    /// Something was removed since it was begun, or was being written while it was taken and may count twice: it may be
    /// too large, or too small where it is of what is free.
    is_outdated: bool,
}

impl Sample {
    /// Whether whoever was there when there were only `asked` samples should have another one taken.
    fn is_old_for(self, asked: u64) -> bool {
        self.number <= asked && self.begun.elapsed() >= BELIEVED
    }

    /// Whether it should be another one by which they are refused.
    fn is_doubtful_for(self, asked: u64) -> bool {
        self.is_old_for(asked) || (self.number <= asked && self.is_outdated)
    }
}

/// What the place can be asked for.
#[derive(Clone, Copy, Debug)]
enum Question {
    Used,
    Free,
}

impl Usage {
    fn sample(&mut self, question: Question) -> &mut Option<Sample> {
        match question {
            Question::Used => &mut self.used,
            Question::Free => &mut self.free,
        }
    }

    fn is_any_outdated(&self) -> bool {
        [self.used, self.free].into_iter().flatten().any(|sample| sample.is_outdated)
    }

    /// Whether so many bytes may be written; or what has to be asked before that can be said.
    fn judge(&self, limits: &GuardLimits, len: u64, asked: u64) -> Result<Option<Question>> {
        if let Some(quota) = limits.quota_bytes {
            let Some(used) = self.used else { return Ok(Some(Question::Used)) };
            if used.bytes + self.in_flight_bytes + len > quota {
                if used.is_doubtful_for(asked) {
                    return Ok(Some(Question::Used));
                }
                let message = format!("{} of {quota} bytes of its quota are used", used.bytes);
                return Err(Error::new(ErrorKind::QuotaExceeded, "write", message));
            }
        }
        if let Some(reserve) = limits.reserve_bytes {
            let Some(free) = self.free.filter(|free| !free.is_old_for(asked)) else {
                return Ok(Some(Question::Free));
            };
            if free.bytes < reserve.saturating_add(self.in_flight_bytes + len) {
                if free.is_doubtful_for(asked) {
                    return Ok(Some(Question::Free));
                }
                let message = format!("{} bytes are free, and {reserve} must stay so", free.bytes);
                return Err(Error::new(ErrorKind::ReserveReached, "write", message));
            }
        }
        Ok(None)
    }
}

impl Guard {
    /// Wraps `inner`. What it holds already is counted before the first pack is written.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>, limits: GuardLimits) -> Self {
        Self { inner, limits, usage: Mutex::default(), asking: tokio::sync::Mutex::default() }
    }

    fn usage(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes sure that so many bytes may be written, and reserves them.
    async fn admit(&self, kind: FileKind, len: u64) -> Result<InFlight<'_>> {
        let (mut asked, mut recounts) = (self.usage().samples, 0);
        loop {
            let question = {
                let mut usage = self.usage();
                let judged = match kind {
                    FileKind::Pack => usage.judge(&self.limits, len, asked),
                    _ => Ok(None),
                };
                match judged {
                    Ok(Some(question)) => question,
                    Ok(None) => {
                        // Under the same lock, so that nobody else is admitted for the same bytes.
                        usage.in_flight_bytes += len;
                        return Ok(InFlight { guard: self, bytes: len });
                    }
                    Err(_) if recounts < RECOUNTS_MAX && usage.is_any_outdated() => {
                        (asked, recounts) = (usage.samples, recounts + 1);
                        continue;
                    }
                    Err(refusal) => return Err(refusal),
                }
            };
            self.ask(question, asked).await?;
        }
    }

    /// Takes a sample, unless somebody has begun one since there were `asked` of them.
    async fn ask(&self, question: Question, asked: u64) -> Result<Sample> {
        let _one_at_a_time = self.asking.lock().await;
        let (number, written_before, removals_before) = {
            let mut usage = self.usage();
            if let Some(sample) = usage.sample(question).filter(|sample| sample.number > asked) {
                return Ok(sample);
            }
            usage.samples += 1;
            (usage.samples, usage.written_bytes, usage.removals)
        };
        let begun = Instant::now();
        let bytes = match question {
            Question::Used => self.count().await?,
            Question::Free => self.inner.capacity().await?.map_or(u64::MAX, |capacity| capacity.free_bytes),
        };
        let mut usage = self.usage();
        // Whether it saw what was written meanwhile, and what is still being written, is not known.
        let written = usage.written_bytes - written_before;
        let bytes = match question {
            Question::Used => bytes + written,
            Question::Free => bytes.saturating_sub(written),
        };
        let is_outdated = usage.removals != removals_before || written > 0 || usage.in_flight_bytes > 0;
        Ok(*usage.sample(question).insert(Sample { bytes, number, begun, is_outdated }))
    }

    async fn count(&self) -> Result<u64> {
        let mut bytes = 0;
        for kind in FileKind::ALL {
            bytes += self.inner.list(kind).await?.iter().map(|file| file.size_bytes).sum::<u64>();
        }
        Ok(bytes)
    }

    fn outdate(&self) {
        let mut usage = self.usage();
        usage.removals += 1;
        for question in [Question::Used, Question::Free] {
            if let Some(sample) = usage.sample(question) {
                sample.is_outdated = true;
            }
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
        let in_flight = self.admit(kind, len).await.map_err(|error| error.with_file(kind, id))?;
        self.inner.write(kind, id, content).await?;
        in_flight.land();
        Ok(())
    }

    async fn remove(&self, kind: FileKind, id: &FileId) -> Result<()> {
        self.inner.remove(kind, id).await?;
        self.outdate();
        Ok(())
    }

    /// What the limits leave of the place. A quota gives an answer also where the place has none.
    async fn capacity(&self) -> Result<Option<Capacity>> {
        let place = self.inner.capacity().await?.map(|place| {
            let reserve = self.limits.reserve_bytes.unwrap_or_default();
            Capacity { free_bytes: place.free_bytes.saturating_sub(reserve), ..place }
        });
        let Some(quota) = self.limits.quota_bytes else { return Ok(place) };
        let counted = self.usage().used;
        let used = match counted {
            Some(used) => used.bytes,
            None => self.ask(Question::Used, 0).await?.bytes,
        };
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
