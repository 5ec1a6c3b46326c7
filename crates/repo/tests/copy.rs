//! Restore points are copied to another repository chunk by chunk.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]

mod support;

use std::sync::Arc;

use sendense_repo::{CheckOptions, CopyOptions, CopyReport, Error, Repository, Result, SnapshotId};
use sendense_storage::{FileKind, LocalStorage, MemoryStorage, Storage};
use sendense_testkit::storage::{Fault, FaultyStorage, Verb};
use support::restic::Restic;
use support::*;
use tokio_util::sync::CancellationToken;

const DISK: &str = "disk-2000.raw";
const PATH: &str = "/vm-17/disk-2000.raw";

async fn copy(source: &Repository, target: &Repository, points: &[SnapshotId]) -> Result<CopyReport> {
    let options = CopyOptions { lock: quick_writer().lock };
    source.copy_to(target, points, options, &|_| {}, &CancellationToken::new()).await
}

async fn assert_healthy(repository: &Repository) {
    let options = CheckOptions { read_data: true, ..CheckOptions::default() };
    let report = repository.check(options, &|_| {}, &CancellationToken::new()).await.unwrap();
    assert!(report.is_healthy(), "{report:?}");
}

/// Two states of a disk.
async fn two_points(repository: &Repository) -> [(SnapshotId, Vec<u8>); 2] {
    let first = a_disk(1, 1 << 20);
    let mut second = first.clone();
    fill(&mut second[..200_000], 9, 0xff);
    let points = [
        capture(repository, &[(DISK, &first)]).await.unwrap().0,
        capture(repository, &[(DISK, &second)]).await.unwrap().0,
    ];
    [(points[0], first), (points[1], second)]
}

#[tokio::test]
async fn a_copy_is_the_same_restore_point_and_says_what_it_is_a_copy_of() {
    let directory = tempfile::tempdir().unwrap();
    let source = a_repository(Arc::new(MemoryStorage::new())).await;
    let storage: Arc<dyn Storage> =
        Arc::new(LocalStorage::open(directory.path().join("repository")).await.unwrap());
    let target = a_repository(storage.clone()).await;
    let points = two_points(&source).await;
    let ids = points.each_ref().map(|(id, _)| *id);
    let report = copy(&source, &target, &ids).await.unwrap();
    assert!(report.chunks > 10 && report.verified_chunks == report.chunks, "{report:?}");
    assert!(report.copied_bytes > report.stored_bytes && report.skipped_chunks > 0, "{report:?}");
    for (copied, (id, disk)) in report.points.iter().zip(&points) {
        assert_eq!((copied.source, copied.was_there), (*id, false));
        assert!(read_file(&target, &copied.target, PATH).await.unwrap() == *disk);
        let (there, here) =
            (target.restore_point(&copied.target).await.unwrap(), source.restore_point(id).await.unwrap());
        assert_eq!(
            (there.tree, there.time, there.hostname, there.tags),
            (here.tree, here.time, here.hostname, here.tags)
        );
    }
    assert_healthy(&target).await;
    for restic in Restic::each(&directory.path().join("repository")) {
        restic.check();
        let copied = report.points[1].target.to_string();
        assert!(restic.run(&["dump", &copied, PATH]) == points[1].1);
        assert_eq!(restic.json(&["cat", "snapshot", &copied])["original"], ids[1].to_string());
    }
    // Once more there is nothing to do, and nothing to list twice.
    let again = copy(&source, &target, &ids).await.unwrap();
    assert!(again.points.iter().all(|point| point.was_there) && again.chunks == 0, "{again:?}");
    assert_eq!(target.restore_points().await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_dies_at_any_operation_leaves_no_lie_and_goes_on_where_it_was() {
    let source = a_repository(Arc::new(MemoryStorage::new())).await;
    let points = two_points(&source).await;
    let ids = points.each_ref().map(|(id, _)| *id);
    let mut died = 0;
    for nth in 0.. {
        let inner: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        a_repository(inner.clone()).await;
        let faulty = Arc::new(FaultyStorage::new(inner.clone()));
        let doomed = reopen(faulty.clone()).await;
        faulty.break_at(nth, if nth % 2 == 0 { Fault::CrashBefore } else { Fault::CrashAfter });
        let outcome = copy(&source, &doomed, &ids).await;
        drop(doomed);
        let target = reopen(inner.clone()).await;
        for point in target.restore_points().await.unwrap() {
            read_file(&target, &point.id, PATH).await.unwrap();
        }
        target.adopt_orphan_packs(quick_writer().lock, &CancellationToken::new()).await.unwrap();
        let report = copy(&source, &target, &ids).await.unwrap();
        for (copied, (_, disk)) in report.points.iter().zip(&points) {
            assert!(read_file(&target, &copied.target, PATH).await.unwrap() == *disk, "{nth}");
        }
        assert_eq!(target.restore_points().await.unwrap().len(), 2, "{nth}");
        assert_healthy(&target).await;
        if outcome.is_ok() {
            break;
        }
        died += 1;
    }
    assert!(died > 20, "{died}");
}

#[tokio::test]
async fn a_damaged_chunk_is_not_copied_and_the_source_is_only_read() {
    let faulty = Arc::new(FaultyStorage::new(Arc::new(MemoryStorage::new())));
    let source = a_repository(faulty.clone()).await;
    let points = two_points(&source).await;
    faulty.repair();
    let target = a_repository(Arc::new(MemoryStorage::new())).await;
    copy(&source, &target, &[points[0].0]).await.unwrap();
    assert!(faulty.journal().iter().all(|operation| !matches!(operation.verb, Verb::Write | Verb::Remove)));
    for pack in faulty.list(FileKind::Pack).await.unwrap() {
        let mut content = faulty.read(FileKind::Pack, &pack.id).await.unwrap().to_vec();
        content[usize::try_from(pack.size_bytes).unwrap() / 2] ^= 1;
        faulty.remove(FileKind::Pack, &pack.id).await.unwrap();
        faulty.write(FileKind::Pack, &pack.id, content.into()).await.unwrap();
    }
    let result = copy(&source, &target, &[points[1].0]).await;
    assert!(matches!(result, Err(Error::DamagedChunk { .. })), "{result:?}");
    assert_eq!(target.restore_points().await.unwrap().len(), 1);
    assert_healthy(&target).await;
    let missing = copy(&source, &target, &[SnapshotId::of(b"none")]).await;
    assert!(matches!(missing, Err(Error::RestorePointMissing { .. })), "{missing:?}");
}

#[tokio::test]
async fn whatever_pack_of_a_copy_the_target_does_not_keep_nothing_refers_to_it() {
    let source = a_repository(Arc::new(MemoryStorage::new())).await;
    let [(id, _), _] = two_points(&source).await;
    let mut found = 0;
    for nth in 0.. {
        let faulty = Arc::new(FaultyStorage::new(Arc::new(MemoryStorage::new())));
        let target = a_repository(faulty.clone()).await;
        faulty.break_at(nth, Fault::FlipBit);
        let outcome = copy(&source, &target, &[id]).await;
        let journal = faulty.journal();
        let Some(broken) = journal.get(nth) else { break };
        if broken.verb == Verb::Write && broken.kind == Some(FileKind::Pack) {
            assert!(matches!(outcome, Err(Error::DamagedChunk { .. })), "{nth}: {outcome:?}");
            assert_eq!(target.restore_points().await.unwrap(), [], "{nth}");
            found += 1;
        }
    }
    assert!(found > 2, "{found} packs, chunks and directories");
}
