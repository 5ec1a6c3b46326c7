//! One repository goes through every operation there is, and after each of them two stock restics find nothing wrong
//! and give the same bytes back, by the commands of `docs/design/repository-format.md`.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]

mod support;

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sendense_repo::{
    ChunkId, CopyOptions, Kdf, NewFile, NewRestorePoint, PruneOptions, PruneReport, RepairOptions,
    Repository, Secret, SnapshotId,
};
use sendense_storage::{FileId, FileKind, LocalStorage, Storage};
use support::restic::Restic;
use support::*;
use tokio_util::sync::CancellationToken;

const DISK: &str = "disk-2000.raw";
const FAST: Kdf = Kdf::Fixed { log_n: 4, r: 8, p: 1 };

/// Of the long disk, so that it has many chunks and few bytes.
const SMALL_CHUNK: usize = 64;

/// A restore point that must be there, and its disk.
#[derive(Clone)]
struct Point {
    id: SnapshotId,
    directory: &'static str,
    disk: Vec<u8>,
    /// Whether the disk is cut into segments.
    is_long: bool,
}

impl Point {
    fn path(&self) -> String {
        format!("/{}/{DISK}", self.directory)
    }
}

/// A repository on a folder, what it must hold, and its judges.
struct Place {
    folder: tempfile::TempDir,
    storage: Arc<dyn Storage>,
    restics: Vec<Restic>,
    points: Vec<Point>,
    password: Secret,
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("repository");
        let storage: Arc<dyn Storage> = Arc::new(LocalStorage::open(path.clone()).await.unwrap());
        a_repository(Arc::clone(&storage)).await;
        Self { folder, storage, restics: Restic::each(&path), points: Vec::new(), password: password() }
    }

    async fn open(&self) -> Repository {
        Repository::open_with(Arc::clone(&self.storage), &self.password, small_packs()).await.unwrap()
    }

    /// Captures a disk of a VM. Says how many chunks were new.
    async fn back_up(&mut self, directory: &'static str, disk: &[u8], chunk: usize) -> usize {
        let writer = self.open().await.writer(quick_writer()).await.unwrap();
        let (mut content, mut added) = (Vec::new(), 0);
        for plain in disk.chunks(chunk) {
            let id = ChunkId::of(plain);
            if !writer.contains(&id) {
                writer.add(encode(plain)).await.unwrap();
                added += 1;
            }
            content.push(id);
        }
        let size_bytes = disk.len() as u64;
        let file = NewFile { name: DISK.into(), size_bytes, content, mtime: a_time() };
        let point = NewRestorePoint {
            hostname: directory.into(),
            directory: directory.into(),
            ..a_point(vec![file])
        };
        let id = writer.commit(point).await.unwrap();
        self.points.push(Point { id, directory, disk: disk.to_vec(), is_long: chunk == SMALL_CHUNK });
        added
    }

    async fn forget(&mut self, number: usize) {
        self.open().await.forget(&self.points.remove(number).id).await.unwrap();
    }

    async fn prune(&self, options: PruneOptions) -> PruneReport {
        self.open().await.prune(&options, &|_| {}, &CancellationToken::new()).await.unwrap()
    }

    /// Everybody finds everything.
    async fn judge(&self, step: &str) {
        let repository = self.open().await;
        let cancel = CancellationToken::new();
        let report = repository.check(read_data(), &|_| {}, &cancel).await.unwrap();
        assert!(report.is_healthy(), "{step}: {report:?}");
        for point in &self.points {
            if point.is_long {
                // Each chunk once: most of them are zeros.
                let verified = repository.verify_restore_point(&point.id, &|_| {}, &cancel).await.unwrap();
                assert!(verified.is_healthy(), "{step}: {verified:?}");
            } else {
                assert!(
                    read_file(&repository, &point.id, &point.path()).await.unwrap() == point.disk,
                    "{step}"
                );
            }
        }
        // One after the other: restic 0.14 waits long for a lock that vanishes while it looks at it.
        for (number, restic) in self.restics.iter().enumerate() {
            restic.check();
            self.ask(restic, number, step);
        }
    }

    fn ask(&self, restic: &Restic, number: usize, step: &str) {
        let listed: BTreeSet<String> =
            restic.json(&["snapshots"]).as_array().map_or_else(BTreeSet::new, |points| {
                points.iter().map(|point| point["id"].as_str().unwrap().to_owned()).collect()
            });
        let expected: BTreeSet<String> = self.points.iter().map(|point| point.id.to_string()).collect();
        assert_eq!(listed, expected, "{step}: restic {number}");
        // Each restore point is asked of one of the two, now of this one and now of that.
        let turn = (number + step.len()) % 2;
        for point in self.points.iter().skip(turn).step_by(2) {
            let id = point.id.to_string();
            let disk = if point.is_long {
                restic.dump_segments(&id, &point.path())
            } else {
                restic.run(&["dump", &id, &point.path()])
            };
            assert!(disk == point.disk, "{step}: restic {number} dumps other bytes");
        }
        if let Some(newest) = self.points.last() {
            let disk = self.restore(restic, number, newest);
            assert!(disk == newest.disk, "{step}: restic {number} restores other bytes");
        }
    }

    /// A disk out of a folder that `restic restore` has filled.
    fn restore(&self, restic: &Restic, number: usize, point: &Point) -> Vec<u8> {
        let target = self.folder.path().join(format!("restored-{number}"));
        restic.run(&["restore", &point.id.to_string(), "--target", target.to_str().unwrap()]);
        let disk = target.join(point.directory).join(DISK);
        let pieces = "if [ -d \"$1\" ]; then for folder in \"$1\"/*; do cat \"$folder\"/*/*; done; else cat \"$1\"; fi";
        let restored = Command::new("sh").args(["-c", pieces, "sh"]).arg(disk).output().unwrap();
        std::fs::remove_dir_all(target).unwrap();
        restored.stdout
    }

    async fn files(&self, kind: FileKind) -> BTreeSet<FileId> {
        self.storage.list(kind).await.unwrap().into_iter().map(|entry| entry.id).collect()
    }

    /// Whether a password opens the repository. It is the one that restic is given from then on.
    fn assert_opens(&self, password: &str, opens: bool) {
        for restic in &self.restics {
            restic.set_password(password);
            assert_eq!(restic.try_run(&["snapshots"]).status.success(), opens, "{password}");
        }
    }
}

/// As a Hub prunes it, so many hours from now.
fn in_hours(hours: u64) -> PruneOptions {
    PruneOptions {
        now: Some(SystemTime::now() + Duration::from_hours(hours)),
        grace: Duration::from_hours(24),
        waste_ratio_max: 1.0,
        lock: quick_writer().lock,
        ..PruneOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_every_operation_two_stock_restics_find_nothing_wrong_and_give_the_same_bytes() {
    let mut place = Place::new().await;
    place.judge("init").await;
    back_up_and_prune(&mut place).await;
    let second = copy_to_a_second_place(&place).await;
    change_keys(&mut place).await;
    damage_and_repair(&mut place, &second).await;
    adopt_what_a_dead_writer_left(&mut place).await;
    place.forget(0).await;
    let report = place.prune(PruneOptions { exclusive: true, waste_ratio_max: 0.0, ..in_hours(0) }).await;
    assert!(report.deleted.packs > 0, "{report:?}");
    place.judge("exclusive prune").await;
    second.judge("the second repository at the end").await;
}

async fn back_up_and_prune(place: &mut Place) {
    let mut disk = a_disk(1, 1 << 20);
    place.back_up("vm-17", &disk, CHUNK_BYTES).await;
    place.judge("first backup").await;
    place.back_up("vm-18", &a_disk(2, (512 << 10) + 512), CHUNK_BYTES).await;
    place.judge("backup of another VM").await;
    fill(&mut disk[..600 << 10], 9, 0xff);
    let added = place.back_up("vm-17", &disk, CHUNK_BYTES).await;
    assert!((1..12).contains(&added), "{added}");
    place.judge("incremental backup").await;
    let mut long = vec![0; 16_700 * SMALL_CHUNK + 17];
    fill(&mut long[300 << 10..364 << 10], 3, 0xff);
    place.back_up("vm-19", &long, SMALL_CHUNK).await;
    place.judge("backup of a long disk").await;
    fill(&mut long[900 << 10..901 << 10], 4, 0xff);
    let added = place.back_up("vm-19", &long, SMALL_CHUNK).await;
    assert_eq!(added, 16);
    place.judge("incremental backup of a long disk").await;

    place.forget(0).await;
    place.judge("forget").await;
    let marked = place.prune(in_hours(0)).await.marked;
    assert!(marked.packs > 0);
    place.judge("prune that marks").await;
    let report = place.prune(in_hours(25)).await;
    assert_eq!(report.deleted, marked, "{report:?}");
    place.judge("prune that deletes").await;
    let report = place.prune(PruneOptions { waste_ratio_max: 0.0, ..in_hours(26) }).await;
    assert!(report.repacked.packs > 0 && report.copied.packs > 0, "{report:?}");
    place.judge("prune that repacks").await;
    assert!(place.prune(in_hours(51)).await.deleted.packs > 0);
    place.judge("prune that deletes what was repacked").await;
}

async fn copy_to_a_second_place(place: &Place) -> Place {
    let mut second = Place::new().await;
    let ids: Vec<_> = place.points.iter().map(|point| point.id).collect();
    let options = CopyOptions { lock: quick_writer().lock };
    for step in ["copy", "copy that finds everything there"] {
        let (from, to) = (place.open().await, second.open().await);
        let report = from.copy_to(&to, &ids, options, &|_| {}, &CancellationToken::new()).await.unwrap();
        let copies = place.points.iter().zip(report.points);
        second.points = copies.map(|(point, copy)| Point { id: copy.target, ..point.clone() }).collect();
        second.judge(step).await;
    }
    place.judge("copy, where it came from").await;
    second
}

async fn change_keys(place: &mut Place) {
    let repository = place.open().await;
    let lock = quick_writer().lock;
    let recovery = repository.add_key(&Secret::new("recovery"), FAST).await.unwrap();
    place.assert_opens("recovery", true);
    place.judge("a key is added").await;
    place.assert_opens(PASSWORD, true);
    repository.change_password(&Secret::new("changed"), FAST, lock).await.unwrap();
    place.password = Secret::new("changed");
    place.assert_opens(PASSWORD, false);
    place.assert_opens("changed", true);
    place.judge("the password is changed").await;
    repository.remove_key(&recovery, lock).await.unwrap();
    place.assert_opens("recovery", false);
    place.assert_opens("changed", true);
    place.judge("a key is removed").await;
}

async fn damage_and_repair(place: &mut Place, second: &Place) {
    let packs = place.storage.list(FileKind::Pack).await.unwrap();
    let pack = packs.into_iter().max_by_key(|pack| pack.size_bytes).unwrap();
    let mut content = place.storage.read(FileKind::Pack, &pack.id).await.unwrap().to_vec();
    content[100] ^= 1;
    place.storage.remove(FileKind::Pack, &pack.id).await.unwrap();
    place.storage.write(FileKind::Pack, &pack.id, content.into()).await.unwrap();
    let (repository, source) = (place.open().await, second.open().await);
    let options = RepairOptions { lock: quick_writer().lock, ..RepairOptions::default() };
    let cancel = CancellationToken::new();
    let report = repository.repair(Some(&source), options, &|_| {}, &cancel).await.unwrap();
    assert!(report.is_healthy() && report.healed_blobs == 1 && report.salvaged_blobs > 0, "{report:?}");
    place.judge("repair").await;
}

async fn adopt_what_a_dead_writer_left(place: &mut Place) {
    let (before, points) = (place.files(FileKind::Index).await, place.files(FileKind::Snapshot).await);
    let disk = a_disk(7, 512 << 10);
    place.back_up("vm-20", &disk, CHUNK_BYTES).await;
    place.points.pop();
    // Packs are all that it had written.
    for (kind, before) in [(FileKind::Snapshot, points), (FileKind::Index, before)] {
        for id in place.files(kind).await.difference(&before) {
            place.storage.remove(kind, id).await.unwrap();
        }
    }
    place.judge("a writer that died").await;
    let repository = place.open().await;
    let cancel = CancellationToken::new();
    let report = repository.adopt_orphan_packs(quick_writer().lock, &cancel).await.unwrap();
    assert!(report.packs > 0, "{report:?}");
    place.judge("adopt").await;
    assert_eq!(place.back_up("vm-20", &disk, CHUNK_BYTES).await, 0);
    place.judge("backup of what was adopted").await;
}
