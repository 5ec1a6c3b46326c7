//! A repository of each format version that was ever written must stay readable for ever.
//!
//! `tests/golden/v2` was written once by this crate and once more by restic 0.14, `tests/golden/v2-segmented` by this
//! crate, with a disk that lies in segments. They are made anew, when the format has changed on purpose and the old
//! one was removed, by `SENDENSE_MAKE_GOLDEN=1 cargo test -p sendense-repo --test golden`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sendense_repo::{CheckOptions, ChunkId, NewFile, Repository};
use sendense_storage::LocalStorage;
use support::restic::Restic;
use support::*;
use tokio_util::sync::CancellationToken;

const GOLDEN_CHUNK_BYTES: usize = 8 << 10;

/// A little more than a folder of segments.
const LONG_DISK_CHUNKS: usize = 16_384 + 300;
const LONG_DISK_CHUNK_BYTES: usize = 512;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v2")
}

fn golden_segmented() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v2-segmented")
}

/// A disk that is zero but for few chunks, before and after a change.
fn long_disks() -> [Vec<u8>; 2] {
    let mut before = vec![0; LONG_DISK_CHUNKS * LONG_DISK_CHUNK_BYTES + 100];
    fill(&mut before[..3 * LONG_DISK_CHUNK_BYTES], 4, 0xff);
    fill(&mut before[16_383 * LONG_DISK_CHUNK_BYTES..][..2 * LONG_DISK_CHUNK_BYTES], 5, 0xff);
    let end = before.len() - 100;
    fill(&mut before[end..], 6, 0xff);
    let mut after = before.clone();
    fill(&mut after[1000 * LONG_DISK_CHUNK_BYTES..][..LONG_DISK_CHUNK_BYTES], 7, 0xff);
    [before, after]
}

/// The disks of the golden VM, before and after a change.
fn disks() -> [Vec<u8>; 2] {
    let mut before = vec![0; 5 * GOLDEN_CHUNK_BYTES + 512];
    fill(&mut before[GOLDEN_CHUNK_BYTES..2 * GOLDEN_CHUNK_BYTES], 1, 0x0f);
    fill(&mut before[3 * GOLDEN_CHUNK_BYTES..4 * GOLDEN_CHUNK_BYTES], 2, 0xff);
    let mut after = before.clone();
    fill(&mut after[GOLDEN_CHUNK_BYTES..GOLDEN_CHUNK_BYTES + 512], 3, 0xff);
    [before, after]
}

/// A copy, so that nothing that a test does reaches the original. Empty directories, which git does not keep, are
/// made again.
fn a_copy(golden: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_directory(golden, copy.path());
    fs::create_dir_all(copy.path().join("locks")).unwrap();
    copy
}

fn copy_directory(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_directory(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn the_golden_repository_is_read_as_on_the_day_it_was_written() {
    let copy = a_copy(&golden());
    let storage = Arc::new(LocalStorage::open(copy.path()).await.unwrap());
    let repository = Repository::open(storage, &password()).await.unwrap();
    let mut points = repository.restore_points().await.unwrap();
    points.sort_by_key(|point| point.time);
    assert_eq!(
        points.iter().map(|point| point.hostname.as_str()).collect::<Vec<_>>(),
        ["web-1", "web-1", "elsewhere"]
    );
    for (point, disk) in points.iter().zip(disks()) {
        assert!(read_file(&repository, &point.id, "/vm-17/disk-2000.raw").await.unwrap() == disk);
        assert_eq!(repository.load_file(&point.id, "/vm-17/vm.json").await.unwrap(), "{}");
    }
    assert_eq!(points[1].parent, Some(points[0].id));
    let files = repository.files(&points[2].id).await.unwrap();
    let path = files.iter().find(|file| file.path.ends_with("by-restic.bin")).unwrap().path.clone();
    assert!(read_file(&repository, &points[2].id, &path).await.unwrap() == disks()[1]);
    let report = repository
        .check(
            CheckOptions { read_data: true, ..CheckOptions::default() },
            &|_| {},
            &CancellationToken::new(),
        )
        .await
        .unwrap();
    assert!(report.is_healthy() && report.restore_points == 3 && report.packs > 3, "{report:?}");
    Restic::new(copy.path()).check();
}

#[tokio::test]
async fn a_new_restore_point_beside_the_golden_ones_shares_their_chunks() {
    let copy = a_copy(&golden());
    let storage = Arc::new(LocalStorage::open(copy.path()).await.unwrap());
    let repository = Repository::open(storage, &password()).await.unwrap();
    let writer = repository.writer(quick_writer()).await.unwrap();
    for plain in disks()[1].chunks(GOLDEN_CHUNK_BYTES) {
        assert!(writer.contains(&ChunkId::of(plain)));
    }
    writer.commit(a_point(vec![])).await.unwrap();
    Restic::new(copy.path()).check();
}

#[tokio::test]
async fn the_recipe_of_the_golden_repository_still_makes_one() {
    let elsewhere = tempfile::tempdir().unwrap();
    let (usual, segmented) = (elsewhere.path().join("v2"), elsewhere.path().join("v2-segmented"));
    let is_wanted = std::env::var_os("SENDENSE_MAKE_GOLDEN").is_some();
    let place = |place: PathBuf, golden: PathBuf| if is_wanted && !golden.exists() { golden } else { place };
    let (usual, segmented) = (place(usual, golden()), place(segmented, golden_segmented()));
    make_golden_repository(&usual).await;
    Restic::new(&usual).check();
    make_points(&segmented, long_disks(), LONG_DISK_CHUNK_BYTES).await;
    Restic::new(&segmented).check();
    for place in [usual, segmented] {
        for directory in fs::read_dir(place.join("data")).unwrap() {
            // Only the empty ones go: git would not keep them.
            let _ = fs::remove_dir(directory.unwrap().path());
        }
    }
}

#[tokio::test]
async fn the_golden_disk_in_segments_is_read_as_on_the_day_it_was_written() {
    let copy = a_copy(&golden_segmented());
    let storage = Arc::new(LocalStorage::open(copy.path()).await.unwrap());
    let repository = Repository::open(storage, &password()).await.unwrap();
    let mut points = repository.restore_points().await.unwrap();
    points.sort_by_key(|point| point.time);
    assert_eq!(points.len(), 2);
    for (point, disk) in points.iter().zip(long_disks()) {
        assert!(read_file(&repository, &point.id, "/vm-17/disk-2000.raw").await.unwrap() == disk);
        let mut files = repository.files(&point.id).await.unwrap();
        files.sort_by(|left, right| left.path.cmp(&right.path));
        assert_eq!(files[0].path, "/vm-17/disk-2000.raw");
        assert_eq!(files[0].size_bytes, disk.len() as u64);
        assert_eq!(files.len(), 2);
    }
    Restic::new(copy.path()).check();
}

async fn make_points(place: &Path, disks: [Vec<u8>; 2], chunk_bytes: usize) {
    let storage = Arc::new(LocalStorage::open(place).await.unwrap());
    let repository = a_repository(storage).await;
    let mut parent = None;
    for (number, disk) in (0_u64..).zip(disks) {
        let writer = repository.writer(quick_writer()).await.unwrap();
        let mut content = Vec::new();
        for plain in disk.chunks(chunk_bytes) {
            writer.add(encode(plain)).await.unwrap();
            content.push(ChunkId::of(plain));
        }
        let json = writer.add_plain("{}".into()).await.unwrap();
        let file = |name: &str, size_bytes, content| NewFile {
            name: name.into(),
            size_bytes,
            content,
            mtime: a_time(),
        };
        let files = vec![file("disk-2000.raw", disk.len() as u64, content), file("vm.json", 2, vec![json])];
        let mut point = a_point(files);
        point.time += std::time::Duration::from_secs(number * 86_400);
        point.parent = parent;
        parent = Some(writer.commit(point).await.unwrap());
    }
}

async fn make_golden_repository(place: &Path) {
    make_points(place, disks(), GOLDEN_CHUNK_BYTES).await;
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("by-restic.bin"), &disks()[1]).unwrap();
    let path = source.path().to_str().unwrap().to_owned();
    Restic::new(place).run(&["backup", &path, "--host", "elsewhere", "--time", "2027-01-01 00:00:00"]);
}
