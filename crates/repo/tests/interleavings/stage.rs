//! One small repository, the actors on it, and the judge.
//!
//! ```text
//! old     1 2 3 4      somebody may forget it
//! kept        3 4 5    stays
//! backup-1  1 2     6 7    most of it from the old one
//! backup-2  1         7 8    with a new chunk of the other backup
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use sendense_repo::{Error, Problem, RepairReport, Repository, SnapshotId};
use sendense_storage::{FileKind, Storage};
use sendense_testkit::interleave::{Scenario, Snapshot, World};
use tokio_util::sync::CancellationToken;

use crate::elsewhere::{Elsewhere, copy_from, damage, is_pulled_away};
use crate::part::{DISK, Disk, Part, back_up, bytes_of, chunk_numbers, open, prune_twice};
use crate::support::{DIRECTORY, password, quick_init, read_data, read_file};

const OLD: Disk = &[1, 2, 3, 4];
const KEPT: Disk = &[3, 4, 5];
const NEXT: Disk = &[1, 3, 6, 8, 9];

/// Actors on one repository.
pub(crate) struct Stage {
    parts: Vec<Part>,
    snapshot: Snapshot,
    old: SnapshotId,
    elsewhere: Arc<Elsewhere>,
    /// Whether the prune is one that does not keep the rules.
    is_careless: bool,
    /// Whether a chunk is damaged before anybody begins.
    is_damaged: bool,
}

/// What the actors report.
#[derive(Default)]
pub(crate) struct Report {
    committed: Vec<(SnapshotId, Disk)>,
    failures: Vec<(Part, Error)>,
    /// What is listed where somebody has copied it to, and not whole.
    lies: Vec<String>,
}

pub(crate) type Play = Arc<Mutex<Report>>;

impl Stage {
    pub(crate) fn new(parts: &[Part]) -> Self {
        let (snapshot, old) = block_on(prepare());
        let elsewhere = Arc::new(block_on(Elsewhere::new()));
        let is_careless = parts.contains(&Part::CarelessPrune);
        Self { parts: parts.to_vec(), snapshot, old, elsewhere, is_careless, is_damaged: false }
    }

    /// With a bit flipped in a chunk that all restore points need.
    pub(crate) fn after_damage(self) -> Self {
        let snapshot = block_on(async {
            let world = World::with(&self.snapshot).await;
            damage(&world.inner()).await;
            world.snapshot().await
        });
        Self { snapshot, is_damaged: true, ..self }
    }

    /// With a restore point less, which nobody has pruned after.
    pub(crate) fn after_forget(self) -> Self {
        let snapshot = block_on(async {
            let world = World::with(&self.snapshot).await;
            open(world.inner()).await.forget(&self.old).await.unwrap();
            world.snapshot().await
        });
        Self { snapshot, ..self }
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
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
            let elsewhere = Arc::clone(&self.elsewhere);
            actor.plays(async move {
                if part == Part::CopyFrom {
                    let outcome = copy_from(&repository).await;
                    let mut report = play.lock().unwrap();
                    match outcome {
                        Ok(outcome) => report.failures.extend(outcome.err().map(|error| (part, error))),
                        Err(lie) => report.lies.push(lie),
                    }
                    return;
                }
                for outcome in part.play(&repository, old, &elsewhere).await {
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
        let mut report = std::mem::take(&mut *play.lock().unwrap());
        for (part, error) in &report.failures {
            if !self.is_allowed(*part, error) {
                return Err(format!("{part:?} failed: {error:?}"));
            }
        }
        if let Some(lie) = report.lies.pop() {
            return Err(lie);
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
        if self.is_damaged {
            let repaired = self.elsewhere.repair(&open(Arc::clone(&storage)).await).await;
            if !repaired.as_ref().is_ok_and(RepairReport::is_healthy) {
                return Err(format!("the next repair: {repaired:?}"));
            }
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

    /// Whether a part may fail for this reason: one that is temporary, as long as its repetition succeeds.
    fn is_allowed(&self, part: Part, error: &Error) -> bool {
        let has = |wanted: fn(Part) -> bool| self.parts.iter().any(|part| wanted(*part));
        if part == Part::CopyFrom && is_pulled_away(error) {
            return has(|part| part == Part::Forget || part.is_exclusive_work());
        }
        let is_one_of_several = self.parts.iter().filter(|part| part.is_exclusive_work()).count() > 1;
        let may_fail = self.is_careless
            || has(|part| part == Part::ExclusivePrune)
            || (part.is_exclusive_work() && is_one_of_several)
            // It has relied on a chunk that is damaged.
            || (self.is_damaged && matches!(part, Part::Backup(_)));
        may_fail && error.is_temporary()
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
