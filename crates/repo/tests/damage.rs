//! A chunk that was found damaged is relied on by nobody: it is stored again, and what needed it is whole again.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use sendense_repo::{
    CheckOptions, CheckReport, ChunkId, Error, Problem, PruneOptions, RepairOptions, RepairReport,
    Repository, SnapshotId, Standing,
};
use sendense_storage::{
    FileId, FileKind, LocalStorage, MemoryStorage, ProtectionMode, ProtectionPolicy, Storage,
};
use support::restic::Restic;
use support::*;
use tokio_util::sync::CancellationToken;

const DISK: &str = "disk-2000.raw";
const PATH: &str = "/vm-17/disk-2000.raw";

/// A restore point of which one chunk is damaged in its pack.
struct Hurt {
    storage: Arc<dyn Storage>,
    point: SnapshotId,
    disk: Vec<u8>,
    pack: FileId,
    /// The pack as it was.
    whole: Vec<u8>,
}

impl Hurt {
    async fn in_place(storage: Arc<dyn Storage>) -> Self {
        let repository = a_repository(storage.clone()).await;
        let disk = a_disk(1, 1 << 20);
        let (point, _) = capture(&repository, &[(DISK, &disk)]).await.unwrap();
        let packs = storage.list(FileKind::Pack).await.unwrap();
        let pack = packs.into_iter().max_by_key(|pack| pack.size_bytes).unwrap().id;
        let whole = storage.read(FileKind::Pack, &pack).await.unwrap().to_vec();
        let hurt = Self { storage, point, disk, pack, whole };
        hurt.flip().await;
        hurt
    }

    async fn new() -> Self {
        Self::in_place(Arc::new(MemoryStorage::new())).await
    }

    async fn flip(&self) {
        let mut content = self.whole.clone();
        content[100] ^= 1;
        self.put(content).await;
    }

    async fn put(&self, content: Vec<u8>) {
        self.storage.remove(FileKind::Pack, &self.pack).await.unwrap();
        self.storage.write(FileKind::Pack, &self.pack, content.into()).await.unwrap();
    }

    async fn open(&self) -> Repository {
        reopen(self.storage.clone()).await
    }

    async fn index_files(&self) -> usize {
        self.storage.list(FileKind::Index).await.unwrap().len()
    }
}

async fn check(repository: &Repository, read_data: bool) -> CheckReport {
    let options = CheckOptions { read_data, ..CheckOptions::default() };
    repository.check(options, &|_| {}, &CancellationToken::new()).await.unwrap()
}

async fn repair(repository: &Repository) -> RepairReport {
    let options = RepairOptions { lock: quick_writer().lock, ..RepairOptions::default() };
    repository.repair(None, options, &|_| {}, &CancellationToken::new()).await.unwrap()
}

fn damaged_chunk(report: &CheckReport) -> ChunkId {
    let of_chunk = |problem: &Problem| match problem {
        Problem::BlobDamaged { id, .. } => Some(*id),
        _ => None,
    };
    report.problems.iter().find_map(of_chunk).unwrap()
}

async fn assert_readable(repository: &Repository, point: &SnapshotId, disk: &[u8]) {
    assert!(read_file(repository, point, PATH).await.unwrap() == disk);
}

/// How a damaged chunk comes to be known.
#[derive(Clone, Copy, Debug)]
enum Finder {
    Check,
    Verify,
    Reader,
}

impl Finder {
    async fn run(self, repository: &Repository, point: &SnapshotId) {
        let cancel = CancellationToken::new();
        match self {
            Self::Check => assert!(!check(repository, true).await.is_healthy()),
            Self::Verify => {
                let report = repository.verify_restore_point(point, &|_| {}, &cancel).await.unwrap();
                assert_eq!(report.damaged_paths, [PATH]);
            }
            Self::Reader => {
                let read = read_file(repository, point, PATH).await;
                assert!(matches!(read, Err(Error::DamagedChunk { .. })), "{read:?}");
                repository.record_damage().await.unwrap();
            }
        }
    }
}

#[tokio::test]
async fn whoever_finds_it_the_next_capture_stores_it_again_here_and_in_the_next_process() {
    for finder in [Finder::Check, Finder::Verify, Finder::Reader] {
        for is_reopened in [false, true] {
            let hurt = Hurt::new().await;
            let mut repository = hurt.open().await;
            finder.run(&repository, &hurt.point).await;
            if is_reopened {
                repository = hurt.open().await;
            }
            let found = check(&repository, false).await;
            assert_eq!(found.damaged_restore_points.len(), 1, "{finder:?}: it is known without reading");

            let (second, added) = capture(&repository, &[(DISK, &hurt.disk)]).await.unwrap();
            assert_eq!(added, 1, "{finder:?}");
            for point in [hurt.point, second] {
                assert_readable(&repository, &point, &hurt.disk).await;
                assert_readable(&hurt.open().await, &point, &hurt.disk).await;
                let cancel = CancellationToken::new();
                let verified = repository.verify_restore_point(&point, &|_| {}, &cancel).await.unwrap();
                assert!(verified.is_healthy(), "{finder:?}: {verified:?}");
            }
            assert!(check(&hurt.open().await, false).await.is_healthy(), "{finder:?}");
        }
    }
}

#[tokio::test]
async fn a_restore_point_that_relies_on_it_is_refused() {
    let hurt = Hurt::new().await;
    let repository = hurt.open().await;
    let writer = repository.writer(quick_writer()).await.unwrap();
    let (file, added) = add_disk(&writer, DISK, &hurt.disk).await.unwrap();
    assert_eq!(added, 0);
    let chunk = damaged_chunk(&check(&repository, true).await);
    assert_eq!(repository.standing_of(&chunk), Standing::Lost);
    let refused = writer.commit(a_point(vec![file])).await;
    assert!(matches!(refused, Err(Error::ChunkMissing { id }) if id == chunk), "{refused:?}");
    assert_eq!(repository.restore_points().await.unwrap().len(), 1);
    // A repetition brings it.
    let (_, added) = capture(&repository, &[(DISK, &hurt.disk)]).await.unwrap();
    assert_eq!(added, 1);
}

#[tokio::test]
async fn so_is_one_when_another_process_has_found_it_meanwhile() {
    let hurt = Hurt::new().await;
    let repository = hurt.open().await;
    let writer = repository.writer(quick_writer()).await.unwrap();
    let (file, _) = add_disk(&writer, DISK, &hurt.disk).await.unwrap();
    check(&hurt.open().await, true).await;
    let refused = writer.commit(a_point(vec![file])).await;
    assert!(matches!(refused, Err(Error::ChunkMissing { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_reading_that_finds_it_whole_again_takes_it_back() {
    for is_reopened in [false, true] {
        let hurt = Hurt::new().await;
        let before = hurt.index_files().await;
        let mut repository = hurt.open().await;
        check(&repository, true).await;
        assert_eq!(hurt.index_files().await, before + 1);
        hurt.put(hurt.whole.clone()).await;
        if is_reopened {
            repository = hurt.open().await;
        }
        assert!(check(&repository, true).await.is_healthy());
        assert_eq!(hurt.index_files().await, before, "nothing is left of it");
        assert!(check(&hurt.open().await, false).await.is_healthy());
        let (_, added) = capture(&repository, &[(DISK, &hurt.disk)]).await.unwrap();
        assert_eq!(added, 0);
    }
}

#[tokio::test]
async fn a_prune_keeps_the_whole_place_and_a_repair_needs_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("repository");
    let hurt = Hurt::in_place(Arc::new(LocalStorage::open(&place).await.unwrap())).await;
    check(&hurt.open().await, true).await;
    let repository = hurt.open().await;
    let (second, _) = capture(&repository, &[(DISK, &hurt.disk)]).await.unwrap();
    let prune = PruneOptions {
        grace: Duration::ZERO,
        waste_ratio_max: 0.0,
        lock: quick_writer().lock,
        ..PruneOptions::default()
    };
    // The first marks and copies, the second deletes, the third finds the record void.
    for _ in 0..3 {
        repository.prune(&prune, &|_| {}, &CancellationToken::new()).await.unwrap();
        for point in [hurt.point, second] {
            assert_readable(&hurt.open().await, &point, &hurt.disk).await;
        }
    }
    let report = check(&hurt.open().await, true).await;
    assert!(report.is_healthy(), "{report:?}");
    assert!(!hurt.storage.exists(FileKind::Pack, &hurt.pack).await.unwrap());
    for restic in Restic::each(&place) {
        restic.run(&["check", "--read-data"]);
    }
    assert_eq!(hurt.index_files().await, 2, "of the copies and of the second capture; the record is gone");
}

#[tokio::test]
async fn a_repair_says_which_index_files_are_protected_and_relies_on_none_of_what_they_say() {
    let policy = ProtectionPolicy { mode: ProtectionMode::Compliance, window: Duration::from_hours(24) };
    let storage = Arc::new(MemoryStorage::with_protection(policy));
    let repository = a_repository(storage.clone()).await;
    let disk = a_disk(1, 1 << 20);
    let (point, _) = capture(&repository, &[(DISK, &disk)]).await.unwrap();
    let packs = storage.list(FileKind::Pack).await.unwrap();
    let pack = packs.into_iter().max_by_key(|pack| pack.size_bytes).unwrap().id;
    storage.spoil(FileKind::Pack, &pack, |content| content[100] ^= 1);

    let repository = reopen(storage.clone()).await;
    let report = repair(&repository).await;
    assert_eq!((report.damaged_packs, report.protected_index_files), (1, 1), "{report:?}");
    assert!(report.salvaged_blobs > 0);
    assert!(report.problems.iter().any(|problem| matches!(problem, Problem::BlobDamaged { .. })));
    assert_eq!(report.damaged_restore_points[0].id, point);
    // What was salvaged and what was lost is known to the next process too.
    let repository = reopen(storage.clone()).await;
    let (second, added) = capture(&repository, &[(DISK, &disk)]).await.unwrap();
    assert_eq!(added, 1);
    for point in [point, second] {
        assert_readable(&reopen(storage.clone()).await, &point, &disk).await;
    }
    assert!(check(&reopen(storage.clone()).await, false).await.is_healthy());
}
