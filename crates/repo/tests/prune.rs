//! A prune removes what no restore point needs, beside writers, and nothing else.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]

mod support;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sendense_repo::{
    BlockedBy, CheckOptions, Error, PruneOptions, PruneReport, Repository, Result, SnapshotId,
};
use sendense_storage::{FileKind, LocalStorage, MemoryStorage, ProtectionMode, ProtectionPolicy, Storage};
use sendense_testkit::storage::{Fault, FaultyStorage, Verb};
use support::restic::Restic;
use support::*;
use tokio_util::sync::CancellationToken;

const DISK: &str = "disk-2000.raw";
const PATH: &str = "/vm-17/disk-2000.raw";
const DAY: Duration = Duration::from_hours(24);

/// No waiting, and no waste.
fn at_once() -> PruneOptions {
    PruneOptions {
        grace: Duration::ZERO,
        waste_ratio_max: 0.0,
        lock: quick_writer().lock,
        ..PruneOptions::default()
    }
}

/// As a Hub does it, so many hours from now.
fn in_hours(hours: u64) -> PruneOptions {
    let now = Some(SystemTime::now() + Duration::from_hours(hours));
    PruneOptions { now, grace: DAY, ..at_once() }
}

async fn prune(repository: &Repository, options: PruneOptions) -> Result<PruneReport> {
    repository.prune(&options, &|_| {}, &CancellationToken::new()).await
}

async fn assert_healthy(repository: &Repository) {
    let options = CheckOptions { read_data: true, ..CheckOptions::default() };
    let report = repository.check(options, &|_| {}, &CancellationToken::new()).await.unwrap();
    assert!(report.is_healthy(), "{report:?}");
}

async fn count(storage: &dyn Storage, kind: FileKind) -> usize {
    storage.list(kind).await.unwrap().len()
}

/// A repository of three states of a disk: of the first nothing is needed by the others, the second and the third
/// share a half.
struct Three {
    disks: [Vec<u8>; 3],
    points: [SnapshotId; 3],
}

impl Three {
    async fn in_place(storage: Arc<dyn Storage>) -> Self {
        let repository = a_repository(storage).await;
        let mut disks = [a_disk(1, 1 << 20), a_disk(2, 1 << 20), a_disk(2, 1 << 20)];
        fill(&mut disks[2][..512 << 10], 3, 0xff);
        let mut points = Vec::new();
        for disk in &disks {
            points.push(capture(&repository, &[(DISK, disk)]).await.unwrap().0);
        }
        Self { disks, points: points.try_into().unwrap() }
    }

    /// Every restore point that is listed is whole, and these are.
    async fn assert_whole(&self, repository: &Repository, expected: &[usize]) {
        let listed = repository.restore_points().await.unwrap();
        for (number, point) in self.points.iter().enumerate() {
            let is_listed = listed.iter().any(|listed| listed.id == *point);
            assert!(is_listed || !expected.contains(&number), "point {number} is gone");
            if is_listed {
                assert!(read_file(repository, point, PATH).await.unwrap() == self.disks[number], "{number}");
            }
        }
    }
}

#[tokio::test]
async fn what_was_forgotten_is_marked_and_a_day_later_deleted() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let three = Three::in_place(storage.clone()).await;
    let repository = reopen(storage.clone()).await;
    let packs = count(&*storage, FileKind::Pack).await;
    let report = prune(&repository, in_hours(0)).await.unwrap();
    assert_eq!((report.marked.packs, report.restore_points, report.unused_bytes), (0, 3, 0), "{report:?}");

    repository.forget(&three.points[0]).await.unwrap();
    let report = prune(&repository, in_hours(0)).await.unwrap();
    assert!(report.marked.packs > 0 && report.marked.bytes > 300_000, "{report:?}");
    assert_eq!(report.deleted.packs, 0);
    assert_eq!(count(&*storage, FileKind::Pack).await as u64, packs as u64 + report.copied.packs);
    let marked = report.marked;

    let report = prune(&repository, in_hours(23)).await.unwrap();
    assert_eq!((report.deleted.packs, report.marked.packs), (0, 0));
    assert_eq!((&report.blocked[0].by, report.blocked[0].packs), (&BlockedBy::Grace, marked));
    let report = prune(&repository, in_hours(25)).await.unwrap();
    assert_eq!((report.deleted, report.blocked.len()), (marked, 0));
    three.assert_whole(&repository, &[1, 2]).await;
    assert_healthy(&repository).await;
    let report = prune(&repository, in_hours(50)).await.unwrap();
    let nothing = PruneReport { kept: report.kept, restore_points: 2, ..PruneReport::default() };
    let files = (report.index_files_before, report.index_files_after);
    assert_eq!(files.0, files.1, "a prune with nothing to do changes nothing");
    assert_eq!(PruneReport { index_files_before: 0, index_files_after: 0, ..report }, nothing);
}

#[tokio::test]
async fn a_dry_run_says_what_it_would_do_and_writes_nothing_but_its_lock() {
    let faulty = Arc::new(FaultyStorage::new(Arc::new(MemoryStorage::new())));
    let three = Three::in_place(faulty.clone()).await;
    let repository = reopen(faulty.clone()).await;
    repository.forget(&three.points[0]).await.unwrap();
    faulty.repair();
    let dry = prune(&repository, PruneOptions { dry_run: true, ..at_once() }).await.unwrap();
    let changes = faulty.journal().into_iter().filter(|operation| {
        matches!(operation.verb, Verb::Write | Verb::Remove) && operation.kind != Some(FileKind::Lock)
    });
    assert_eq!(changes.count(), 0);
    let real = prune(&repository, at_once()).await.unwrap();
    assert_eq!((dry.marked, dry.repacked, dry.kept), (real.marked, real.repacked, real.kept));
}

#[tokio::test]
async fn a_pack_of_which_little_is_needed_is_copied_and_a_tolerated_waste_is_not() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let three = Three::in_place(storage.clone()).await;
    let repository = reopen(storage.clone()).await;
    repository.forget(&three.points[1]).await.unwrap();
    let tolerant = PruneOptions { waste_ratio_max: 1.0, ..at_once() };
    let report = prune(&repository, tolerant).await.unwrap();
    assert_eq!(report.repacked.packs, 0, "{report:?}");
    assert!(report.unused_bytes > 0, "{report:?}");
    let bounded = PruneOptions { repack_bytes_max: Some(1), ..at_once() };
    assert_eq!(prune(&repository, bounded).await.unwrap().repacked.packs, 0);
    let report = prune(&repository, at_once()).await.unwrap();
    assert!(report.repacked.packs > 0 && report.copied.bytes < report.repacked.bytes, "{report:?}");
    assert_eq!(report.unused_bytes, 0);
    let report = prune(&repository, at_once()).await.unwrap();
    assert!(report.deleted.packs > 0, "{report:?}");
    three.assert_whole(&repository, &[0, 2]).await;
    assert_healthy(&repository).await;
}

#[tokio::test]
async fn a_writer_that_relied_on_a_pack_takes_it_back_when_it_was_marked_meanwhile() {
    for is_same_process in [true, false] {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let three = Three::in_place(storage.clone()).await;
        let repository = reopen(storage.clone()).await;
        let pruner = if is_same_process { repository.clone() } else { reopen(storage.clone()).await };
        let writer = repository.writer(quick_writer()).await.unwrap();
        let (file, added) = add_disk(&writer, DISK, &three.disks[0]).await.unwrap();
        assert_eq!(added, 0, "everything is there");
        repository.forget(&three.points[0]).await.unwrap();
        let report = prune(&pruner, at_once()).await.unwrap();
        assert!(report.marked.packs > 0);
        // However often: the writer's lock keeps what was marked.
        let report = prune(&pruner, in_hours(1000)).await.unwrap();
        assert_eq!(report.deleted.packs, 0);
        assert!(report.blocked.iter().any(|blocked| matches!(blocked.by, BlockedBy::Writer { .. })));
        let point = writer.commit(a_point(vec![file])).await.unwrap();
        for repository in [&repository, &reopen(storage.clone()).await] {
            assert!(read_file(repository, &point, PATH).await.unwrap() == three.disks[0]);
            assert_healthy(repository).await;
        }
        let report = prune(&pruner, in_hours(2000)).await.unwrap();
        assert!(read_file(&repository, &point, PATH).await.unwrap() == three.disks[0], "{report:?}");
        prune(&pruner, in_hours(3000)).await.unwrap();
        assert_healthy(&reopen(storage.clone()).await).await;
    }
}

#[tokio::test]
async fn a_writer_that_begins_after_the_mark_does_not_rely_on_it_and_does_not_hold_up_the_sweep() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let three = Three::in_place(storage.clone()).await;
    let repository = reopen(storage.clone()).await;
    repository.forget(&three.points[0]).await.unwrap();
    prune(&repository, at_once()).await.unwrap();
    let writer = repository.writer(quick_writer()).await.unwrap();
    let (file, added) = add_disk(&writer, DISK, &three.disks[0]).await.unwrap();
    assert!(added > 5, "{added}");
    let report = prune(&repository, at_once()).await.unwrap();
    assert!(report.deleted.packs > 0, "{report:?}");
    let point = writer.commit(a_point(vec![file])).await.unwrap();
    assert!(read_file(&repository, &point, PATH).await.unwrap() == three.disks[0]);
    assert_healthy(&reopen(storage).await).await;
}

/// The race that a peer is known for: indexes are listed, a new restore point is made from an old one, the old one is
/// deleted before it is scanned. Here the new one is made by somebody who dies before it looks at the index again.
#[tokio::test]
async fn a_restore_point_that_needs_what_is_marked_gets_it_back() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let three = Three::in_place(storage.clone()).await;
    let repository = reopen(storage.clone()).await;
    let file = three.points[0].into();
    let snapshot = storage.read(FileKind::Snapshot, &file).await.unwrap();
    repository.forget(&three.points[0]).await.unwrap();
    let marked = prune(&repository, at_once()).await.unwrap().marked;
    storage.write(FileKind::Snapshot, &file, snapshot).await.unwrap();
    let repository = reopen(storage.clone()).await;
    // Marked packs are read as a last resort.
    three.assert_whole(&repository, &[0, 1, 2]).await;
    let report = prune(&repository, at_once()).await.unwrap();
    assert_eq!((report.unmarked, report.deleted.packs), (marked, 0), "{report:?}");
    three.assert_whole(&repository, &[0, 1, 2]).await;
    assert_healthy(&reopen(storage).await).await;
}

#[tokio::test]
async fn what_cannot_be_read_ends_a_prune_before_it_has_changed_anything() {
    for kind in [FileKind::Index, FileKind::Snapshot] {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let three = Three::in_place(storage.clone()).await;
        let repository = reopen(storage.clone()).await;
        repository.forget(&three.points[0]).await.unwrap();
        let damaged = storage.list(kind).await.unwrap()[0];
        storage.remove(kind, &damaged.id).await.unwrap();
        storage.write(kind, &damaged.id, vec![1; 100].into()).await.unwrap();
        let packs = storage.list(FileKind::Pack).await.unwrap().len();
        for options in [at_once(), PruneOptions { exclusive: true, ..at_once() }] {
            let result = prune(&repository, options).await;
            assert!(matches!(result, Err(Error::RepairNeeded { .. })), "{kind}: {result:?}");
        }
        assert_eq!(count(&*storage, FileKind::Pack).await, packs);
        assert_eq!(count(&*storage, FileKind::Lock).await, 0);
    }
}

#[tokio::test]
async fn an_exclusive_prune_deletes_at_once_and_waits_for_nobody_to_be_there() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let three = Three::in_place(storage.clone()).await;
    let repository = reopen(storage.clone()).await;
    repository.forget(&three.points[0]).await.unwrap();
    let options = PruneOptions { exclusive: true, grace: DAY, ..at_once() };
    let writer = repository.writer(quick_writer()).await.unwrap();
    assert!(matches!(prune(&repository, options).await, Err(Error::Locked { .. })));
    writer.abort().await.unwrap();
    let report = prune(&repository, options).await.unwrap();
    assert!(report.deleted.packs > 0 && report.marked.packs == 0, "{report:?}");
    three.assert_whole(&repository, &[1, 2]).await;
    assert_healthy(&reopen(storage.clone()).await).await;
    assert_eq!(count(&*storage, FileKind::Pack).await as u64, report.kept.packs + report.copied.packs);
}

#[tokio::test]
async fn packs_without_an_index_are_marked_when_nobody_is_at_work() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let three = Three::in_place(storage.clone()).await;
    let torn = sendense_storage::FileId::new([9; 32]);
    storage.write(FileKind::Pack, &torn, vec![1; 1000].into()).await.unwrap();
    let repository = reopen(storage.clone()).await;
    let writer = repository.writer(quick_writer()).await.unwrap();
    let report = prune(&repository, at_once()).await.unwrap();
    assert_eq!((report.marked.packs, &report.blocked[0].by), (0, &BlockedBy::WritersAtWork));
    writer.abort().await.unwrap();
    assert_eq!(prune(&repository, at_once()).await.unwrap().marked.bytes, 1000);
    assert_eq!(prune(&repository, at_once()).await.unwrap().deleted.bytes, 1000);
    assert!(!storage.exists(FileKind::Pack, &torn).await.unwrap());
    three.assert_whole(&repository, &[0, 1, 2]).await;
}

#[tokio::test]
async fn many_small_index_files_become_one() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let repository = a_repository(storage.clone()).await;
    let mut points = Vec::new();
    for seed in 0..10 {
        let disk = a_disk(seed, 256 << 10);
        points.push((capture(&repository, &[(DISK, &disk)]).await.unwrap().0, disk));
    }
    assert!(count(&*storage, FileKind::Index).await >= 10);
    let report = prune(&repository, at_once()).await.unwrap();
    assert_eq!((count(&*storage, FileKind::Index).await, report.index_files_after), (1, 1), "{report:?}");
    for (point, disk) in points {
        assert!(read_file(&repository, &point, PATH).await.unwrap() == disk);
    }
    assert_healthy(&repository).await;
}

#[tokio::test]
async fn a_place_that_protects_its_files_is_pruned_when_their_time_has_come() {
    let window = Duration::from_hours(24 * 14);
    let policy = ProtectionPolicy { mode: ProtectionMode::Compliance, window };
    let storage = Arc::new(MemoryStorage::with_protection(policy));
    let three = Three::in_place(storage.clone()).await;
    let repository = reopen(storage.clone()).await;
    let refused = repository.forget(&three.points[0]).await;
    assert!(
        matches!(&refused, Err(Error::Storage(error)) if error.protected_until().is_some()),
        "{refused:?}"
    );
    three.assert_whole(&repository, &[0, 1, 2]).await;

    let day = |days: u64| SystemTime::now() + Duration::from_hours(24 * days);
    let at = |days: u64| PruneOptions { now: Some(day(days)), grace: DAY, ..at_once() };
    storage.set_now(day(15));
    repository.forget(&three.points[0]).await.unwrap();
    let report = prune(&repository, at(1)).await.unwrap();
    assert_eq!((report.marked.packs, &report.blocked[0].by), (0, &BlockedBy::Protection), "{report:?}");
    assert!(report.blocked[0].until.unwrap() > day(13));
    let (mut deleted, mut days) = (0, 18);
    while deleted == 0 {
        storage.set_now(day(days));
        deleted = prune(&repository, at(days)).await.unwrap().deleted.packs;
        three.assert_whole(&reopen(storage.clone()).await, &[1, 2]).await;
        days += 1;
        assert!(days < 60);
    }
    assert_healthy(&reopen(storage.clone()).await).await;
}

#[tokio::test]
async fn a_new_restore_point_extends_the_protection_of_the_old_packs_it_needs() {
    let window = Duration::from_hours(24 * 14);
    let policy = ProtectionPolicy { mode: ProtectionMode::Governance, window };
    let storage = Arc::new(MemoryStorage::with_protection(policy));
    let long_ago = SystemTime::now() - Duration::from_hours(24 * 10);
    storage.set_now(long_ago);
    let three = Three::in_place(storage.clone()).await;
    storage.set_now(SystemTime::now());
    let repository = reopen(storage.clone()).await;
    let (point, added) = capture(&repository, &[(DISK, &three.disks[0])]).await.unwrap();
    assert_eq!(added, 0);
    let until = storage.protection(FileKind::Snapshot, &point.into()).await.unwrap().unwrap().until;
    let mut extended = 0;
    for pack in storage.list(FileKind::Pack).await.unwrap() {
        let protection = storage.protection(FileKind::Pack, &pack.id).await.unwrap().unwrap();
        extended += usize::from(protection.until > until);
    }
    assert!(extended >= 3, "{extended}");
}

/// Without config and keys nobody can read a pack, however long it is protected; without its index stock tools miss it.
#[tokio::test]
async fn a_new_restore_point_extends_the_protection_of_what_opens_the_repository() {
    let window = Duration::from_hours(24 * 10);
    let policy = ProtectionPolicy { mode: ProtectionMode::Compliance, window };
    let storage = Arc::new(MemoryStorage::with_protection(policy));
    storage.set_now(SystemTime::now() - Duration::from_hours(24 * 9));
    let three = Three::in_place(storage.clone()).await;
    let indexes = storage.list(FileKind::Index).await.unwrap();
    storage.set_now(SystemTime::now());
    let repository = reopen(storage.clone()).await;
    capture(&repository, &[(DISK, &three.disks[0])]).await.unwrap();
    storage.set_now(SystemTime::now() + Duration::from_hours(24 * 2));
    let mut needed = vec![(FileKind::Config, sendense_storage::FileId::CONFIG)];
    for kind in [FileKind::Key, FileKind::Index] {
        needed.extend(storage.list(kind).await.unwrap().iter().map(|entry| (kind, entry.id)));
    }
    assert!(indexes.iter().all(|entry| needed.contains(&(FileKind::Index, entry.id))));
    for (kind, id) in needed {
        let removed = storage.remove(kind, &id).await;
        assert!(removed.is_err_and(|error| error.protected_until().is_some()), "{kind:?}");
    }
}

/// The index of whoever had it open says where things lay before.
#[tokio::test]
async fn what_somebody_else_has_moved_is_found_again() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let three = Three::in_place(storage.clone()).await;
    let (point, disk) = (three.points[2], &three.disks[2]);
    let mut open = Vec::new();
    for _ in 0..5 {
        open.push(reopen(storage.clone()).await);
    }
    let [chunks, disks, lists, batches, pruner] = open.try_into().ok().unwrap();
    let ids = chunks.disk_content(&point, PATH).await.unwrap().chunk_ids;
    let planned = batches.plan_reads(ids.iter().copied(), 8 << 20);
    let somebody = reopen(storage.clone()).await;
    somebody.forget(&three.points[1]).await.unwrap();
    let report = prune(&somebody, PruneOptions { exclusive: true, ..at_once() }).await.unwrap();
    assert!(report.copied.packs > 0 && report.deleted.packs > 0, "{report:?}");

    for id in &ids {
        chunks.read_chunk(id).await.unwrap();
    }
    assert!(!lists.files(&point).await.unwrap().is_empty());
    let cache = sendense_repo::ChunkCache::new(8 << 20);
    let reader = disks.open_disk(&point, PATH, &cache).await.unwrap();
    assert!(reader.read(0, disk.len()).await.unwrap() == disk[..]);
    for batch in planned {
        batches.read_batch(batch, |_, _| Ok::<_, Error>(())).await.unwrap();
    }
    prune(&pruner, at_once()).await.unwrap();
}

/// A prune that dies at every operation, in every way: whatever is listed can be read, and the next prune works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prune_that_dies_at_any_operation_leaves_no_lie() {
    for exclusive in [false, true] {
        let mut died = 0;
        for nth in 0.. {
            let mut outcomes = Vec::new();
            for fault in [Fault::CrashBefore, Fault::CrashAfter, Fault::LoseAnswer] {
                let inner: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
                let three = Three::in_place(inner.clone()).await;
                let repository = reopen(inner.clone()).await;
                repository.forget(&three.points[0]).await.unwrap();
                prune(&repository, at_once()).await.unwrap();
                repository.forget(&three.points[1]).await.unwrap();
                let faulty = Arc::new(FaultyStorage::new(inner.clone()));
                let doomed = reopen(faulty.clone()).await;
                faulty.break_at(nth, fault);
                let outcome = prune(&doomed, PruneOptions { exclusive, ..at_once() }).await;
                drop(doomed);
                // The lock of the dead prune names this process, which lives.
                for lock in inner.list(FileKind::Lock).await.unwrap() {
                    inner.remove(FileKind::Lock, &lock.id).await.unwrap();
                }
                let repository = reopen(inner.clone()).await;
                three.assert_whole(&repository, &[2]).await;
                assert_healthy(&repository).await;
                let (_, added) = capture(&repository, &[(DISK, &three.disks[2])]).await.unwrap();
                assert_eq!(added, 0, "{nth} {fault:?}");
                capture(&repository, &[(DISK, &three.disks[0])]).await.unwrap();
                prune(&repository, at_once()).await.unwrap();
                prune(&repository, at_once()).await.unwrap();
                three.assert_whole(&repository, &[2]).await;
                assert_healthy(&reopen(inner.clone()).await).await;
                outcomes.push(outcome.is_ok());
                died += usize::from(!outcomes[outcomes.len() - 1]);
            }
            if outcomes.iter().all(|is_ok| *is_ok) {
                break;
            }
        }
        assert!(died > 40, "{died}");
    }
}

fn restics(directory: &tempfile::TempDir) -> Vec<Restic> {
    Restic::each(&directory.path().join("repository"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restic_accepts_and_prunes_what_we_have_marked_swept_and_copied() {
    for number in 0..Restic::VERSIONS {
        let directory = tempfile::tempdir().unwrap();
        let storage: Arc<dyn Storage> =
            Arc::new(LocalStorage::open(directory.path().join("repository")).await.unwrap());
        let three = Three::in_place(storage.clone()).await;
        let restic = &restics(&directory)[number];
        let repository = reopen(storage.clone()).await;
        repository.forget(&three.points[0]).await.unwrap();
        assert!(prune(&repository, at_once()).await.unwrap().marked.packs > 0);
        restic.check();
        assert!(prune(&repository, at_once()).await.unwrap().deleted.packs > 0);
        restic.check();
        repository.forget(&three.points[1]).await.unwrap();
        assert!(prune(&repository, at_once()).await.unwrap().copied.packs > 0);
        restic.check();
        let point = three.points[2].to_string();
        assert!(restic.run(&["dump", &point, PATH]) == three.disks[2]);
        // restic knows no marks: for it the marked packs are in no index, and go at once.
        let before = count(&*storage, FileKind::Pack).await;
        restic.run(&["prune"]);
        restic.check();
        assert!(count(&*storage, FileKind::Pack).await < before);
        three.assert_whole(&repository, &[2]).await;
        capture(&repository, &[(DISK, &three.disks[0])]).await.unwrap();
        prune(&repository, at_once()).await.unwrap();
        prune(&repository, at_once()).await.unwrap();
        restic.check();
        assert!(restic.run(&["dump", &point, PATH]) == three.disks[2]);
        assert_healthy(&reopen(storage).await).await;
    }
}
