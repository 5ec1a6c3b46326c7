//! A process that dies at any operation leaves garbage at most, never a lie.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]

mod support;

use std::sync::Arc;

use sendense_repo::{CheckOptions, Error, Repository, Result, SnapshotId, Tuning};
use sendense_storage::{ErrorKind, FileKind, LocalStorage, MemoryStorage, Retry, RetryPolicy, Storage};
use sendense_testkit::storage::{Fault, FaultyStorage, Verb};
use support::restic::Restic;
use support::{
    DIRECTORY, a_disk, a_repository, capture, fill, password, quick_init, quick_writer, read_file,
    small_packs,
};
use tokio_util::sync::CancellationToken;

/// Two disks, as they were and as they are.
struct Vm {
    old: [Vec<u8>; 2],
    new: [Vec<u8>; 2],
}

impl Vm {
    fn new() -> Self {
        let old = [a_disk(1, 2 << 20), a_disk(2, (1 << 20) + 100)];
        let mut new = old.clone();
        fill(&mut new[0][300_000..1_700_000], 7, 0xff);
        fill(&mut new[1][10..500_000], 8, 0xff);
        Self { old, new }
    }

    async fn capture(repository: &Repository, disks: &[Vec<u8>; 2]) -> Result<(SnapshotId, usize)> {
        capture(repository, &[("disk-2000.raw", &disks[0]), ("disk-2001.raw", &disks[1])]).await
    }

    /// Every restore point that is listed is one of the two states, completely.
    async fn assert_no_lie(&self, repository: &Repository, base: SnapshotId) -> usize {
        let points = repository.restore_points().await.unwrap();
        for point in &points {
            let disks = if point.id == base { &self.old } else { &self.new };
            for (name, disk) in [("disk-2000.raw", &disks[0]), ("disk-2001.raw", &disks[1])] {
                let content =
                    read_file(repository, &point.id, &format!("/{DIRECTORY}/{name}")).await.unwrap();
                assert!(content == *disk, "{name} of {}", point.id);
            }
            let json = repository.load_file(&point.id, "/vm-17/vm.json").await.unwrap();
            assert_eq!(json, "{\"name\":\"web-1\"}");
        }
        assert!(points.iter().any(|point| point.id == base), "what was there stays");
        points.len()
    }
}

/// Small packs, and index files in the middle of a capture: many operations to die at.
async fn reopen(storage: Arc<dyn Storage>) -> Repository {
    let tuning = Tuning { pack_bytes: 100 << 10, index_every_bytes: 300 << 10, ..small_packs() };
    Repository::open_with(storage, &password(), tuning).await.unwrap()
}

/// A repository with one restore point of the VM.
async fn prepare(storage: Arc<dyn Storage>, vm: &Vm) -> SnapshotId {
    let repository = a_repository(storage).await;
    Vm::capture(&repository, &vm.old).await.unwrap().0
}

/// What a capture does without a fault: its number of operations, and the blobs in the repository afterwards.
async fn undisturbed(vm: &Vm) -> (usize, usize) {
    let inner = Arc::new(MemoryStorage::new());
    prepare(inner.clone(), vm).await;
    let faulty = Arc::new(FaultyStorage::new(inner.clone()));
    let repository = reopen(faulty.clone()).await;
    faulty.repair();
    Vm::capture(&repository, &vm.new).await.unwrap();
    (faulty.journal().len(), reopen(inner).await.blobs_len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capture_that_dies_at_any_operation_leaves_no_lie_and_its_retry_stores_no_chunk_twice() {
    let vm = Vm::new();
    let (operations, blobs) = undisturbed(&vm).await;
    assert!(operations > 30, "{operations}");
    let ways_to_die = [
        Fault::CrashBefore,
        Fault::CrashAfter,
        Fault::Tear { keep_bytes: 0 },
        Fault::Tear { keep_bytes: 150 },
    ];
    let (mut died, mut survived) = (0, 0);
    for nth in 0..operations {
        for fault in ways_to_die {
            let inner = Arc::new(MemoryStorage::new());
            let base = prepare(inner.clone(), &vm).await;
            let faulty = Arc::new(FaultyStorage::new(inner.clone()));
            let doomed = reopen(faulty.clone()).await;
            faulty.break_at(nth, fault);
            let outcome = Vm::capture(&doomed, &vm.new).await;
            if outcome.is_err() {
                died += 1;
            } else {
                survived += 1;
            }
            drop(doomed);

            // The process is dead; another one starts.
            let repository = reopen(inner.clone()).await;
            let listed = vm.assert_no_lie(&repository, base).await;
            assert!(outcome.is_err() || listed == 2, "{nth} {fault:?}: a capture that succeeded is listed");
            repository.adopt_orphan_packs(quick_writer().lock, &CancellationToken::new()).await.unwrap();
            let (_, added) = Vm::capture(&repository, &vm.new).await.unwrap();
            assert!(
                listed == 1 || added == 0,
                "{nth} {fault:?}: {added} chunks of a listed point were added again"
            );
            vm.assert_no_lie(&repository, base).await;
            assert_eq!(repository.blobs_len(), blobs, "{nth} {fault:?}: a durable chunk was stored again");
        }
    }
    assert!(died > operations && survived > 0, "{died} {survived}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restic_accepts_what_a_dead_capture_left_and_what_its_retry_made_of_it() {
    let vm = Vm::new();
    let (operations, _) = undisturbed(&vm).await;
    for nth in (0..operations).step_by(operations / 6) {
        let directory = tempfile::tempdir().unwrap();
        let inner: Arc<dyn Storage> =
            Arc::new(LocalStorage::open(directory.path().join("repository")).await.unwrap());
        let base = prepare(inner.clone(), &vm).await;
        let faulty = Arc::new(FaultyStorage::new(inner.clone()));
        let doomed = reopen(faulty.clone()).await;
        faulty.break_at(nth, if nth % 2 == 0 { Fault::CrashBefore } else { Fault::CrashAfter });
        let outcome = Vm::capture(&doomed, &vm.new).await;
        drop(doomed);
        let restic = Restic::new(&directory.path().join("repository"));
        // The lock of the dead capture names this process, which lives.
        restic.run(&["unlock", "--remove-all"]);
        restic.check();
        let repository = reopen(inner).await;
        vm.assert_no_lie(&repository, base).await;
        repository.adopt_orphan_packs(quick_writer().lock, &CancellationToken::new()).await.unwrap();
        let (point, _) = Vm::capture(&repository, &vm.new).await.unwrap();
        restic.check();
        assert!(
            restic.run(&["dump", &point.to_string(), "/vm-17/disk-2001.raw"]) == vm.new[1],
            "{nth} {outcome:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_said_so_lists_nothing_and_is_overcome_by_room() {
    let vm = Vm::new();
    let (operations, blobs) = undisturbed(&vm).await;
    let mut hits = 0;
    for nth in 0..operations {
        let inner = Arc::new(MemoryStorage::new());
        let base = prepare(inner.clone(), &vm).await;
        let faulty = Arc::new(FaultyStorage::new(inner.clone()));
        let repository = reopen(faulty.clone()).await;
        faulty.break_at(nth, Fault::NoSpace);
        if let Err(error) = Vm::capture(&repository, &vm.new).await {
            hits += 1;
            assert!(error.is_no_space() && !error.is_temporary(), "{nth}: {error:?}");
            assert_eq!(vm.assert_no_lie(&repository, base).await, 1);
            // The same process goes on when there is room again.
            faulty.repair();
            Vm::capture(&repository, &vm.new).await.unwrap();
            assert_eq!(repository.blobs_len(), blobs, "{nth}: a durable chunk was stored again");
        }
        assert_eq!(vm.assert_no_lie(&repository, base).await, 2);
    }
    assert!(hits > operations / 2, "{hits} of {operations}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_lost_answer_anywhere_does_no_harm_to_a_capture_that_retries() {
    let vm = Vm::new();
    let (operations, blobs) = undisturbed(&vm).await;
    let policy = RetryPolicy { first_wait: std::time::Duration::from_millis(1), ..RetryPolicy::default() };
    for nth in 0..operations {
        for fault in [Fault::LoseAnswer, Fault::Fail(ErrorKind::Timeout)] {
            let inner = Arc::new(MemoryStorage::new());
            let base = prepare(inner.clone(), &vm).await;
            let faulty = Arc::new(FaultyStorage::new(inner));
            let repository = reopen(Arc::new(Retry::new(faulty.clone(), policy))).await;
            faulty.break_at(nth, fault);
            Vm::capture(&repository, &vm.new).await.unwrap();
            assert!(faulty.has_broken());
            assert_eq!(vm.assert_no_lie(&repository, base).await, 2);
            assert_eq!(repository.blobs_len(), blobs);
        }
    }
}

#[tokio::test]
async fn an_init_that_dies_at_any_operation_can_be_repeated_unless_it_was_done() {
    let faulty = Arc::new(FaultyStorage::new(Arc::new(MemoryStorage::new())));
    a_repository(faulty.clone()).await;
    let operations = faulty.journal().len();
    for nth in 0..operations {
        for fault in [Fault::CrashBefore, Fault::CrashAfter] {
            let inner = Arc::new(MemoryStorage::new());
            let faulty = Arc::new(FaultyStorage::new(inner.clone()));
            faulty.break_at(nth, fault);
            let doomed = Repository::init(faulty, &password(), quick_init()).await;
            let is_there = inner.is_initialised().await.unwrap();
            assert!(doomed.is_err() || is_there);
            match Repository::init(inner.clone(), &password(), quick_init()).await {
                Ok(_) => assert!(!is_there),
                Err(error) => {
                    assert!(is_there && matches!(error, Error::AlreadyARepository { .. }), "{error:?}");
                }
            }
            assert!(reopen(inner).await.restore_points().await.unwrap().is_empty());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_adoption_that_dies_at_any_operation_can_be_repeated() {
    let vm = Vm::new();
    let mut operations = usize::MAX;
    let mut nth = 0;
    while nth < operations {
        let inner = Arc::new(MemoryStorage::new());
        let base = prepare(inner.clone(), &vm).await;
        for file in inner.list(FileKind::Index).await.unwrap() {
            inner.remove(FileKind::Index, &file.id).await.unwrap();
        }
        let faulty = Arc::new(FaultyStorage::new(inner.clone()));
        let doomed = reopen(faulty.clone()).await;
        faulty.break_at(nth, Fault::CrashAfter);
        let outcome = doomed.adopt_orphan_packs(quick_writer().lock, &CancellationToken::new()).await;
        if outcome.is_ok() {
            operations = nth;
        }
        let repository = reopen(inner).await;
        repository.adopt_orphan_packs(quick_writer().lock, &CancellationToken::new()).await.unwrap();
        vm.assert_no_lie(&repository, base).await;
        let report = repository
            .check(
                CheckOptions { read_data: true, ..CheckOptions::default() },
                &|_| {},
                &CancellationToken::new(),
            )
            .await;
        let report = report.unwrap();
        assert!(report.is_healthy() && report.orphan_packs == 0, "{nth}: {report:?}");
        nth += 1;
    }
    assert!(nth > 5, "{nth}");
}

#[tokio::test]
async fn the_snapshot_is_written_after_everything_it_refers_to() {
    let faulty = Arc::new(FaultyStorage::new(Arc::new(MemoryStorage::new())));
    let repository = a_repository(faulty.clone()).await;
    faulty.repair();
    Vm::capture(&repository, &Vm::new().new).await.unwrap();
    let writes: Vec<_> =
        faulty.journal().into_iter().filter(|operation| operation.verb == Verb::Write).collect();
    let last = |kind| writes.iter().rposition(|operation| operation.kind == Some(kind)).unwrap();
    assert!(last(FileKind::Pack) < last(FileKind::Index));
    assert!(last(FileKind::Index) < last(FileKind::Snapshot));
    assert_eq!(last(FileKind::Snapshot), writes.len() - 1);
    assert_eq!(writes[0].kind, Some(FileKind::Lock));
    let listing = faulty
        .journal()
        .iter()
        .rposition(|operation| operation.verb == Verb::List && operation.kind == Some(FileKind::Pack));
    let snapshot = faulty.journal().iter().rposition(|operation| operation.kind == Some(FileKind::Snapshot));
    assert!(listing < snapshot, "the packs are listed before the snapshot is written");
}

#[tokio::test]
async fn an_interrupted_capture_leaves_torn_packs_to_prune_and_says_so() {
    let storage = Arc::new(MemoryStorage::new());
    let base = prepare(storage.clone(), &Vm::new()).await;
    let torn = sendense_storage::FileId::new([9; 32]);
    storage.write(FileKind::Pack, &torn, vec![1; 1000].into()).await.unwrap();
    let repository = reopen(storage.clone()).await;
    let report = repository.adopt_orphan_packs(quick_writer().lock, &CancellationToken::new()).await.unwrap();
    assert_eq!((report.packs, report.rejected.len()), (0, 1));
    assert_eq!((report.rejected[0].id, report.rejected[0].size_bytes), (torn.into(), 1000));
    assert!(storage.exists(FileKind::Pack, &torn).await.unwrap());
    Vm::new().assert_no_lie(&repository, base).await;
}
