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
use std::sync::{Arc, Mutex, PoisonError};

use sendense_storage::{ErrorKind, FileKind};
use tokio_util::sync::CancellationToken;

use crate::adopt::adopt;
use crate::check::{self, CheckOptions, CheckProgress, CheckReport, Problem};
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
    /// Index files that cannot be read or name packs that are not whole, and that stay because the storage protects
    /// them. We do not rely on what they say; other tools find fault with it.
    pub protected_index_files: u64,
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
    /// The packs that it wrote, with their sizes in bytes.
    written: Mutex<Vec<(PackId, u64)>>,
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
        return Ok(found(&check::look(repository, all, progress, cancel).await?));
    }
    let Inner { storage, key, .. } = &**repository;
    let lock = HeldLock::acquire_as(LockKind::Prune, storage, key, options.lock).await?;
    let repair = Repair { repository, lock: &lock, progress, cancel, written: Mutex::default() };
    let result = repair.run(source).await;
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
    problems.iter().filter_map(pack_of).collect()
}

/// The pack that is there and not as it must be.
fn pack_of(problem: &Problem) -> Option<PackId> {
    match problem {
        Problem::PackDamaged { id, .. } => Some(*id),
        Problem::BlobDamaged { pack, .. } => Some(*pack),
        _ => None,
    }
}

impl Repair<'_> {
    async fn run(&self, source: Option<&Arc<Inner>>) -> Result<RepairReport> {
        let mut report = RepairReport::default();
        report.adopted_packs += adopt(self.repository, self.cancel).await?.packs;
        let unreadable: Vec<IndexId> =
            self.repository.catalog.damaged().await.into_iter().map(|file| file.id).collect();
        let checked = check::read_all(self.repository, self.progress, self.cancel).await?;
        let damaged = damaged_packs(&checked.problems);
        let missing: HashSet<PackId> = checked.problems.iter().filter_map(missing_pack).collect();
        report.damaged_packs = damaged.len() as u64;
        report.missing_packs = missing.len() as u64;
        report.salvaged_blobs = self.salvage(&damaged).await?;
        if let Some(source) = source {
            source.catalog.refresh().await?;
            report.healed_blobs = self.heal(source, &damaged).await?;
        }
        // From here on index files name all that is whole.
        self.repository.catalog.write_index().await?;
        let gone: HashSet<PackId> = damaged.union(&missing).copied().collect();
        self.replace_index_files(&unreadable, &gone, &mut report).await?;
        self.repository.catalog.refresh().await?;
        // Where only the index was wrong, the pack says itself what it holds.
        let again = adopt(self.repository, self.cancel).await?;
        report.adopted_packs += again.packs;
        let rest = self.look_again(checked.problems, &damaged).await?;
        report.problems = rest.problems;
        report.damaged_restore_points = rest.damaged_restore_points;
        Ok(report)
    }

    /// What is wrong now: what was written is read, and what was read before is not read again.
    async fn look_again(&self, before: Vec<Problem>, damaged: &HashSet<PackId>) -> Result<CheckReport> {
        let written = std::mem::take(&mut *self.written.lock().unwrap_or_else(PoisonError::into_inner));
        let mut report = check::look_at(self.repository, written, self.cancel).await?;
        {
            let index = self.repository.catalog.index();
            let is_named =
                |id| damaged.contains(&id) && index.pack(&id).is_some_and(|pack| pack.mark.is_none());
            // A protected index file names it still.
            let rest = before.into_iter().filter(|problem| pack_of(problem).is_some_and(is_named));
            report.problems.extend(rest);
        }
        // In case that what was written is not what it must be.
        self.repository.catalog.record_damage().await?;
        Ok(report)
    }

    /// Writes anew what stays of the index files that name packs to go, and removes them and the unreadable ones.
    async fn replace_index_files(
        &self,
        unreadable: &[IndexId],
        gone: &HashSet<PackId>,
        report: &mut RepairReport,
    ) -> Result<()> {
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
            report.protected_index_files += u64::from(!self.remove(id).await?);
        }
        for id in unreadable {
            let is_removed = self.remove(*id).await?;
            report.removed_index_files += u64::from(is_removed);
            report.protected_index_files += u64::from(!is_removed);
        }
        Ok(())
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
) -> bool {
    let index = repository.catalog.index();
    index.find(kind, id).any(|place| !place.is_doubtful() && !damaged.contains(&place.pack))
}
