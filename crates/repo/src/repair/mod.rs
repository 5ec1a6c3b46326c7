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
        let rest = self.look_again(&damaged).await?;
        report.problems = rest.problems;
        report.damaged_restore_points = rest.damaged_restore_points;
        Ok(report)
    }

    /// What is wrong now. What was written is read, and again what was damaged and is named still, by an index file that
    /// the storage protects.
    async fn look_again(&self, damaged: &HashSet<PackId>) -> Result<CheckReport> {
        let mut packs = std::mem::take(&mut *self.written.lock().unwrap_or_else(PoisonError::into_inner));
        let is_damaged = |(id, _): &(PackId, u64)| damaged.contains(id);
        packs.extend(self.repository.catalog.index().present_packs().filter(is_damaged));
        let report = check::look_at(self.repository, packs, self.cancel).await?;
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

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use sendense_storage::MemoryStorage;

    use super::*;
    use crate::index::{IndexFile, IndexPack};
    use crate::pack::BlobKind;
    use crate::{ChunkId, InitOptions, Kdf, Repository, Secret, WriterOptions, sealed_json};

    /// Writes index files anew in which two chunks of each pack have each other's names.
    async fn confuse(repository: &Repository) {
        let inner = &repository.inner;
        for entry in inner.storage.list(FileKind::Index).await.unwrap() {
            let mut file = read_index_file(inner, entry.id.into()).await.unwrap();
            for pack in &mut file.packs {
                let mut blobs: Vec<_> = pack.blobs().collect();
                if let [one, other, ..] = blobs.as_mut_slice()
                    && one.kind == BlobKind::Data
                {
                    std::mem::swap(&mut one.id, &mut other.id);
                }
                *pack = IndexPack::new(pack.id, &blobs);
            }
            let sealed = sealed_json::seal(&inner.key, &IndexFile { ..file }).unwrap();
            inner.storage.write(FileKind::Index, &sealed.id, sealed.content).await.unwrap();
            inner.storage.remove(FileKind::Index, &entry.id).await.unwrap();
        }
    }

    #[tokio::test]
    async fn where_only_the_index_is_wrong_nothing_is_lost() {
        let storage = Arc::new(MemoryStorage::new());
        let init = InitOptions { kdf: Kdf::Fixed { log_n: 4, r: 8, p: 1 }, ..InitOptions::default() };
        let password = Secret::new("of a test");
        let repository = Repository::init(storage.clone(), &password, init).await.unwrap();
        let writer = repository.writer(WriterOptions { lock: quick() }).await.unwrap();
        let mut chunks = Vec::<ChunkId>::new();
        for number in 0..4_u8 {
            chunks.push(writer.add_plain(Bytes::from(vec![number; 1000])).await.unwrap());
        }
        writer.flush().await.unwrap();
        confuse(&repository).await;

        let repository = Repository::open(storage, &password).await.unwrap();
        assert!(repository.read_chunk(&chunks[0]).await.is_err());
        let options = RepairOptions { lock: quick(), ..RepairOptions::default() };
        let report = repository.repair(None, options, &|_| {}, &CancellationToken::new()).await.unwrap();
        assert!(report.is_healthy() && report.adopted_packs == 1, "{report:?}");
        for (number, chunk) in (0..).zip(&chunks) {
            assert_eq!(repository.read_chunk(chunk).await.unwrap(), vec![number; 1000]);
            assert!(repository.contains(chunk), "and it is relied on");
        }
    }

    fn quick() -> LockTiming {
        LockTiming { settle: std::time::Duration::ZERO, ..LockTiming::default() }
    }
}
