//! The parts that actors play.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sendense_repo::{
    ChunkId, EncodedChunk, Error, Kdf, NewFile, NewRestorePoint, Payload, PruneOptions, PruneReport,
    Repository, Result, Secret, SnapshotId, Tuning,
};
use sendense_storage::{FileKind, Storage};
use sendense_testkit::storage::FaultyStorage;
use tokio_util::sync::CancellationToken;

use crate::elsewhere::Elsewhere;
use crate::support::{DIRECTORY, a_time, fill, password, quick_writer, read_data};

pub(crate) const DISK: &str = "disk-2000.raw";

/// What the password may be changed to.
const NEW_PASSWORD: &str = "another";

/// Chunks of a disk, by number.
pub(crate) type Disk = &'static [u64];

/// What an actor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Captures a disk that has chunks of the old restore point and new ones.
    Backup(Disk),
    /// Two captures of one process, which share an opened repository.
    Backups(Disk, Disk),
    /// Takes the old restore point off the list.
    Forget,
    /// Takes over packs that are in no index.
    Adopt,
    /// Marks what nobody needs, and deletes what was marked as soon as nobody can still want it: the grace is over at
    /// once. Twice, so that it deletes what it has marked.
    Prune,
    /// Keeps everybody else out and deletes at once.
    ExclusivePrune,
    /// Copies a restore point of another repository to this one.
    CopyTo,
    /// Copies all restore points to another repository.
    CopyFrom,
    /// Repairs, with the help of another repository that has the old chunks.
    Repair,
    /// Reads every byte.
    Check,
    /// Changes the password.
    ChangePassword,
    /// Removes the packs that no listed restore point needs, at once and without a look at locks.
    CarelessPrune,
}

pub(crate) const FIRST: Part = Part::Backup(&[1, 2, 6, 7]);
pub(crate) const SECOND: Part = Part::Backup(&[1, 7, 8]);
/// With a chunk that is in every restore point.
pub(crate) const THIRD: Part = Part::Backup(&[1, 3, 6, 7]);

pub(crate) async fn open(storage: Arc<dyn Storage>) -> Repository {
    // Two chunks fill a pack, so that there are packs of which one chunk is needed.
    let tuning = Tuning { pack_bytes: 150, threads: 1, writes_max: 1, ..Tuning::default() };
    match Repository::open_with(storage.clone(), &password(), tuning).await {
        Err(Error::WrongPassword) => {
            Repository::open_with(storage, &Secret::new(NEW_PASSWORD), tuning).await.unwrap()
        }
        repository => repository.unwrap(),
    }
}

impl Part {
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Backup(_) => "backup",
            Self::Backups(..) => "backups",
            Self::Forget => "forget",
            Self::Adopt => "adopt",
            Self::CopyTo | Self::CopyFrom => "copy",
            Self::Repair => "repair",
            Self::Check => "check",
            Self::ChangePassword => "change",
            Self::Prune | Self::ExclusivePrune | Self::CarelessPrune => "prune",
        }
    }

    /// Whether one at a time does it.
    pub(crate) fn is_exclusive_work(self) -> bool {
        matches!(self, Self::Prune | Self::ExclusivePrune | Self::Repair | Self::ChangePassword)
    }

    pub(crate) async fn play(
        self,
        repository: &Repository,
        old: SnapshotId,
        elsewhere: &Elsewhere,
    ) -> Vec<Result<Option<(SnapshotId, Disk)>>> {
        let made = |disk: Disk| move |id: SnapshotId| Some((id, disk));
        match self {
            Self::Backup(disk) => vec![back_up(repository, disk).await.map(made(disk))],
            Self::Backups(first, second) => {
                let both = futures::join!(back_up(repository, first), back_up(repository, second));
                vec![both.0.map(made(first)), both.1.map(made(second))]
            }
            Self::Forget => vec![repository.forget(&old).await.map(|()| None)],
            Self::Adopt => {
                let adopted =
                    repository.adopt_orphan_packs(quick_writer().lock, &CancellationToken::new()).await;
                vec![adopted.map(|_| None)]
            }
            Self::Prune => vec![prune_twice(repository).await.map(|()| None)],
            Self::ExclusivePrune => {
                let options = PruneOptions { exclusive: true, ..prune_options() };
                vec![prune(repository, &options).await.map(|_| None)]
            }
            Self::CopyTo => vec![elsewhere.copy_to(repository).await.map(Some)],
            Self::CopyFrom => unreachable!("it says more than whether it has failed"),
            Self::Repair => vec![elsewhere.repair(repository).await.map(|_| None)],
            Self::Check => {
                let checked = repository.check(read_data(), &|_| {}, &CancellationToken::new()).await;
                vec![checked.map(|_| None)]
            }
            Self::ChangePassword => vec![change_password(repository).await.map(|()| None)],
            Self::CarelessPrune => vec![prune_carelessly(repository.storage()).await.map(|()| None)],
        }
    }
}

pub(crate) async fn back_up(repository: &Repository, disk: Disk) -> Result<SnapshotId> {
    let writer = repository.writer(quick_writer()).await?;
    let mut content = Vec::new();
    for number in disk {
        let plain = chunk(*number);
        let id = ChunkId::of(&plain);
        if !writer.contains(&id) {
            let plain_bytes = u32::try_from(plain.len()).unwrap();
            writer.add(EncodedChunk { id, plain_bytes, payload: Payload::Plain(plain) }).await?;
        }
        content.push(id);
    }
    let size_bytes = bytes_of(disk).len() as u64;
    let file = NewFile { name: DISK.into(), size_bytes, content, mtime: a_time() };
    let words: Vec<_> = disk.iter().map(ToString::to_string).collect();
    let point = NewRestorePoint {
        time: a_time(),
        hostname: "web-1".into(),
        username: "sendense".into(),
        directory: DIRECTORY.into(),
        // So that the judge knows it even if whoever made it is dead.
        tags: vec![words.join(" ")],
        parent: None,
        files: vec![file],
    };
    let outcome = writer.commit(point).await;
    if outcome.is_err() {
        // As a job does: what it has stored stays for its repetition.
        let _ = writer.abort().await;
    }
    outcome
}

/// Grace and margin are over at once, so that the order of operations alone decides what may be deleted.
fn prune_options() -> PruneOptions {
    PruneOptions {
        grace: Duration::ZERO,
        clock_margin: Duration::ZERO,
        waste_ratio_max: 0.0,
        lock: quick_writer().lock,
        ..PruneOptions::default()
    }
}

async fn prune(repository: &Repository, options: &PruneOptions) -> Result<PruneReport> {
    repository.prune(options, &|_| {}, &CancellationToken::new()).await
}

async fn change_password(repository: &Repository) -> Result<()> {
    let kdf = Kdf::Fixed { log_n: 4, r: 8, p: 1 };
    repository.change_password(&Secret::new(NEW_PASSWORD), kdf, quick_writer().lock).await.map(|_| ())
}

pub(crate) async fn prune_twice(repository: &Repository) -> Result<()> {
    prune(repository, &prune_options()).await?;
    prune(repository, &prune_options()).await?;
    Ok(())
}

fn chunk(number: u64) -> Bytes {
    let mut plain = vec![0; 64];
    fill(&mut plain, number, 0xff);
    plain.into()
}

pub(crate) fn bytes_of(disk: &[u64]) -> Vec<u8> {
    disk.iter().flat_map(|number| chunk(*number)).collect()
}

pub(crate) fn chunk_numbers(tag: &str) -> Vec<u64> {
    tag.split(' ').map(|number| number.parse().unwrap()).collect()
}

/// The mistake that the explorer must find: list the restore points, see which packs they need, remove the others.
async fn prune_carelessly(storage: &Arc<dyn Storage>) -> Result<()> {
    let journal = Arc::new(FaultyStorage::new(Arc::clone(storage)));
    let repository = open(journal.clone()).await;
    let packs = storage.list(FileKind::Pack).await?;
    for point in repository.restore_points().await? {
        repository.verify_restore_point(&point.id, &|_| {}, &CancellationToken::new()).await?;
    }
    let needed: Vec<_> = journal.journal().into_iter().filter_map(|operation| operation.id).collect();
    for pack in packs.iter().filter(|pack| !needed.contains(&pack.id)) {
        storage.remove(FileKind::Pack, &pack.id).await?;
    }
    Ok(())
}
