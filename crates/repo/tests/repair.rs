//! What can be repaired is repaired, and what cannot is said.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]

mod support;

use std::sync::Arc;

use sendense_repo::{CheckOptions, CopyOptions, RepairOptions, RepairReport, Repository, Result, SnapshotId};
use sendense_storage::{FileId, FileKind, LocalStorage, MemoryStorage, Storage};
use sendense_testkit::storage::{Fault, FaultyStorage, Verb};
use support::restic::Restic;
use support::*;
use tokio_util::sync::CancellationToken;

const DISK: &str = "disk-2000.raw";
const PATH: &str = "/vm-17/disk-2000.raw";

async fn repair(repository: &Repository, source: Option<&Repository>) -> Result<RepairReport> {
    let options = RepairOptions { lock: quick_writer().lock, ..RepairOptions::default() };
    repository.repair(source, options, &|_| {}, &CancellationToken::new()).await
}

async fn assert_healthy(repository: &Repository) {
    let options = CheckOptions { read_data: true, ..CheckOptions::default() };
    let report = repository.check(options, &|_| {}, &CancellationToken::new()).await.unwrap();
    assert!(report.is_healthy(), "{report:?}");
}

async fn change(storage: &dyn Storage, kind: FileKind, id: FileId, change: impl FnOnce(&mut Vec<u8>)) {
    let mut content = storage.read(kind, &id).await.unwrap().to_vec();
    change(&mut content);
    storage.remove(kind, &id).await.unwrap();
    storage.write(kind, &id, content.into()).await.unwrap();
}

async fn largest_pack(storage: &dyn Storage) -> FileId {
    let packs = storage.list(FileKind::Pack).await.unwrap();
    packs.into_iter().max_by_key(|pack| pack.size_bytes).unwrap().id
}

/// A repository with one restore point.
async fn prepare(storage: Arc<dyn Storage>) -> (Repository, SnapshotId, Vec<u8>) {
    let repository = a_repository(storage).await;
    let disk = a_disk(1, 1 << 20);
    let (point, _) = capture(&repository, &[(DISK, &disk)]).await.unwrap();
    (repository, point, disk)
}

#[tokio::test]
async fn an_index_that_is_damaged_or_gone_is_made_again() {
    for is_gone in [true, false] {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let (_, point, disk) = prepare(storage.clone()).await;
        for file in storage.list(FileKind::Index).await.unwrap() {
            if is_gone {
                storage.remove(FileKind::Index, &file.id).await.unwrap();
            } else {
                change(&*storage, FileKind::Index, file.id, |content| content[30] ^= 1).await;
            }
        }
        let repository = reopen(storage.clone()).await;
        let report = repair(&repository, None).await.unwrap();
        assert!(report.is_healthy() && report.adopted_packs > 0, "{report:?}");
        assert_eq!(report.removed_index_files > 0, !is_gone);
        assert!(read_file(&repository, &point, PATH).await.unwrap() == disk);
        assert_healthy(&reopen(storage).await).await;
    }
}

#[tokio::test]
async fn what_is_whole_in_a_damaged_pack_is_kept_and_what_is_not_comes_from_a_second_repository() {
    let directory = tempfile::tempdir().unwrap();
    let storage: Arc<dyn Storage> =
        Arc::new(LocalStorage::open(directory.path().join("repository")).await.unwrap());
    let (repository, point, disk) = prepare(storage.clone()).await;
    let second = a_repository(Arc::new(MemoryStorage::new())).await;
    let options = CopyOptions { lock: quick_writer().lock };
    repository.copy_to(&second, &[point], options, &|_| {}, &CancellationToken::new()).await.unwrap();
    let pack = largest_pack(&*storage).await;
    change(&*storage, FileKind::Pack, pack, |content| content[100] ^= 1).await;

    let repository = reopen(storage.clone()).await;
    let dry = RepairOptions { dry_run: true, ..RepairOptions::default() };
    let dry = repository.repair(None, dry, &|_| {}, &CancellationToken::new()).await.unwrap();
    assert_eq!((dry.damaged_packs, dry.damaged_restore_points.len()), (1, 1));
    let alone = repair(&repository, None).await.unwrap();
    assert!(alone.salvaged_blobs > 0 && alone.damaged_packs == 1, "{alone:?}");
    assert_eq!(alone.damaged_restore_points[0].id, point);
    assert_eq!(alone.damaged_restore_points[0].paths, [PATH]);
    assert_eq!(repository.restore_points().await.unwrap().len(), 1, "no restore point is removed");
    let healed = repair(&repository, Some(&second)).await.unwrap();
    assert!(healed.is_healthy() && healed.healed_blobs == 1, "{healed:?}");
    assert!(read_file(&repository, &point, PATH).await.unwrap() == disk);
    assert_healthy(&reopen(storage).await).await;
    for restic in Restic::each(&directory.path().join("repository")) {
        // The damaged pack is garbage that no index names.
        assert!(restic.run(&["dump", &point.to_string(), PATH]) == disk);
    }
}

#[tokio::test]
async fn a_pack_that_is_gone_comes_back_from_a_second_repository_directories_included() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let (repository, point, disk) = prepare(storage.clone()).await;
    let second = a_repository(Arc::new(MemoryStorage::new())).await;
    let options = CopyOptions { lock: quick_writer().lock };
    repository.copy_to(&second, &[point], options, &|_| {}, &CancellationToken::new()).await.unwrap();
    for pack in storage.list(FileKind::Pack).await.unwrap() {
        storage.remove(FileKind::Pack, &pack.id).await.unwrap();
    }
    let repository = reopen(storage.clone()).await;
    let alone = repair(&repository, None).await.unwrap();
    assert!(alone.missing_packs > 1 && !alone.is_healthy(), "{alone:?}");
    let healed = repair(&repository, Some(&second)).await.unwrap();
    assert!(healed.is_healthy(), "{healed:?}");
    assert!(read_file(&repository, &point, PATH).await.unwrap() == disk);
    assert_healthy(&reopen(storage).await).await;
}

#[tokio::test]
async fn what_a_repair_has_written_is_read_back() {
    let mut found = 0;
    for nth in 0.. {
        let inner: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let (repository, point, _) = prepare(inner.clone()).await;
        let second = a_repository(Arc::new(MemoryStorage::new())).await;
        let options = CopyOptions { lock: quick_writer().lock };
        repository.copy_to(&second, &[point], options, &|_| {}, &CancellationToken::new()).await.unwrap();
        for pack in inner.list(FileKind::Pack).await.unwrap() {
            inner.remove(FileKind::Pack, &pack.id).await.unwrap();
        }
        let faulty = Arc::new(FaultyStorage::new(inner.clone()));
        let repository = reopen(faulty.clone()).await;
        faulty.break_at(nth, Fault::FlipBit);
        let outcome = repair(&repository, Some(&second)).await;
        let journal = faulty.journal();
        let Some(broken) = journal.get(nth) else { break };
        if broken.verb == Verb::Write && broken.kind == Some(FileKind::Pack) {
            let report = outcome.unwrap();
            assert!(report.healed_blobs > 0 && !report.is_healthy(), "{nth}: {report:?}");
            assert_eq!(report.damaged_restore_points[0].id, point, "{nth}");
            let again = repair(&reopen(inner.clone()).await, Some(&second)).await.unwrap();
            assert!(again.is_healthy(), "{nth}: {again:?}");
            assert_healthy(&reopen(inner).await).await;
            found += 1;
        }
    }
    assert!(found > 2, "{found} packs, chunks and directories");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repair_that_dies_at_any_operation_makes_nothing_worse() {
    for nth in 0.. {
        let inner: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let (repository, point, disk) = prepare(inner.clone()).await;
        let second = a_repository(Arc::new(MemoryStorage::new())).await;
        let options = CopyOptions { lock: quick_writer().lock };
        repository.copy_to(&second, &[point], options, &|_| {}, &CancellationToken::new()).await.unwrap();
        let pack = largest_pack(&*inner).await;
        change(&*inner, FileKind::Pack, pack, |content| content[100] ^= 1).await;
        let faulty = Arc::new(FaultyStorage::new(inner.clone()));
        let doomed = reopen(faulty.clone()).await;
        faulty.break_at(nth, if nth % 2 == 0 { Fault::CrashBefore } else { Fault::CrashAfter });
        let outcome = repair(&doomed, Some(&second)).await;
        drop(doomed);
        for lock in inner.list(FileKind::Lock).await.unwrap() {
            inner.remove(FileKind::Lock, &lock.id).await.unwrap();
        }
        let repository = reopen(inner.clone()).await;
        assert_eq!(repository.restore_points().await.unwrap().len(), 1, "{nth}");
        let report = repair(&repository, Some(&second)).await.unwrap();
        assert!(report.is_healthy(), "{nth}: {report:?}");
        assert!(read_file(&repository, &point, PATH).await.unwrap() == disk);
        assert_healthy(&reopen(inner).await).await;
        if outcome.is_ok() {
            assert!(nth > 15, "{nth}");
            break;
        }
    }
}
