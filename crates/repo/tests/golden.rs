//! A repository of each format version that was ever written must stay readable for ever.
//!
//! `tests/golden/v2` was written once by this crate and once more by restic 0.14. It is made anew, when the format
//! has changed on purpose, by `SENDENSE_MAKE_GOLDEN=1 cargo test -p sendense-repo --test golden`.

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

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v2")
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
fn a_copy() -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    copy_directory(&golden(), copy.path());
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
    let copy = a_copy();
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
    let report =
        repository.check(CheckOptions { read_data: true }, &|_| {}, &CancellationToken::new()).await.unwrap();
    assert!(report.is_healthy() && report.restore_points == 3 && report.packs > 3, "{report:?}");
    Restic::new(copy.path()).check();
}

#[tokio::test]
async fn a_new_restore_point_beside_the_golden_ones_shares_their_chunks() {
    let copy = a_copy();
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
    if std::env::var_os("SENDENSE_MAKE_GOLDEN").is_none() {
        make_golden_repository(elsewhere.path()).await;
        Restic::new(elsewhere.path()).check();
    } else {
        let _ = fs::remove_dir_all(golden());
        make_golden_repository(&golden()).await;
    }
}

async fn make_golden_repository(place: &Path) {
    let storage = Arc::new(LocalStorage::open(place).await.unwrap());
    let repository = a_repository(storage).await;
    let mut parent = None;
    for (number, disk) in (0_u64..).zip(disks()) {
        let writer = repository.writer(quick_writer()).await.unwrap();
        let mut content = Vec::new();
        for plain in disk.chunks(GOLDEN_CHUNK_BYTES) {
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
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("by-restic.bin"), &disks()[1]).unwrap();
    let path = source.path().to_str().unwrap().to_owned();
    Restic::new(place).run(&["backup", &path, "--host", "elsewhere", "--time", "2027-01-01 00:00:00"]);
    for directory in fs::read_dir(place.join("data")).unwrap() {
        // Only the empty ones go: git would not keep them.
        let _ = fs::remove_dir(directory.unwrap().path());
    }
}
