//! Disks that are cut into segments: ours, and what stock restic makes of them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]

mod support;

use std::fs;
use std::process::Command;
use std::sync::Arc;

use sendense_repo::{CheckOptions, ChunkId, NewFile, Repository, SnapshotId, Writer};
use sendense_storage::{FileKind, LocalStorage, MemoryStorage, Storage};
use support::restic::Restic;
use support::*;
use tokio_util::sync::CancellationToken;

/// Small, so that a disk of many chunks is no large one.
const CHUNK: usize = 64;

/// The longest list that stays one file.
const PLAIN_MAX: usize = 16_384;
const SEGMENT: usize = 256;

const PATH: &str = "/vm-17/disk-2000.raw";

/// A disk of so many chunks and some bytes, of which every fourth segment is zeros.
fn a_long_disk(seed: u64, chunks: usize, more_bytes: usize) -> Vec<u8> {
    let mut disk = vec![0; chunks * CHUNK + more_bytes];
    for (number, segment) in (0_u64..).zip(disk.chunks_mut(CHUNK * SEGMENT)) {
        if number % 4 > 0 {
            fill(segment, seed ^ (number << 32), 0xff);
        }
    }
    disk
}

async fn add(writer: &Writer, name: &str, disk: &[u8]) -> NewFile {
    let mut content = Vec::new();
    for plain in disk.chunks(CHUNK) {
        let id = ChunkId::of(plain);
        if !writer.contains(&id) {
            writer.add(encode(plain)).await.unwrap();
        }
        content.push(id);
    }
    NewFile { name: name.into(), size_bytes: disk.len() as u64, content, mtime: a_time() }
}

async fn capture_long(repository: &Repository, disks: &[(&str, &[u8])]) -> SnapshotId {
    let writer = repository.writer(quick_writer()).await.unwrap();
    let mut files = Vec::new();
    for (name, disk) in disks {
        files.push(add(&writer, name, disk).await);
    }
    writer.commit(a_point(files)).await.unwrap()
}

async fn local(directory: &tempfile::TempDir) -> Arc<dyn Storage> {
    Arc::new(LocalStorage::open(directory.path().join("repository")).await.unwrap())
}

async fn pack_bytes(storage: &dyn Storage) -> u64 {
    storage.list(FileKind::Pack).await.unwrap().iter().map(|file| file.size_bytes).sum()
}

#[tokio::test]
async fn a_disk_reads_the_same_on_both_sides_of_the_threshold() {
    let repository = a_repository(Arc::new(MemoryStorage::new())).await;
    let sizes = [(PLAIN_MAX - 1, 1), (PLAIN_MAX, 0), (PLAIN_MAX, 1), (PLAIN_MAX + SEGMENT, 0)];
    for (chunks, more_bytes) in sizes.into_iter().chain([(2 * PLAIN_MAX, 0), (2 * PLAIN_MAX + 300, 17)]) {
        let disk = a_long_disk(7, chunks, more_bytes);
        let point = capture_long(&repository, &[("disk-2000.raw", &disk), ("vm.json", b"{}")]).await;
        assert!(read_file(&repository, &point, PATH).await.unwrap() == disk, "{chunks}");
        let mut files = repository.files(&point).await.unwrap();
        files.sort_by(|left, right| left.path.cmp(&right.path));
        let expected = [(PATH.to_owned(), disk.len() as u64), ("/vm-17/vm.json".into(), 2)];
        assert_eq!(files.into_iter().map(|file| (file.path, file.size_bytes)).collect::<Vec<_>>(), expected);
        let report =
            repository.verify_restore_point(&point, &|_| {}, &CancellationToken::new()).await.unwrap();
        assert!(report.is_healthy() && report.chunks > 1000, "{report:?}");
    }
    let missing = repository.disk_content(&repository.restore_points().await.unwrap()[0].id, "/vm-17").await;
    assert!(missing.is_err());
}

#[tokio::test]
async fn the_metadata_of_a_small_change_is_small() {
    let storage = Arc::new(MemoryStorage::new());
    let repository = a_repository(storage.clone()).await;
    let mut disk = a_long_disk(1, 4 * PLAIN_MAX, 5);
    capture_long(&repository, &[("disk-2000.raw", &disk)]).await;
    let first = pack_bytes(&*storage).await;
    let mut grew_by = [0; 2];
    for (grew_by, chunks) in grew_by.iter_mut().zip([0, 10]) {
        let before = pack_bytes(&*storage).await;
        fill(&mut disk[SEGMENT * CHUNK * 9..][..chunks * CHUNK], 99, 0xff);
        let point = capture_long(&repository, &[("disk-2000.raw", &disk)]).await;
        assert!(read_file(&repository, &point, PATH).await.unwrap() == disk);
        *grew_by = pack_bytes(&*storage).await - before;
    }
    assert_eq!(grew_by[0], 0, "nothing has changed");
    // The chunks themselves, their segment, its folder and the disk.
    assert!(grew_by[1] < 20_000 && first > 100 * grew_by[1], "{grew_by:?} after {first}");
}

#[tokio::test]
async fn a_disk_that_grows_over_the_threshold_shares_its_chunks_and_both_points_stay_whole() {
    let directory = tempfile::tempdir().unwrap();
    let repository = a_repository(local(&directory).await).await;
    let small = a_long_disk(3, PLAIN_MAX, 0);
    let mut large = small.clone();
    large.extend_from_slice(&a_long_disk(4, 100, 9));
    let points = [
        (capture_long(&repository, &[("disk-2000.raw", &small)]).await, &small),
        (capture_long(&repository, &[("disk-2000.raw", &large)]).await, &large),
        (capture_long(&repository, &[("disk-2000.raw", &small)]).await, &small),
    ];
    for (point, disk) in points {
        assert!(read_file(&repository, &point, PATH).await.unwrap() == *disk);
    }
    Restic::new(&directory.path().join("repository")).check();
}

#[tokio::test]
async fn every_stock_restic_gives_a_long_disk_back_by_one_command_and_by_its_pieces() {
    let directory = tempfile::tempdir().unwrap();
    let repository = a_repository(local(&directory).await).await;
    let disk = a_long_disk(5, 2 * PLAIN_MAX + 300, 17);
    let point = capture_long(&repository, &[("disk-2000.raw", &disk), ("vm.json", b"{}")]).await.to_string();
    for (number, restic) in Restic::each(&directory.path().join("repository")).iter().enumerate() {
        restic.check();
        assert!(restic.dump_segments(&point, PATH) == disk, "restic {number}");
        let target = directory.path().join("restored");
        restic.run(&["restore", &point, "--target", target.to_str().unwrap()]);
        let pieces = "for folder in \"$1\"/*; do cat \"$folder\"/*/*; done";
        let disk_again = Command::new("sh")
            .args(["-c", pieces, "sh"])
            .arg(target.join("vm-17/disk-2000.raw"))
            .output()
            .unwrap();
        assert!(disk_again.stdout == disk, "restic {number}");
        fs::remove_dir_all(target).unwrap();
    }
}

#[tokio::test]
async fn damage_in_a_piece_is_damage_of_its_disk_and_of_every_point_that_shares_it() {
    let storage = Arc::new(MemoryStorage::new());
    let repository = a_repository(storage.clone()).await;
    let mut disk = a_long_disk(1, 2 * PLAIN_MAX, 0);
    let first = capture_long(&repository, &[("disk-2000.raw", &disk), ("vm.json", b"{}")]).await;
    let packs = storage.list(FileKind::Pack).await.unwrap();
    fill(&mut disk[..CHUNK], 77, 0xff);
    let second = capture_long(&repository, &[("disk-2000.raw", &disk), ("vm.json", b"{}")]).await;
    let report = repository.check(CheckOptions::default(), &|_| {}, &CancellationToken::new()).await.unwrap();
    assert!(report.is_healthy() && report.restore_points == 2, "{report:?}");

    // The largest pack of the first point holds chunks.
    let pack = packs.iter().max_by_key(|pack| pack.size_bytes).unwrap();
    storage.remove(FileKind::Pack, &pack.id).await.unwrap();
    let report = repository.check(CheckOptions::default(), &|_| {}, &CancellationToken::new()).await.unwrap();
    let mut damaged: Vec<_> =
        report.damaged_restore_points.iter().map(|point| (point.id, point.paths.clone())).collect();
    damaged.sort();
    let mut expected = vec![(first, vec![PATH.to_owned()]), (second, vec![PATH.to_owned()])];
    expected.sort();
    assert_eq!(damaged, expected);
}
