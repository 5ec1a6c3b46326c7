//! Damage is found, named, and traced to the restore points it touches.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use sendense_repo::{CheckOptions, CheckReport, Error, Problem, Repository, SnapshotId, VerifyReport};
use sendense_storage::{FileId, FileKind, MemoryStorage, Storage};
use support::*;
use tokio_util::sync::CancellationToken;

const READ_DATA: CheckOptions = CheckOptions { read_data: true, sample_percent: None };

async fn check(repository: &Repository, options: CheckOptions) -> CheckReport {
    repository.check(options, &|_| {}, &CancellationToken::new()).await.unwrap()
}

async fn verify(repository: &Repository, point: &SnapshotId) -> VerifyReport {
    repository.verify_restore_point(point, &|_| {}, &CancellationToken::new()).await.unwrap()
}

/// Two restore points that share a disk, and one chunk that only the second has.
async fn two_points(storage: &Arc<MemoryStorage>) -> (Repository, SnapshotId, SnapshotId) {
    let repository = a_repository(storage.clone()).await;
    let disk = a_disk(1, 2 << 20);
    let (first, _) = capture(&repository, &[("disk-2000.raw", &disk)]).await.unwrap();
    let mut changed = disk.clone();
    fill(&mut changed[CHUNK_BYTES..2 * CHUNK_BYTES], 99, 0xff);
    let (second, added) = capture(&repository, &[("disk-2000.raw", &changed)]).await.unwrap();
    assert_eq!(added, 1);
    (repository, first, second)
}

/// Replaces a file by other bytes, behind everybody's back.
async fn tamper(storage: &MemoryStorage, kind: FileKind, id: &FileId, change: impl FnOnce(&mut Vec<u8>)) {
    let mut content = storage.read(kind, id).await.unwrap().to_vec();
    change(&mut content);
    storage.remove(kind, id).await.unwrap();
    storage.write(kind, id, content.into()).await.unwrap();
}

async fn largest_pack(storage: &MemoryStorage) -> FileId {
    let packs = storage.list(FileKind::Pack).await.unwrap();
    packs.into_iter().max_by_key(|pack| pack.size_bytes).unwrap().id
}

#[tokio::test]
async fn a_healthy_repository_has_no_problem_and_the_check_says_what_it_looked_at() {
    let storage = Arc::new(MemoryStorage::new());
    let (repository, first, _) = two_points(&storage).await;
    let report = check(&repository, READ_DATA).await;
    assert!(report.is_healthy(), "{report:?}");
    assert_eq!(report.restore_points, 2);
    assert_eq!(report.packs, storage.list(FileKind::Pack).await.unwrap().len() as u64);
    let stored: u64 = storage.list(FileKind::Pack).await.unwrap().iter().map(|pack| pack.size_bytes).sum();
    assert_eq!(report.read_bytes, stored);
    assert_eq!(check(&repository, CheckOptions::default()).await.read_bytes, 0);

    let report = verify(&repository, &first).await;
    assert!(report.is_healthy(), "{report:?}");
    // 32 chunks of which a third is the one zero chunk, and vm.json.
    let distinct = 32 - 11 + 1 + 1;
    assert_eq!((report.chunks, report.bytes), (distinct, (distinct - 1) * CHUNK_BYTES as u64 + 16));
}

#[tokio::test]
async fn progress_reaches_its_end_and_never_goes_back() {
    let storage = Arc::new(MemoryStorage::new());
    let (repository, first, _) = two_points(&storage).await;
    let (last, total) = (AtomicU64::new(0), AtomicU64::new(0));
    let note = |checked: u64, all: u64| {
        assert!(last.swap(checked, Ordering::Relaxed) <= checked);
        total.store(all, Ordering::Relaxed);
    };
    let cancel = CancellationToken::new();
    let progress = |state: sendense_repo::VerifyProgress| note(state.checked_bytes, state.total_bytes);
    repository.verify_restore_point(&first, &progress, &cancel).await.unwrap();
    assert_eq!(last.swap(0, Ordering::Relaxed), total.load(Ordering::Relaxed));
    let progress = |state: sendense_repo::CheckProgress| note(state.checked_bytes, state.total_bytes);
    repository.check(READ_DATA, &progress, &cancel).await.unwrap();
    assert_eq!(last.load(Ordering::Relaxed), total.load(Ordering::Relaxed));
    assert!(total.load(Ordering::Relaxed) > 1 << 20);
}

#[tokio::test]
async fn a_flipped_bit_is_found_in_whatever_pack_it_is() {
    let storage = Arc::new(MemoryStorage::new());
    let (repository, first, second) = two_points(&storage).await;
    for pack in storage.list(FileKind::Pack).await.unwrap() {
        let positions = [0, pack.size_bytes / 2, pack.size_bytes - 1];
        for position in positions {
            let flip = |content: &mut Vec<u8>| content[usize::try_from(position).unwrap()] ^= 4;
            tamper(&storage, FileKind::Pack, &pack.id, flip).await;
            let report = check(&repository, READ_DATA).await;
            let names_it = |problem: &Problem| matches!(problem, Problem::PackDamaged { id, .. } if FileId::from(*id) == pack.id);
            assert!(report.problems.iter().any(names_it), "{} at {position}: {report:?}", pack.id);
            tamper(&storage, FileKind::Pack, &pack.id, flip).await;
        }
    }
    assert!(check(&repository, READ_DATA).await.is_healthy());
    assert!(
        verify(&repository, &first).await.is_healthy() && verify(&repository, &second).await.is_healthy()
    );
}

#[tokio::test]
async fn damage_is_traced_to_the_restore_points_it_touches_and_to_no_other() {
    let storage = Arc::new(MemoryStorage::new());
    let (repository, first, second) = two_points(&storage).await;
    // The chunk that only the second restore point has.
    let path = "/vm-17/disk-2000.raw";
    let new_chunk = repository.disk_content(&second, path).await.unwrap().chunk_ids[1];
    let mut hits = 0;
    for pack in storage.list(FileKind::Pack).await.unwrap() {
        tamper(&storage, FileKind::Pack, &pack.id, |content| content[20] ^= 1).await;
        let report = check(&repository, READ_DATA).await;
        let damages_new_chunk =
            |problem: &Problem| matches!(problem, Problem::ChunkMissing { id } if *id == new_chunk);
        if report.problems.iter().any(damages_new_chunk) {
            hits += 1;
            assert_eq!(report.damaged_restore_points.len(), 1, "{report:?}");
            assert_eq!(report.damaged_restore_points[0].id, second);
            assert_eq!(report.damaged_restore_points[0].paths, [path]);
            assert!(verify(&repository, &first).await.is_healthy());
            let report = verify(&repository, &second).await;
            assert_eq!(report.damaged_paths, [path]);
            assert!(
                matches!(report.problems[0], Problem::BlobDamaged { id, .. } if id == new_chunk),
                "{report:?}"
            );
            let error = repository.read_chunk(&new_chunk).await.unwrap_err();
            assert!(matches!(error, Error::DamagedChunk { id, .. } if id == new_chunk));
        }
        tamper(&storage, FileKind::Pack, &pack.id, |content| content[20] ^= 1).await;
    }
    assert_eq!(hits, 1);
}

#[tokio::test]
async fn a_missing_pack_is_found_without_reading_data_and_the_next_capture_heals_it() {
    let storage = Arc::new(MemoryStorage::new());
    let (repository, first, second) = two_points(&storage).await;
    let pack = largest_pack(&storage).await;
    storage.remove(FileKind::Pack, &pack).await.unwrap();
    let report = check(&repository, CheckOptions::default()).await;
    assert!(report.problems.contains(&Problem::PackMissing { id: pack.into() }), "{report:?}");
    assert_eq!(report.damaged_restore_points.len(), 2, "{report:?}");
    assert!(!verify(&repository, &first).await.is_healthy());

    let (third, added) = capture(&repository, &[("disk-2000.raw", &a_disk(1, 2 << 20))]).await.unwrap();
    assert!(added > 0 && added < 32, "{added}");
    for point in [first, third] {
        assert!(verify(&repository, &point).await.is_healthy());
    }
    let damaged = check(&repository, READ_DATA).await.damaged_restore_points;
    assert!(damaged.iter().all(|damaged| damaged.id == second), "{damaged:?}");
}

#[tokio::test]
async fn a_pack_that_was_cut_is_found_without_reading_data() {
    let storage = Arc::new(MemoryStorage::new());
    let (repository, first, _) = two_points(&storage).await;
    let pack = largest_pack(&storage).await;
    tamper(&storage, FileKind::Pack, &pack, |content| content.truncate(content.len() / 2)).await;
    let report = check(&repository, CheckOptions::default()).await;
    assert!(report.problems.contains(&Problem::PackMissing { id: pack.into() }));
    assert!(!verify(&repository, &first).await.is_healthy());
}

#[tokio::test]
async fn a_damaged_index_file_hides_no_chunk_for_longer_than_until_its_packs_are_adopted() {
    let storage = Arc::new(MemoryStorage::new());
    let (_, first, second) = two_points(&storage).await;
    for file in storage.list(FileKind::Index).await.unwrap() {
        tamper(&storage, FileKind::Index, &file.id, |content| content[40] ^= 1).await;
    }
    let repository = reopen(storage.clone()).await;
    assert_eq!(
        repository.damaged_index_files().await.len(),
        storage.list(FileKind::Index).await.unwrap().len()
    );
    let report = check(&repository, CheckOptions::default()).await;
    assert!(matches!(report.problems[0], Problem::IndexUnreadable { .. }), "{report:?}");
    assert_eq!(report.damaged_restore_points.len(), 2);
    let adopted =
        repository.adopt_orphan_packs(quick_writer().lock, &CancellationToken::new()).await.unwrap();
    assert_eq!(adopted.packs, storage.list(FileKind::Pack).await.unwrap().len() as u64);
    for point in [first, second] {
        assert!(verify(&repository, &point).await.is_healthy());
    }
}

#[tokio::test]
async fn a_damaged_restore_point_is_not_listed_and_the_others_are() {
    let storage = Arc::new(MemoryStorage::new());
    let (repository, first, second) = two_points(&storage).await;
    tamper(&storage, FileKind::Snapshot, &first.into(), |content| content.truncate(50)).await;
    let listed: Vec<_> =
        repository.restore_points().await.unwrap().into_iter().map(|point| point.id).collect();
    assert_eq!(listed, [second]);
    let report = check(&repository, CheckOptions::default()).await;
    assert_eq!(report.damaged_restore_points.len(), 1);
    assert!(matches!(report.problems[..], [Problem::RestorePointUnreadable { id, .. }] if id == first));
}

#[tokio::test]
async fn packs_without_index_are_counted_and_are_no_problem() {
    let storage = Arc::new(MemoryStorage::new());
    let (repository, ..) = two_points(&storage).await;
    storage.write(FileKind::Pack, &FileId::new([5; 32]), Bytes::from_static(b"torn")).await.unwrap();
    let report = check(&repository, READ_DATA).await;
    assert!(report.is_healthy());
    assert_eq!(report.orphan_packs, 1);
}

#[tokio::test]
async fn a_cancelled_check_stops() {
    let storage = Arc::new(MemoryStorage::new());
    let (repository, first, _) = two_points(&storage).await;
    let cancel = CancellationToken::new();
    cancel.cancel();
    assert!(matches!(repository.check(READ_DATA, &|_| {}, &cancel).await, Err(Error::Cancelled)));
    assert!(matches!(repository.verify_restore_point(&first, &|_| {}, &cancel).await, Err(Error::Cancelled)));
}

#[tokio::test]
async fn a_check_can_run_on_any_thread() {
    let storage = Arc::new(MemoryStorage::new());
    let (repository, first, _) = two_points(&storage).await;
    let task = tokio::spawn(async move {
        let cancel = CancellationToken::new();
        let report = repository.check(READ_DATA, &|_| {}, &cancel).await.unwrap();
        let verified = repository.verify_restore_point(&first, &|_| {}, &cancel).await.unwrap();
        report.is_healthy() && verified.is_healthy()
    });
    assert!(task.await.unwrap());
}
