//! One small repository, the parts that actors play on it, and the judge.
//!
//! ```text
//! old     1 2 3 4      somebody may forget it
//! kept        3 4 5    stays
//! backup-1  1 2     6 7    most of it from the old one
//! backup-2  1         7 8    with a new chunk of the other backup
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use sendense_repo::{
    ChunkId, EncodedChunk, Error, NewFile, NewRestorePoint, Payload, Problem, PruneOptions, PruneReport,
    Repository, Result, SnapshotId, Tuning,
};
use sendense_storage::{FileKind, Storage};
use sendense_testkit::interleave::{Scenario, Snapshot, World};
use sendense_testkit::storage::FaultyStorage;
use tokio_util::sync::CancellationToken;

use crate::support::{DIRECTORY, a_time, fill, password, quick_init, quick_writer, read_data, read_file};

const DISK: &str = "disk-2000.raw";

/// Chunks of a disk, by number.
type Disk = &'static [u64];

const OLD: Disk = &[1, 2, 3, 4];
const KEPT: Disk = &[3, 4, 5];
const NEXT: Disk = &[1, 3, 6, 8, 9];

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
    /// Removes the packs that no listed restore point needs, at once and without a look at locks.
    CarelessPrune,
}

pub(crate) const FIRST: Part = Part::Backup(&[1, 2, 6, 7]);
pub(crate) const SECOND: Part = Part::Backup(&[1, 7, 8]);

/// Actors on one repository.
pub(crate) struct Stage {
    parts: Vec<Part>,
    snapshot: Snapshot,
    old: SnapshotId,
    /// Whether the prune is one that does not keep the rules.
    is_careless: bool,
}

/// What the actors report.
#[derive(Default)]
pub(crate) struct Report {
    committed: Vec<(SnapshotId, Disk)>,
    failures: Vec<(Part, Error)>,
}

pub(crate) type Play = Arc<Mutex<Report>>;

impl Stage {
    pub(crate) fn new(parts: &[Part]) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (snapshot, old) = runtime.block_on(prepare());
        Self { parts: parts.to_vec(), snapshot, old, is_careless: parts.contains(&Part::CarelessPrune) }
    }

    /// With a restore point less, which nobody has pruned after.
    pub(crate) fn after_forget(self) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let snapshot = runtime.block_on(async {
            let world = World::with(&self.snapshot).await;
            open(world.inner()).await.forget(&self.old).await.unwrap();
            world.snapshot().await
        });
        Self { snapshot, ..self }
    }
}

/// A repository with two restore points.
async fn prepare() -> (Snapshot, SnapshotId) {
    let world = World::with(&Snapshot::default()).await;
    let storage = world.actor("base").storage();
    let repository = Repository::init(storage, &password(), quick_init()).await.unwrap();
    drop(repository);
    let repository = open(world.actor("base").storage()).await;
    let old = back_up(&repository, OLD).await.unwrap();
    back_up(&repository, KEPT).await.unwrap();
    (world.snapshot().await, old)
}

async fn open(storage: Arc<dyn Storage>) -> Repository {
    // Two chunks fill a pack, so that there are packs of which one chunk is needed.
    let tuning = Tuning { pack_bytes: 150, threads: 1, writes_max: 1, ..Tuning::default() };
    Repository::open_with(storage, &password(), tuning).await.unwrap()
}

impl Scenario for Stage {
    type Play = Play;

    fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    async fn start(&self, world: &Arc<World>) -> Play {
        let play = Play::default();
        for (number, part) in self.parts.iter().enumerate() {
            let actor = world.actor(format!("{}-{number}", part.noun()));
            let actor = if matches!(part, Part::Backups(..)) { actor.loose() } else { actor };
            // Opened before the curtain rises: what it knows may be old when its turn comes.
            let repository = open(actor.storage()).await;
            let (part, old, play) = (*part, self.old, Arc::clone(&play));
            actor.plays(async move {
                for outcome in part.play(&repository, old).await {
                    let mut report = play.lock().unwrap();
                    match outcome {
                        Ok(committed) => report.committed.extend(committed),
                        Err(error) => report.failures.push((part, error)),
                    }
                }
            });
        }
        play
    }

    async fn judge(&self, world: &Arc<World>, play: Play) -> std::result::Result<(), String> {
        let report = std::mem::take(&mut *play.lock().unwrap());
        for (part, error) in &report.failures {
            if !(self.may_fail(*part) && error.is_temporary()) {
                return Err(format!("{part:?} failed: {error:?}"));
            }
        }
        // What dead actors have left: an administrator, or whoever looks after dead processes, removes it.
        let storage: Arc<dyn Storage> = world.inner();
        for lock in storage.list(FileKind::Lock).await.unwrap() {
            storage.remove(FileKind::Lock, &lock.id).await.unwrap();
        }
        let may_be_gone = self.parts.contains(&Part::Forget) || !self.is_there(self.old);
        let mut expected: HashMap<_, _> = report.committed.into_iter().collect();
        if !may_be_gone {
            expected.insert(self.old, OLD);
        }
        self.look_at(&storage, &expected, world.has_deaths()).await?;
        // The next jobs work, and harm nobody.
        let repository = open(Arc::clone(&storage)).await;
        let next = back_up(&repository, NEXT).await.map_err(|error| format!("the next backup: {error:?}"))?;
        expected.insert(next, NEXT);
        let seen = self.look_at(&storage, &expected, world.has_deaths()).await;
        seen.map_err(|reason| format!("after the next backup: {reason}"))?;
        if self.is_careless {
            return Ok(());
        }
        // And so does the next prune, which leaves no garbage.
        prune_twice(&repository).await.map_err(|error| format!("the next prune: {error:?}"))?;
        let seen = self.look_at(&storage, &expected, false).await;
        seen.map_err(|reason| format!("after the next prune: {reason}"))
    }
}

impl Stage {
    fn is_there(&self, point: SnapshotId) -> bool {
        self.snapshot.contains(FileKind::Snapshot, &point.into())
    }

    /// Whether a part may fail for a temporary reason, as long as its repetition succeeds.
    fn may_fail(&self, part: Part) -> bool {
        let is_one_of_several = self.parts.iter().filter(|part| part.is_prune()).count() > 1;
        let has_exclusive = self.parts.contains(&Part::ExclusivePrune);
        self.is_careless || has_exclusive || (part.is_prune() && is_one_of_several)
    }

    /// Every listed restore point is whole, and the expected ones are listed.
    async fn look_at(
        &self,
        storage: &Arc<dyn Storage>,
        expected: &HashMap<SnapshotId, Disk>,
        may_be_marked: bool,
    ) -> std::result::Result<(), String> {
        let repository = open(Arc::clone(storage)).await;
        let points = repository.restore_points().await.unwrap();
        for id in expected.keys() {
            if points.iter().all(|point| point.id != *id) {
                return Err(format!("restore point {id} is not listed"));
            }
        }
        for point in &points {
            let disk = chunk_numbers(&point.tags[0]);
            let content = read_file(&repository, &point.id, &format!("/{DIRECTORY}/{DISK}")).await;
            match content {
                Ok(content) if content == bytes_of(&disk) => {}
                Ok(_) => return Err(format!("restore point {:?} has other bytes", point.tags)),
                Err(error) => return Err(format!("LOST: restore point {:?}: {error}", point.tags)),
            }
        }
        let report = repository.check(read_data(), &|_| {}, &CancellationToken::new()).await.unwrap();
        if self.is_careless {
            // Its index names packs that are gone. What counts here is whether a restore point needs them.
            return Ok(());
        }
        // Who dies at the very end of a commit cannot take back the marks that came meanwhile.
        let is_tolerable =
            |problem: &Problem| may_be_marked && matches!(problem, Problem::ChunkMarked { .. });
        let is_whole = report.damaged_restore_points.is_empty() && report.problems.iter().all(is_tolerable);
        let is_listed = u64::try_from(points.len()).unwrap() == report.restore_points;
        if is_whole && is_listed { Ok(()) } else { Err(format!("{report:?}")) }
    }
}

impl Part {
    fn noun(self) -> &'static str {
        match self {
            Self::Backup(_) => "backup",
            Self::Backups(..) => "backups",
            Self::Forget => "forget",
            Self::Adopt => "adopt",
            Self::Prune | Self::ExclusivePrune | Self::CarelessPrune => "prune",
        }
    }

    fn is_prune(self) -> bool {
        matches!(self, Self::Prune | Self::ExclusivePrune)
    }

    async fn play(self, repository: &Repository, old: SnapshotId) -> Vec<Result<Option<(SnapshotId, Disk)>>> {
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
            Self::CarelessPrune => vec![prune_carelessly(repository.storage()).await.map(|()| None)],
        }
    }
}

async fn back_up(repository: &Repository, disk: Disk) -> Result<SnapshotId> {
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

async fn prune_twice(repository: &Repository) -> Result<()> {
    prune(repository, &prune_options()).await?;
    prune(repository, &prune_options()).await?;
    Ok(())
}

fn chunk(number: u64) -> Bytes {
    let mut plain = vec![0; 64];
    fill(&mut plain, number, 0xff);
    plain.into()
}

fn bytes_of(disk: &[u64]) -> Vec<u8> {
    disk.iter().flat_map(|number| chunk(*number)).collect()
}

fn chunk_numbers(tag: &str) -> Vec<u64> {
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
