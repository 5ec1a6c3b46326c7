//! A disk goes through the data plane and comes back as it was.

mod lab;

use std::sync::Arc;

use lab::{CHUNK, CHUNK_LEN, Lab, base_of, capture, commit_options, extent, mixed_disk, noise, source};
use sendense_engine::{Areas, CheckOptions, Code, PruneOptions, Sampled, VerifyCounters};
use sendense_storage::{FileKind, MemoryStorage, Storage};
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_disk_comes_back_as_it_was() {
    let lab = Lab::new().await;
    let disk = mixed_disk(1, 31);
    let (report, point) = lab.back_up(&disk, Areas::Whole, None).await;
    assert_eq!(lab.restore(&point, "2000").await, disk);
    let progress = report.progress;
    assert_eq!(progress.logical_bytes, disk.len() as u64);
    assert_eq!(progress.new_bytes, 21 * CHUNK + 12_345, "11 chunks of noise, 10 of text, and the last one");
    assert!(progress.stored_bytes > 11 * CHUNK && progress.stored_bytes < 12 * CHUNK, "{progress:?}");
    assert_eq!(progress.read_bytes, progress.planned_bytes);
    assert_eq!((point.new_bytes, point.stored_bytes), (progress.new_bytes, progress.stored_bytes));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_disk_is_read_and_nothing_is_sent() {
    let lab = Lab::new().await;
    let disk = mixed_disk(2, 9);
    lab.back_up(&disk, Areas::Whole, None).await;
    let (report, point) = lab.back_up(&disk, Areas::Whole, None).await;
    assert_eq!((report.progress.new_bytes, report.progress.stored_bytes), (0, 0));
    assert!(report.progress.read_bytes > 0);
    assert_eq!(lab.restore(&point, "2000").await, disk);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_changed_disk_only_the_changed_chunks_are_read() {
    let lab = Lab::new().await;
    let mut disk = mixed_disk(3, 30);
    let (_, full) = lab.back_up(&disk, Areas::Whole, None).await;
    let at = 7 * CHUNK_LEN + 100;
    disk[at..at + 4096].copy_from_slice(&noise(99, 4096));
    let (report, point) =
        lab.back_up(&disk, Areas::Changed(vec![extent(at as u64, 4096)]), Some(&full)).await;
    assert_eq!((report.progress.changed_bytes, report.progress.read_bytes), (4096, CHUNK));
    assert_eq!(report.progress.new_bytes, CHUNK);
    assert_eq!(lab.restore(&point, "2000").await, disk);
    assert_ne!(lab.restore(&full, "2000").await, disk, "the base is as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_allocated_is_zero() {
    let lab = Lab::new().await;
    let disk = mixed_disk(4, 12);
    let (_, first) = lab.back_up(&disk, Areas::Whole, None).await;
    let areas = Areas::Allocated(vec![extent(0, CHUNK), extent(3 * CHUNK + 5, 1)]);
    let (report, point) = lab.back_up(&disk, areas, Some(&first)).await;
    assert_eq!(report.progress.read_bytes, 2 * CHUNK);
    let mut expected = vec![0; disk.len()];
    for chunk in [0, 3] {
        let range = chunk * CHUNK_LEN..(chunk + 1) * CHUNK_LEN;
        expected[range.clone()].copy_from_slice(&disk[range]);
    }
    assert!(lab.restore(&point, "2000").await == expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn disks_that_are_empty_zero_or_of_one_byte_come_back() {
    let lab = Lab::new().await;
    for disk in [vec![], vec![0; 3 * CHUNK_LEN], vec![0; 77], vec![7], noise(5, CHUNK_LEN)] {
        let (_, point) = lab.back_up(&disk, Areas::Whole, None).await;
        assert!(lab.restore(&point, "2000").await == disk, "{} bytes", disk.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_disks_are_captured_at_once_into_one_restore_point() {
    let lab = Lab::new().await;
    let (one, two) = (mixed_disk(6, 20), mixed_disk(7, 25));
    let session = lab.begin().await;
    session.begin_disk("2000", one.len() as u64, None).await.unwrap();
    session.begin_disk("2001", two.len() as u64, None).await.unwrap();
    let options = ["2000", "2001"].map(|key| lab.options(&session, key, Areas::Whole));
    let both = tokio::join!(capture(source(&one), &options[0]), capture(source(&two), &options[1]));
    both.0.unwrap();
    both.1.unwrap();
    let counters = session.counters();
    assert!(counters.iter().all(|disk| disk.finished));
    assert_eq!(counters[1].logical_bytes, two.len() as u64);
    let point = session.commit(commit_options()).await.unwrap();
    assert!(lab.restore(&point, "2000").await == one);
    assert!(lab.restore(&point, "2001").await == two);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_with_an_unfinished_disk_is_refused_and_the_session_goes_on() {
    let lab = Lab::new().await;
    let disk = mixed_disk(8, 4);
    let session = lab.begin().await;
    session.begin_disk("2000", disk.len() as u64, None).await.unwrap();
    session.begin_disk("2001", disk.len() as u64, None).await.unwrap();
    capture(source(&disk), &lab.options(&session, "2000", Areas::Whole)).await.unwrap();
    assert_eq!(session.commit(commit_options()).await.unwrap_err().code(), Code::CaptureIncomplete);
    assert!(session.is_open());
    session.drop_disk("2001").unwrap();
    let point = session.commit(commit_options()).await.unwrap();
    assert!(lab.restore(&point, "2000").await == disk);
    assert!(!session.is_open());
    assert_eq!(session.commit(commit_options()).await.unwrap_err().code(), Code::CaptureUnknown);
    session.abort().await.expect("a session that has ended may be aborted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_cannot_serve_is_refused_with_its_own_code() {
    let lab = Lab::new().await;
    let disk = mixed_disk(9, 4);
    let size = disk.len() as u64;
    let (_, point) = lab.back_up(&disk, Areas::Whole, None).await;
    let session = lab.begin().await;
    let mut gone = base_of(&point, "2000");
    gone.restore_point_id = "ab".repeat(32);
    for (base, size, code) in [
        (base_of(&point, "2001"), size, Code::BaseDiskMissing),
        (base_of(&point, "2000"), size + 512, Code::BaseSizeDiffers),
        (gone, size, Code::RestorePointMissing),
    ] {
        assert_eq!(session.begin_disk("2000", size, Some(base)).await.unwrap_err().code(), code);
    }
    let larger_chunks = lab.begin_with(|options| options.chunk_bytes = 1 << 20).await;
    let begun = larger_chunks.begin_disk("2000", size, Some(base_of(&point, "2000"))).await;
    assert_eq!(begun.unwrap_err().code(), Code::BaseChunkSizeDiffers);
    session.begin_disk("2000", size, Some(base_of(&point, "2000"))).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_a_prune_takes_apart_or_that_is_damaged_is_told_apart() {
    let storage = Arc::new(MemoryStorage::new());
    let lab = Lab::with_storage(storage.clone()).await;
    let disk = mixed_disk(12, 4);
    let (_, point) = lab.back_up(&disk, Areas::Whole, None).await;
    let begin = async || {
        let session = lab.begin().await;
        let begun = session.begin_disk("2000", disk.len() as u64, Some(base_of(&point, "2000"))).await;
        session.abort().await.unwrap();
        begun.map_err(|error| error.code())
    };
    assert_eq!(begin().await, Ok(()));

    // As if its maker had been killed while a prune was at work: it is listed, and what it needs is marked.
    let id = point.restore_point_id.parse().unwrap();
    let listed = storage.read(FileKind::Snapshot, &id).await.unwrap();
    storage.remove(FileKind::Snapshot, &id).await.unwrap();
    let (counters, cancel) = (Sampled::default(), CancellationToken::new());
    lab.repository.prune(&PruneOptions::default(), &counters, &cancel).await.unwrap();
    storage.write(FileKind::Snapshot, &id, listed).await.unwrap();
    assert_eq!(begin().await, Err(Code::RestorePointBeingPruned));
    lab.repository.prune(&PruneOptions::default(), &counters, &cancel).await.unwrap();
    assert_eq!(begin().await, Ok(()));

    for pack in storage.list(FileKind::Pack).await.unwrap() {
        storage.spoil(FileKind::Pack, &pack.id, |content| content[40] ^= 1);
    }
    let all = CheckOptions { read_data: true, ..CheckOptions::default() };
    lab.repository.check(all, &VerifyCounters::default(), &cancel).await.unwrap();
    assert_eq!(begin().await, Err(Code::RestorePointDamaged));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_may_be_captured_again_in_the_same_session() {
    let lab = Lab::new().await;
    let (first, second) = (mixed_disk(10, 8), mixed_disk(11, 8));
    let session = lab.begin().await;
    session.begin_disk("2000", first.len() as u64, None).await.unwrap();
    let options = lab.options(&session, "2000", Areas::Whole);
    capture(source(&first), &options).await.unwrap();
    capture(source(&second), &options).await.unwrap();
    let point = session.commit(commit_options()).await.unwrap();
    assert!(lab.restore(&point, "2000").await == second);
}
