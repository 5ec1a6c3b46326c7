//! Prune, copy and repair on places that are full, slow, overloaded, or whose listings break off: each ends with an
//! error that says so or does its work, nothing is lost, and the same process goes on when the place works again.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use sendense_repo::{CopyOptions, Error, PruneOptions, RepairOptions, Repository, Result, SnapshotId};
use sendense_storage::{
    ErrorKind, FileId, FileKind, MemoryStorage, ProtectionMode, ProtectionPolicy, Retry, RetryPolicy,
    Storage, Timeout, TimeoutPolicy,
};
use sendense_testkit::storage::{Fault, FaultyStorage, Verb};
use support::*;
use tokio_util::sync::CancellationToken;

const DISK: &str = "disk-2000.raw";
const SIZE: usize = 384 << 10;
const PATH: &str = "/vm-17/disk-2000.raw";

/// What is done on the faulty place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    /// Deletes what is marked, marks what nobody needs, and copies out of what is half needed.
    Prune,
    ExclusivePrune,
    /// Copies to the faulty place.
    CopyTo,
    /// Copies from it.
    CopyFrom,
    /// Repairs it with the help of a second one that is not faulty.
    Repair,
}

const ALL: [Work; 5] = [Work::Prune, Work::ExclusivePrune, Work::CopyTo, Work::CopyFrom, Work::Repair];

/// Repositories as they are before the work, and what must be there after it.
struct Scene {
    work: Work,
    /// The place that gets faulty.
    before: MemoryStorage,
    /// The other one, where the work needs one.
    other: MemoryStorage,
    points: [(SnapshotId, Vec<u8>); 2],
}

impl Scene {
    async fn new(work: Work) -> Self {
        let full = Arc::new(MemoryStorage::new());
        let repository = a_repository(full.clone()).await;
        let mut disks = [a_disk(1, SIZE), a_disk(2, SIZE), a_disk(2, SIZE), a_disk(3, SIZE)];
        fill(&mut disks[2][..SIZE / 2], 4, 0xff);
        let mut points = Vec::new();
        for disk in disks {
            points.push((capture(&repository, &[(DISK, &disk)]).await.unwrap().0, disk));
        }
        // One is marked, one is neither marked nor needed, and it shares packs with the next one.
        repository.forget(&points[0].0).await.unwrap();
        prune(&repository, false).await.unwrap();
        repository.forget(&points[1].0).await.unwrap();
        let (second, first) = (points.pop().unwrap(), points.pop().unwrap());
        let [before, other] = Self::places(work, &full).await;
        Self { work, before, other, points: [first, second] }
    }

    async fn places(work: Work, full: &MemoryStorage) -> [MemoryStorage; 2] {
        let empty = Arc::new(MemoryStorage::new());
        a_repository(empty.clone()).await;
        let places = match work {
            Work::CopyTo => [&*empty, full],
            Work::Prune | Work::ExclusivePrune | Work::CopyFrom => [full, &*empty],
            Work::Repair => {
                let damaged = copy_of(full).await;
                damage(&damaged).await;
                return [take(damaged), take(copy_of(full).await)];
            }
        };
        [take(copy_of(places[0]).await), take(copy_of(places[1]).await)]
    }

    /// Does the work, as a job does it.
    async fn run(&self, faulty: &Repository, other: &Repository) -> Result<()> {
        let cancel = CancellationToken::new();
        let ids = self.points.each_ref().map(|(id, _)| *id);
        let lock = quick_writer().lock;
        match self.work {
            Work::Prune => prune(faulty, false).await,
            Work::ExclusivePrune => prune(faulty, true).await,
            Work::CopyTo => {
                other.copy_to(faulty, &ids, CopyOptions { lock }, &|_| {}, &cancel).await.map(|_| ())
            }
            Work::CopyFrom => {
                faulty.copy_to(other, &ids, CopyOptions { lock }, &|_| {}, &cancel).await.map(|_| ())
            }
            Work::Repair => {
                let options = RepairOptions { lock, ..RepairOptions::default() };
                faulty.repair(Some(other), options, &|_| {}, &cancel).await.map(|_| ())
            }
        }
    }

    /// How many operations the work takes when nothing is in its way, and which of them are listings.
    async fn operations(&self) -> Vec<Verb> {
        let trial = Trial::begin(self, |faulty| faulty).await;
        trial.faulty.repair();
        self.run(&trial.repository, &trial.other).await.unwrap();
        let verbs = trial.faulty.journal().into_iter().map(|operation| operation.verb).collect();
        trial.assert_whole(self, true).await;
        verbs
    }
}

/// The work is done once.
struct Trial {
    inner: Arc<MemoryStorage>,
    other_storage: Arc<MemoryStorage>,
    faulty: Arc<FaultyStorage>,
    repository: Repository,
    other: Repository,
}

impl Trial {
    async fn begin(scene: &Scene, wrap: impl FnOnce(Arc<dyn Storage>) -> Arc<dyn Storage>) -> Self {
        let (inner, other_storage) = (copy_of(&scene.before).await, copy_of(&scene.other).await);
        let faulty = Arc::new(FaultyStorage::new(inner.clone()));
        let repository = reopen(wrap(faulty.clone())).await;
        let other = reopen(other_storage.clone()).await;
        Self { inner, other_storage, faulty, repository, other }
    }

    /// Does the work while something is wrong with the place from its `nth` operation on.
    async fn run(&self, scene: &Scene, nth: usize, fault: Fault) -> Result<()> {
        self.faulty.break_at(nth, fault);
        let outcome = scene.run(&self.repository, &self.other).await;
        self.assert_whole(scene, outcome.is_ok()).await;
        outcome
    }

    /// The same process goes on, and so does everybody else.
    async fn go_on(&self, scene: &Scene) {
        self.faulty.repair();
        for lock in self.inner.list(FileKind::Lock).await.unwrap() {
            // It could not be removed. Its process lives, so that it is up to an administrator.
            self.inner.remove(FileKind::Lock, &lock.id).await.unwrap();
        }
        scene.run(&self.repository, &self.other).await.unwrap();
        self.assert_whole(scene, true).await;
        let disk = a_disk(9, SIZE / 2);
        let (point, _) = capture(&self.repository, &[(DISK, &disk)]).await.unwrap();
        prune(&self.repository, false).await.unwrap();
        prune(&self.repository, false).await.unwrap();
        assert!(read_file(&reopen(self.inner.clone()).await, &point, PATH).await.unwrap() == disk);
        self.assert_whole(scene, true).await;
    }

    /// What is listed can be read, and the restore points that were there are listed. Both are there after a copy.
    async fn assert_whole(&self, scene: &Scene, is_done: bool) {
        for (storage, is_target) in
            [(&self.inner, scene.work == Work::CopyTo), (&self.other_storage, scene.work == Work::CopyFrom)]
        {
            let repository = reopen(storage.clone()).await;
            let points = repository.restore_points().await.unwrap();
            let is_damaged = scene.work == Work::Repair && !is_done && Arc::ptr_eq(storage, &self.inner);
            for point in points.iter().filter(|_| !is_damaged) {
                let disk = read_file(&repository, &point.id, PATH).await.unwrap();
                let is_known = scene.points.iter().any(|(_, known)| *known == disk);
                assert!(is_known || disk == a_disk(9, SIZE / 2), "{:?}", scene.work);
            }
            let is_unused = matches!(scene.work, Work::Prune | Work::ExclusivePrune)
                && !Arc::ptr_eq(storage, &self.inner);
            assert!(points.len() >= 2 || is_unused || (is_target && !is_done), "{:?}", scene.work);
            if !is_damaged {
                let report = repository.check(read_data(), &|_| {}, &CancellationToken::new()).await.unwrap();
                assert!(report.is_healthy(), "{:?}: {report:?}", scene.work);
            }
        }
    }
}

async fn prune(repository: &Repository, exclusive: bool) -> Result<()> {
    let options = PruneOptions {
        grace: Duration::ZERO,
        waste_ratio_max: 0.0,
        exclusive,
        lock: quick_writer().lock,
        ..PruneOptions::default()
    };
    repository.prune(&options, &|_| {}, &CancellationToken::new()).await.map(|_| ())
}

async fn copy_of(storage: &MemoryStorage) -> Arc<MemoryStorage> {
    let copy = MemoryStorage::new();
    for kind in FileKind::ALL {
        for entry in storage.list(kind).await.unwrap() {
            let content = storage.read(kind, &entry.id).await.unwrap();
            copy.write(kind, &entry.id, content).await.unwrap();
        }
    }
    Arc::new(copy)
}

fn take(storage: Arc<MemoryStorage>) -> MemoryStorage {
    Arc::into_inner(storage).unwrap()
}

/// Flips a bit of a chunk that is needed, and lets an index file rot.
async fn damage(storage: &MemoryStorage) {
    let packs = storage.list(FileKind::Pack).await.unwrap();
    let pack = packs.into_iter().max_by_key(|pack| pack.size_bytes).unwrap().id;
    let index = storage.list(FileKind::Index).await.unwrap()[0].id;
    for (kind, id) in [(FileKind::Pack, pack), (FileKind::Index, index)] {
        flip(storage, kind, &id).await;
    }
}

async fn flip(storage: &MemoryStorage, kind: FileKind, id: &FileId) {
    let mut content = storage.read(kind, id).await.unwrap().to_vec();
    content[40] ^= 1;
    storage.remove(kind, id).await.unwrap();
    storage.write(kind, id, content.into()).await.unwrap();
}

fn is_typed(error: &Error) -> bool {
    matches!(error, Error::Storage(_) | Error::PackNotWritten { .. })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_gets_full_at_any_operation_is_said_so_and_overcome_by_room() {
    for work in [Work::Prune, Work::ExclusivePrune, Work::CopyTo, Work::Repair] {
        let scene = Scene::new(work).await;
        let operations = scene.operations().await.len();
        let mut refused = 0;
        for nth in 0..operations {
            let trial = Trial::begin(&scene, |faulty| faulty).await;
            if let Err(error) = trial.run(&scene, nth, Fault::NoSpace).await {
                refused += 1;
                assert!(error.is_no_space() && !error.is_temporary(), "{work:?} {nth}: {error:?}");
                assert_eq!(trial.inner.list(FileKind::Lock).await.unwrap(), [], "{work:?} {nth}");
            }
            trial.go_on(&scene).await;
        }
        assert!(refused > 5, "{work:?}: {refused} of {operations}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listing_that_breaks_off_is_an_error_or_repeated_and_never_taken_for_a_short_one() {
    let policy = RetryPolicy { first_wait: Duration::from_millis(1), ..RetryPolicy::default() };
    for work in ALL {
        let scene = Scene::new(work).await;
        let verbs = scene.operations().await;
        let listings: Vec<usize> = (0..verbs.len()).filter(|nth| verbs[*nth] == Verb::List).collect();
        assert!(!listings.is_empty(), "{work:?}: {verbs:?}");
        let mut broken = 0;
        for nth in listings {
            let trial = Trial::begin(&scene, |faulty| faulty).await;
            let outcome = trial.run(&scene, nth, Fault::BreakOff).await;
            // What goes on at the same time comes neither in the same order each time nor always in as many operations.
            let journal = trial.faulty.journal();
            // Once a restore point is listed it is made: the last look can only take it back.
            let is_made = journal
                .iter()
                .take(nth)
                .any(|past| (past.verb, past.kind) == (Verb::Write, Some(FileKind::Snapshot)));
            let is_listing = journal.get(nth).is_some_and(|broken| broken.verb == Verb::List);
            if is_listing && !(is_made && outcome.is_ok()) {
                let is_said = outcome.as_ref().is_err_and(|error| is_typed(error) && error.is_temporary());
                assert!(is_said, "{work:?} {nth}: {outcome:?}");
                broken += 1;
            }
            trial.go_on(&scene).await;
            let trial = Trial::begin(&scene, |faulty| Arc::new(Retry::new(faulty, policy))).await;
            trial.run(&scene, nth, Fault::BreakOff).await.unwrap();
        }
        assert!(broken > 0, "{work:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_overloaded_place_is_waited_for_and_given_up_with_an_error_after_a_minute() {
    for work in ALL {
        let scene = Scene::new(work).await;
        let operations = scene.operations().await.len();
        let retry = |faulty: Arc<dyn Storage>| -> Arc<dyn Storage> {
            Arc::new(Retry::new(faulty, RetryPolicy::default()))
        };
        for nth in (0..operations).step_by(2) {
            let trial = Trial::begin(&scene, retry).await;
            let burst = Fault::Overload { operations: 5 };
            let outcome = trial.run(&scene, nth, burst).await;
            assert!(outcome.is_ok(), "{work:?} {nth}: {outcome:?}");
        }
        let mut given_up = 0;
        for nth in (0..operations).step_by(8) {
            let trial = Trial::begin(&scene, retry).await;
            let outcome = trial.run(&scene, nth, Fault::Overload { operations: 1_000_000 }).await;
            // What is done at the same time may end in another order, and so need an operation less.
            let is_met = trial.faulty.has_broken();
            assert_eq!(outcome.as_ref().is_err_and(is_typed), is_met, "{work:?} {nth}: {outcome:?}");
            given_up += usize::from(is_met);
            trial.go_on(&scene).await;
        }
        assert!(given_up > 1, "{work:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_is_asked_for_again() {
    for work in ALL {
        let scene = Scene::new(work).await;
        let operations = scene.operations().await.len();
        for nth in (0..operations).step_by(3) {
            let never = Fault::Slow(Duration::from_hours(24));
            let trial =
                Trial::begin(&scene, |faulty| Arc::new(Timeout::new(faulty, TimeoutPolicy::default()))).await;
            let outcome = trial.run(&scene, nth, never).await;
            let is_said = outcome.as_ref().is_err_and(|error| is_typed(error) && error.is_temporary());
            assert!(is_said || outcome.is_ok(), "{work:?} {nth}: {outcome:?}");
            trial.go_on(&scene).await;
            let trial = Trial::begin(&scene, |faulty| {
                let timeout = Timeout::new(faulty, TimeoutPolicy::default());
                Arc::new(Retry::new(Arc::new(timeout), RetryPolicy::default()))
            })
            .await;
            let outcome = trial.run(&scene, nth, never).await;
            assert!(outcome.is_ok(), "{work:?} {nth}: {outcome:?}");
        }
    }
}

#[tokio::test]
async fn an_index_file_that_could_not_be_read_once_is_read_the_next_time() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let repository = a_repository(storage.clone()).await;
    let disk = a_disk(1, SIZE);
    let (point, _) = capture(&repository, &[(DISK, &disk)]).await.unwrap();
    let faulty = Arc::new(FaultyStorage::new(storage));
    reopen(faulty.clone()).await;
    let is_read = |one: &sendense_testkit::storage::Operation| {
        one.verb == Verb::Read && one.kind == Some(FileKind::Index)
    };
    let nth = faulty.journal().iter().position(is_read).unwrap();
    faulty.break_at(nth, Fault::Fail(ErrorKind::Damaged));
    let repository = reopen(faulty.clone()).await;
    assert!(faulty.has_broken());
    assert!(read_file(&repository, &point, PATH).await.unwrap() == disk);
    assert_eq!(repository.damaged_index_files().await, []);
}

/// The operation of a commit that writes the snapshot file.
async fn snapshot_write(faulty: &FaultyStorage, repository: &Repository) -> usize {
    // The first one writes what the next ones find.
    capture(repository, &[(DISK, &a_disk(1, SIZE))]).await.unwrap();
    faulty.repair();
    capture(repository, &[(DISK, &a_disk(2, SIZE))]).await.unwrap();
    let is_it = |one: &sendense_testkit::storage::Operation| {
        one.verb == Verb::Write && one.kind == Some(FileKind::Snapshot)
    };
    faulty.journal().iter().position(is_it).unwrap()
}

#[tokio::test]
async fn a_restore_point_whose_answer_was_lost_is_made() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let faulty = Arc::new(FaultyStorage::new(storage));
    let repository = a_repository(faulty.clone()).await;
    let nth = snapshot_write(&faulty, &repository).await;
    faulty.break_at(nth, Fault::LoseAnswer);
    let (point, _) = capture(&repository, &[(DISK, &a_disk(3, SIZE))]).await.unwrap();
    assert!(faulty.has_broken());
    assert!(repository.restore_points().await.unwrap().iter().any(|listed| listed.id == point));
}

/// The lock is lost after the snapshot file is there. It cannot be taken back, and need not: its packs are protected too.
#[tokio::test]
async fn a_restore_point_that_cannot_be_taken_back_is_made() {
    let window = Duration::from_hours(24);
    for policy in [None, Some(ProtectionPolicy { mode: ProtectionMode::Compliance, window })] {
        let inner = Arc::new(policy.map_or_else(MemoryStorage::new, MemoryStorage::with_protection));
        let faulty = Arc::new(FaultyStorage::new(inner.clone()));
        let repository = a_repository(faulty.clone()).await;
        let nth = snapshot_write(&faulty, &repository).await;
        let before = inner.list(FileKind::Snapshot).await.unwrap().len();
        faulty.break_at(nth + 1, Fault::Slow(Duration::from_millis(100)));
        let somebody = async {
            while inner.list(FileKind::Snapshot).await.unwrap().len() == before {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            for lock in inner.list(FileKind::Lock).await.unwrap() {
                inner.remove(FileKind::Lock, &lock.id).await.unwrap();
            }
        };
        let disk = a_disk(3, SIZE);
        let files = [(DISK, &disk[..])];
        let (made, ()) = tokio::join!(capture(&repository, &files), somebody);
        let after = inner.list(FileKind::Snapshot).await.unwrap().len();
        match policy {
            None => assert!(matches!(made, Err(Error::LockLost)) && after == before, "{made:?}"),
            Some(_) => assert!(made.is_ok() && after == before + 1, "{made:?}"),
        }
    }
}
