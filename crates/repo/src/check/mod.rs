//! Proving that restore points can be read.
//!
//! [`check`] looks at the whole repository, [`verify`] at one restore point. Both report damage and do not fail
//! because of it: an error means that the check itself could not be done.

mod packs;
mod problem;
mod verify;
mod walk;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use sendense_storage::{ErrorKind, FileKind};
use tokio_util::sync::CancellationToken;

use crate::repository::Inner;
use crate::{Error, KeyId, PackId, Result, SnapshotId};
pub use problem::Problem;
pub(crate) use verify::verify;
pub use verify::{VerifyProgress, VerifyReport};
use walk::Walker;
pub(crate) use walk::is_damage;

/// What is checked.
#[derive(Clone, Copy, Debug, Default)]
pub struct CheckOptions {
    /// With `read_data`: so many percent of the packs, and at least one. Chance decides which. `None` for all.
    pub sample_percent: Option<f64>,
    /// Read every byte and verify every chunk. Otherwise the files are held against each other, and only trees are
    /// read.
    pub read_data: bool,
}

/// How far a check is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckProgress {
    /// Bytes of packs that were read.
    pub checked_bytes: u64,
    /// Bytes of packs that shall be read; 0 without `read_data`.
    pub total_bytes: u64,
    /// Restore points that were walked through; this comes after the packs.
    pub checked_restore_points: u64,
    /// All restore points.
    pub total_restore_points: u64,
}

/// What a check looked at and what it found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Restore points that were walked through.
    pub restore_points: u64,
    /// Packs that the index names.
    pub packs: u64,
    /// Chunks and trees that the index names.
    pub blobs: u64,
    /// Packs that were read and verified, to the last byte.
    pub read_packs: u64,
    /// Bytes of packs that were read and verified.
    pub read_bytes: u64,
    /// How long reading them took.
    pub read_time: Duration,
    /// Packs that no index names: garbage, or chunks waiting to be adopted. Not a problem.
    pub orphan_packs: u64,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// The restore points that cannot be read completely, and which of their files cannot.
    pub damaged_restore_points: Vec<DamagedRestorePoint>,
}

/// A restore point that is not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedRestorePoint {
    /// The restore point.
    pub id: SnapshotId,
    /// The files and directories that cannot be read completely. Empty when not even the root can be read.
    pub paths: Vec<String>,
}

impl CheckReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.problems.is_empty() && self.damaged_restore_points.is_empty()
    }
}

/// Restore points that are walked through at a time.
const WALKS_MAX: usize = 2;

/// How much is read and opened at the same time: each keeps a core busy, and two more are on their way meanwhile.
/// Bounded, because each is up to a pack in memory.
fn reads_max() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get).min(16) + 2
}

/// As [`look`], and writes down which chunks are damaged, so that no process relies on them any more. Where nothing may
/// be written, only this one knows.
pub(crate) async fn check(
    repository: &Arc<Inner>,
    options: CheckOptions,
    progress: &(dyn Fn(CheckProgress) + Send + Sync),
    cancel: &CancellationToken,
) -> Result<CheckReport> {
    let report = look(repository, options, progress, cancel).await;
    let _ = repository.catalog.record_damage().await;
    report
}

/// Checks a repository. Takes no lock and changes nothing.
pub(crate) async fn look(
    repository: &Arc<Inner>,
    options: CheckOptions,
    progress: &(dyn Fn(CheckProgress) + Send + Sync),
    cancel: &CancellationToken,
) -> Result<CheckReport> {
    let packs = |repository: &Inner| {
        if options.read_data { packs::choose(repository, options.sample_percent) } else { Ok(Vec::new()) }
    };
    look_and_read(repository, packs, progress, cancel).await
}

/// As [`look`] without reading, but for these packs, of which the sizes are told.
pub(crate) async fn look_at(
    repository: &Arc<Inner>,
    packs: Vec<(PackId, u64)>,
    cancel: &CancellationToken,
) -> Result<CheckReport> {
    look_and_read(repository, |_| Ok(packs), &|_| {}, cancel).await
}

/// The packs are chosen when the index is known.
async fn look_and_read(
    repository: &Arc<Inner>,
    packs: impl FnOnce(&Inner) -> Result<Vec<(PackId, u64)>> + Send,
    progress: &(dyn Fn(CheckProgress) + Send + Sync),
    cancel: &CancellationToken,
) -> Result<CheckReport> {
    let mut report = CheckReport::default();
    // The restore points first: what is made while we check may need packs that the listings do not show yet.
    let points = repository.storage.list(FileKind::Snapshot).await?;
    check_keys(repository, &mut report).await?;
    check_index(repository, &mut report).await?;
    let mut state = CheckProgress { total_restore_points: points.len() as u64, ..CheckProgress::default() };
    let (begin, packs) = (Instant::now(), packs(repository)?);
    if !packs.is_empty() {
        packs::read_all(repository, packs, &mut report, &mut state, progress, cancel).await?;
        report.read_time = begin.elapsed();
    }
    let walker = Walker::new(repository);
    let ids: Vec<SnapshotId> = points.iter().map(|entry| entry.id.into()).collect();
    let mut walks = futures::stream::iter(ids).map(|id| walker.walk(id)).buffer_unordered(WALKS_MAX);
    while let Some(damaged) = walks.next().await {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        report.damaged_restore_points.extend(damaged?);
        report.restore_points += 1;
        state.checked_restore_points += 1;
        progress(state);
    }
    drop(walks);
    report.problems.extend(walker.into_problems());
    Ok(report)
}

/// Reads all packs, and walks through nothing.
pub(crate) async fn read_all(
    repository: &Arc<Inner>,
    progress: &(dyn Fn(CheckProgress) + Send + Sync),
    cancel: &CancellationToken,
) -> Result<CheckReport> {
    let (mut report, mut state) = (CheckReport::default(), CheckProgress::default());
    check_index(repository, &mut report).await?;
    let packs = packs::choose(repository, None)?;
    packs::read_all(repository, packs, &mut report, &mut state, progress, cancel).await?;
    Ok(report)
}

/// Holds key files against their names. One that was changed may still open with its password, or no more with any:
/// it is found here, before somebody needs it.
async fn check_keys(repository: &Inner, report: &mut CheckReport) -> Result<()> {
    let storage = &repository.storage;
    for entry in storage.list(FileKind::Key).await? {
        let id = KeyId::from(entry.id);
        let reason = match storage.read(FileKind::Key, &entry.id).await {
            Ok(content) if KeyId::of(&content) == id => continue,
            Ok(_) => "its content does not match its name".into(),
            // Removed since the listing.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) if error.kind() == ErrorKind::Damaged => error.to_string(),
            Err(error) => return Err(error.into()),
        };
        report.problems.push(Problem::KeyDamaged { id, reason });
    }
    Ok(())
}

/// Holds index files and packs against each other.
async fn check_index(repository: &Inner, report: &mut CheckReport) -> Result<()> {
    repository.catalog.refresh().await?;
    let damaged = repository.catalog.damaged().await;
    report.problems.extend(
        damaged.into_iter().map(|file| Problem::IndexUnreadable { id: file.id, reason: file.reason }),
    );
    let listing = repository.catalog.verify_packs().await?;
    report.problems.extend(listing.missing.into_iter().map(|id| Problem::PackMissing { id }));
    report.orphan_packs = listing.orphans.len() as u64;
    let index = repository.catalog.index();
    report.packs = index.unmarked_packs_len() as u64;
    report.blobs = index.blobs_len() as u64;
    Ok(())
}
