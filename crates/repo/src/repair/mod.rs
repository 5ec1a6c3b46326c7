//! Repairing what can be repaired, and saying what cannot.
//!
//! In this order: packs that no index file names are taken over, so that index files which cannot be read are not
//! needed any more; every pack is read; whatever is whole in a damaged pack is copied, and what is needed and nowhere
//! whole is taken from a second repository that has it; then index files are written that name no damaged or missing
//! pack, and the old ones are removed. No restore point and no pack is deleted: a damaged pack is named by nobody, and
//! left to the next prune.

mod heal;
mod salvage;

use std::collections::HashSet;
use std::sync::Arc;

use sendense_storage::{ErrorKind, FileKind};
use tokio_util::sync::CancellationToken;

use crate::adopt::adopt;
use crate::check::{self, BadPlaces, CheckOptions, CheckProgress, CheckReport, Problem};
use crate::lock::{HeldLock, LockKind, LockTiming};
use crate::prune::{IndexWriter, read_index_file};
use crate::repository::Inner;
use crate::{DamagedRestorePoint, Error, IndexId, PackId, Result};

/// How a repository is repaired.
#[derive(Clone, Copy, Debug, Default)]
pub struct RepairOptions {
    /// Says what is wrong and changes nothing.
    pub dry_run: bool,
    /// When the lock is looked at and refreshed.
    pub lock: LockTiming,
}

/// What a repair found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// Packs that no index file named, and that were taken over.
    pub adopted_packs: u64,
    /// Index files that could not be read, and that were removed.
    pub removed_index_files: u64,
    /// Packs that are damaged: no index file names them any more.
    pub damaged_packs: u64,
    /// Packs that were not there: no index file names them any more.
    pub missing_packs: u64,
    /// Chunks and directories that were copied out of damaged packs.
    pub salvaged_blobs: u64,
    /// Chunks and directories that were taken from the second repository.
    pub healed_blobs: u64,
    /// What is still wrong.
    pub problems: Vec<Problem>,
    /// The restore points that cannot be read completely, and which of their files cannot.
    pub damaged_restore_points: Vec<DamagedRestorePoint>,
}

impl RepairReport {
    /// Whether nothing is wrong any more.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.problems.is_empty() && self.damaged_restore_points.is_empty()
    }
}

/// What the steps of one repair share.
struct Repair<'a> {
    repository: &'a Arc<Inner>,
    lock: &'a HeldLock,
    progress: &'a (dyn Fn(CheckProgress) + Send + Sync),
    cancel: &'a CancellationToken,
}

/// Repairs a repository beside running writers, and never beside a prune.
pub(crate) async fn repair(
    repository: &Arc<Inner>,
    source: Option<&Arc<Inner>>,
    options: RepairOptions,
    progress: &(dyn Fn(CheckProgress) + Send + Sync),
    cancel: &CancellationToken,
) -> Result<RepairReport> {
    if options.dry_run {
        let all = CheckOptions { read_data: true, ..CheckOptions::default() };
        return Ok(found(&check::check(repository, all, progress, cancel).await?));
    }
    let Inner { storage, key, .. } = &**repository;
    let lock = HeldLock::acquire_as(LockKind::Prune, storage, key, options.lock).await?;
    let result = Repair { repository, lock: &lock, progress, cancel }.run(source).await;
    let released = lock.release().await;
    let report = result?;
    released.map(|()| report)
}

/// What a check says, in the words of a repair.
fn found(checked: &CheckReport) -> RepairReport {
    let count =
        |is_meant: fn(&Problem) -> bool| checked.problems.iter().filter(|p| is_meant(p)).count() as u64;
    RepairReport {
        damaged_packs: damaged_packs(&checked.problems).len() as u64,
        missing_packs: count(|problem| matches!(problem, Problem::PackMissing { .. })),
        problems: checked.problems.clone(),
        damaged_restore_points: checked.damaged_restore_points.clone(),
        ..RepairReport::default()
    }
}

/// The packs that are there and not as they must be.
fn damaged_packs(problems: &[Problem]) -> HashSet<PackId> {
    let pack = |problem: &Problem| match problem {
        Problem::PackDamaged { id, .. } => Some(*id),
        Problem::BlobDamaged { pack, .. } => Some(*pack),
        _ => None,
    };
    problems.iter().filter_map(pack).collect()
}

impl Repair<'_> {
    async fn run(&self, source: Option<&Arc<Inner>>) -> Result<RepairReport> {
        let mut report = RepairReport::default();
        report.adopted_packs += adopt(self.repository, self.cancel).await?.packs;
        let unreadable: Vec<IndexId> =
            self.repository.catalog.damaged().await.into_iter().map(|file| file.id).collect();
        let (checked, bad_places) = check::read_all(self.repository, self.progress, self.cancel).await?;
        let damaged = damaged_packs(&checked.problems);
        let missing: HashSet<PackId> = checked.problems.iter().filter_map(missing_pack).collect();
        report.damaged_packs = damaged.len() as u64;
        report.missing_packs = missing.len() as u64;
        report.salvaged_blobs = self.salvage(&damaged, &bad_places).await?;
        if let Some(source) = source {
            source.catalog.refresh().await?;
            report.healed_blobs = self.heal(source, &damaged, &bad_places).await?;
        }
        // From here on index files name all that is whole.
        self.repository.catalog.write_index().await?;
        let gone: HashSet<PackId> = damaged.union(&missing).copied().collect();
        report.removed_index_files = self.replace_index_files(&unreadable, &gone).await?;
        self.repository.catalog.refresh().await?;
        // Where only the index was wrong, the pack says itself what it holds.
        let again = adopt(self.repository, self.cancel).await?;
        report.adopted_packs += again.packs;
        let rest = check::check(self.repository, CheckOptions::default(), &|_| {}, self.cancel).await?;
        report.problems = rest.problems;
        report.damaged_restore_points = rest.damaged_restore_points;
        Ok(report)
    }

    /// Writes anew what stays of the index files that name packs to go, and removes them and the unreadable ones.
    async fn replace_index_files(&self, unreadable: &[IndexId], gone: &HashSet<PackId>) -> Result<u64> {
        let (mut writer, mut replaced) = (IndexWriter::new(self.repository), Vec::new());
        for entry in self.repository.storage.list(FileKind::Index).await? {
            let id = IndexId::from(entry.id);
            if unreadable.contains(&id) {
                continue;
            }
            let file = read_index_file(self.repository, id).await?;
            // A file of a prune's marks stays: what is marked is named by nobody anyway.
            if !file.packs_to_delete.is_empty() || !file.packs.iter().any(|pack| gone.contains(&pack.id)) {
                continue;
            }
            for pack in file.packs.into_iter().filter(|pack| !gone.contains(&pack.id)) {
                writer.add(pack).await?;
            }
            replaced.push(id);
        }
        writer.finish().await?;
        self.lock.confirm().await?;
        for id in replaced {
            self.remove(id).await?;
        }
        let mut removed = 0;
        for id in unreadable {
            removed += u64::from(self.remove(*id).await?);
        }
        Ok(removed)
    }

    /// `false` when the storage protects the file.
    async fn remove(&self, id: IndexId) -> Result<bool> {
        match self.repository.storage.remove(FileKind::Index, &id.into()).await {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::Protected => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn check_cancelled(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}

fn missing_pack(problem: &Problem) -> Option<PackId> {
    match problem {
        Problem::PackMissing { id } => Some(*id),
        _ => None,
    }
}

/// Whether a blob can be read somewhere, as far as we know.
fn is_whole_somewhere(
    repository: &Inner,
    kind: crate::pack::BlobKind,
    id: &[u8; 32],
    damaged: &HashSet<PackId>,
    bad_places: &BadPlaces,
) -> bool {
    repository.catalog.index().find(kind, id).any(|place| {
        !place.is_missing && !damaged.contains(&place.pack) && !bad_places.contains(place.pack, &place.blob)
    })
}
