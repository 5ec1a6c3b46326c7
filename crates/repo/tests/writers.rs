//! Writers: alone, beside each other, interrupted.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]

mod support;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sendense_repo::{
    Added, CheckOptions, ChunkId, EncodedChunk, Error, NewFile, Payload, Repository, SnapshotId, Tuning,
};
use sendense_storage::{Capacity, FileEntry, FileId, FileKind, MemoryStorage, Storage};
use support::*;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

async fn packs_len(storage: &dyn Storage) -> usize {
    storage.list(FileKind::Pack).await.unwrap().len()
}

fn a_file(name: &str, size_bytes: u64, content: Vec<ChunkId>) -> NewFile {
    NewFile { name: name.into(), size_bytes, content, mtime: a_time() }
}

#[tokio::test]
async fn a_restore_point_says_what_it_was_made_with() {
    let repository = a_repository(Arc::new(MemoryStorage::new())).await;
    let (parent, _) = capture(&repository, &[]).await.unwrap();
    let writer = repository.writer(quick_writer()).await.unwrap();
    let mut point = a_point(vec![]);
    point.parent = Some(parent);
    point.time += Duration::new(1, 123_456_789);
    let id = writer.commit(point.clone()).await.unwrap();
    let made = repository.restore_point(&id).await.unwrap();
    assert_eq!((made.time, made.parent, made.tags), (point.time, Some(parent), point.tags));
    assert_eq!(
        (made.hostname, made.username, made.paths),
        (point.hostname, point.username, vec!["/vm-17".into()])
    );
    assert_eq!(repository.restore_points().await.unwrap().len(), 2);
}

#[tokio::test]
async fn an_unchanged_disk_adds_no_chunk_and_an_empty_one_neither() {
    let repository = a_repository(Arc::new(MemoryStorage::new())).await;
    let disk = a_disk(1, 1 << 20);
    let files: [(&str, &[u8]); 2] = [("disk-2000.raw", &disk), ("disk-2001.raw", &[])];
    let (_, added) = capture(&repository, &files).await.unwrap();
    assert_eq!(added, 11);
    let (point, added) = capture(&repository, &files).await.unwrap();
    assert_eq!(added, 0);
    assert!(read_file(&repository, &point, "vm-17/disk-2000.raw").await.unwrap() == disk);
    assert!(read_file(&repository, &point, "/vm-17/disk-2001.raw").await.unwrap().is_empty());
    let missing = repository.disk_content(&point, "/vm-17/disk-2002.raw").await;
    assert!(matches!(missing, Err(Error::FileMissing { .. })));
    let a_directory = repository.load_file(&point, "/vm-17").await;
    assert!(matches!(a_directory, Err(Error::FileMissing { .. })));
}

#[tokio::test]
async fn a_chunk_that_is_on_its_way_is_not_added_again_and_not_read_yet() {
    let repository = a_repository(Arc::new(MemoryStorage::new())).await;
    let writer = repository.writer(quick_writer()).await.unwrap();
    let chunk = encode(&a_disk(1, CHUNK_BYTES * 3)[CHUNK_BYTES..CHUNK_BYTES * 2]);
    assert!(matches!(writer.add(chunk.clone()).await.unwrap(), Added::Stored { .. }));
    assert_eq!(writer.add(chunk.clone()).await.unwrap(), Added::AlreadyThere);
    assert!(repository.contains(&chunk.id));
    assert_eq!(repository.plain_bytes_of(&chunk.id), Some(CHUNK_BYTES as u64));
    assert!(matches!(repository.read_chunk(&chunk.id).await, Err(Error::ChunkMissing { .. })));
    writer.flush().await.unwrap();
    assert_eq!(repository.plain_bytes_of(&chunk.id), Some(CHUNK_BYTES as u64));
    assert_eq!(ChunkId::of(&repository.read_chunk(&chunk.id).await.unwrap()), chunk.id);
    writer.abort().await.unwrap();
}

#[tokio::test]
async fn what_contradicts_itself_is_refused_and_the_writer_goes_on() {
    let storage = Arc::new(MemoryStorage::new());
    let repository = a_repository(storage.clone()).await;
    let writer = repository.writer(quick_writer()).await.unwrap();
    let refused = |error: &Error| matches!(error, Error::Unacceptable { .. });
    let wrong_length = EncodedChunk {
        id: ChunkId::of(b"abc"),
        plain_bytes: 4,
        payload: Payload::Plain(Bytes::from_static(b"abc")),
    };
    assert!(refused(&writer.add(wrong_length).await.unwrap_err()));
    assert!(refused(&writer.add_plain(Bytes::new()).await.unwrap_err()));
    let mut too_long = vec![0; 17 << 20];
    fill(&mut too_long, 1, 0xff);
    assert!(refused(&writer.add_plain(too_long.into()).await.unwrap_err()));

    let abc = writer.add_plain(Bytes::from_static(b"abc")).await.unwrap();
    assert!(refused(&writer.commit(a_point(vec![a_file("f", 4, vec![abc])])).await.unwrap_err()));
    let twice = vec![a_file("f", 3, vec![abc]), a_file("f", 3, vec![abc])];
    assert!(refused(&writer.commit(a_point(twice)).await.unwrap_err()));
    for name in ["", ".", "..", "a/b"] {
        assert!(
            refused(&writer.commit(a_point(vec![a_file(name, 3, vec![abc])])).await.unwrap_err()),
            "{name}"
        );
    }
    let unknown = ChunkId::of(b"unknown");
    let error = writer.commit(a_point(vec![a_file("f", 3, vec![unknown])])).await.unwrap_err();
    assert!(matches!(error, Error::ChunkMissing { id } if id == unknown));
    assert!(storage.list(FileKind::Snapshot).await.unwrap().is_empty());

    let point = writer.commit(a_point(vec![a_file("f", 6, vec![abc, abc])])).await.unwrap();
    assert_eq!(repository.load_file(&point, "/vm-17/f").await.unwrap(), "abcabc");
}

#[tokio::test]
async fn a_writer_is_closed_after_commit_and_after_abort_and_its_lock_is_gone() {
    let storage = Arc::new(MemoryStorage::new());
    let repository = a_repository(storage.clone()).await;
    let committed = repository.writer(quick_writer()).await.unwrap();
    committed.commit(a_point(vec![])).await.unwrap();
    assert!(matches!(committed.commit(a_point(vec![])).await, Err(Error::Closed)));
    assert!(matches!(committed.abort().await, Err(Error::Closed)));
    let aborted = repository.writer(quick_writer()).await.unwrap();
    assert_eq!(storage.list(FileKind::Lock).await.unwrap().len(), 1);
    aborted.abort().await.unwrap();
    assert!(matches!(aborted.commit(a_point(vec![])).await, Err(Error::Closed)));
    assert!(storage.list(FileKind::Lock).await.unwrap().is_empty());
    assert_eq!(repository.restore_points().await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_aborted_capture_is_continued_without_sending_again() {
    let storage = Arc::new(MemoryStorage::new());
    let disk = a_disk(1, 2 << 20);
    let writer = a_repository(storage.clone()).await.writer(quick_writer()).await.unwrap();
    add_disk(&writer, "disk-2000.raw", &disk[..1 << 20]).await.unwrap();
    writer.abort().await.unwrap();
    let (_, added) = capture(&reopen(storage).await, &[("disk-2000.raw", &disk)]).await.unwrap();
    assert_eq!(added, 22 - 11);
}

#[tokio::test]
async fn a_long_capture_writes_index_files_on_the_way_so_that_a_dead_one_is_continued() {
    let storage = Arc::new(MemoryStorage::new());
    a_repository(storage.clone()).await;
    let tuning = Tuning { index_every_bytes: 300 << 10, pack_bytes: 100 << 10, ..small_packs() };
    let repository = Repository::open_with(storage.clone(), &password(), tuning).await.unwrap();
    let writer = repository.writer(quick_writer()).await.unwrap();
    let disk = a_disk(1, 4 << 20);
    add_disk(&writer, "disk-2000.raw", &disk).await.unwrap();
    let indexed = loop {
        let indexed = storage.list(FileKind::Index).await.unwrap().len();
        if indexed >= 3 {
            break indexed;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    };
    assert!(indexed < packs_len(&*storage).await);
    // Another process knows those chunks without looking into packs.
    assert!(reopen(storage.clone()).await.blobs_len() > 10);
    writer.abort().await.unwrap();
}

#[tokio::test]
async fn a_commit_whose_lock_was_removed_fails_and_lists_nothing() {
    let storage = Arc::new(MemoryStorage::new());
    let repository = a_repository(storage.clone()).await;
    let writer = repository.writer(quick_writer()).await.unwrap();
    for lock in storage.list(FileKind::Lock).await.unwrap() {
        storage.remove(FileKind::Lock, &lock.id).await.unwrap();
    }
    let error = writer.commit(a_point(vec![])).await.unwrap_err();
    assert!(matches!(error, Error::LockLost) && error.is_temporary());
    assert!(storage.list(FileKind::Snapshot).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_commit_whose_packs_were_pruned_by_force_fails_and_its_repetition_heals() {
    let storage = Arc::new(MemoryStorage::new());
    let repository = a_repository(storage.clone()).await;
    let disk = a_disk(1, 1 << 20);
    capture(&repository, &[("disk-2000.raw", &disk)]).await.unwrap();
    let writer = repository.writer(quick_writer()).await.unwrap();
    let (file, added) = add_disk(&writer, "disk-2000.raw", &disk).await.unwrap();
    assert_eq!(added, 0);
    // A tool that ignores locks removes everything.
    for kind in [FileKind::Pack, FileKind::Index, FileKind::Snapshot] {
        for entry in storage.list(kind).await.unwrap() {
            storage.remove(kind, &entry.id).await.unwrap();
        }
    }
    let error = writer.commit(a_point(vec![file])).await.unwrap_err();
    assert!(
        matches!(error, Error::ChunkMissing { .. } | Error::PackMissing { .. }) && error.is_temporary(),
        "{error:?}"
    );
    assert!(storage.list(FileKind::Snapshot).await.unwrap().is_empty());
    writer.abort().await.unwrap();
    let (point, added) = capture(&repository, &[("disk-2000.raw", &disk)]).await.unwrap();
    assert_eq!(added, 11);
    assert!(read_file(&repository, &point, "/vm-17/disk-2000.raw").await.unwrap() == disk);
}

/// A storage whose writes of packs wait until they are let through.
#[derive(Debug)]
struct Gate {
    inner: MemoryStorage,
    packs_allowed: Semaphore,
}

#[async_trait]
impl Storage for Gate {
    fn location(&self) -> String {
        self.inner.location()
    }
    async fn create(&self) -> sendense_storage::Result<()> {
        self.inner.create().await
    }
    async fn list(&self, kind: FileKind) -> sendense_storage::Result<Vec<FileEntry>> {
        self.inner.list(kind).await
    }
    async fn size(&self, kind: FileKind, id: &FileId) -> sendense_storage::Result<u64> {
        self.inner.size(kind, id).await
    }
    async fn read(&self, kind: FileKind, id: &FileId) -> sendense_storage::Result<Bytes> {
        self.inner.read(kind, id).await
    }
    async fn read_range(
        &self,
        kind: FileKind,
        id: &FileId,
        offset: u64,
        len: usize,
    ) -> sendense_storage::Result<Bytes> {
        self.inner.read_range(kind, id, offset, len).await
    }
    async fn write(&self, kind: FileKind, id: &FileId, content: Bytes) -> sendense_storage::Result<()> {
        if kind == FileKind::Pack {
            self.packs_allowed.acquire().await.unwrap().forget();
        }
        self.inner.write(kind, id, content).await
    }
    async fn remove(&self, kind: FileKind, id: &FileId) -> sendense_storage::Result<()> {
        self.inner.remove(kind, id).await
    }
    async fn capacity(&self) -> sendense_storage::Result<Option<Capacity>> {
        self.inner.capacity().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_storage_holds_up_the_writers_at_the_limit_of_memory() {
    let gate = Arc::new(Gate { inner: MemoryStorage::new(), packs_allowed: Semaphore::new(0) });
    a_repository(gate.clone()).await;
    let tuning = Tuning { pack_bytes: 1 << 20, memory_bytes: 20 << 20, threads: 2, ..Tuning::default() };
    let repository = Repository::open_with(gate.clone(), &password(), tuning).await.unwrap();
    let writer = Arc::new(repository.writer(quick_writer()).await.unwrap());
    let mut chunk = vec![0; 1 << 20];
    let tasks: Vec<_> = (0..40_u64)
        .map(|number| {
            fill(&mut chunk, number, 0xff);
            let (writer, chunk) = (Arc::clone(&writer), encode(&chunk));
            tokio::spawn(async move { writer.add(chunk).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let accepted = tasks.iter().filter(|task| task.is_finished()).count();
    assert!((15..=20).contains(&accepted), "{accepted} MiB of 20 were accepted");
    gate.packs_allowed.add_permits(1000);
    for task in tasks {
        assert!(matches!(task.await.unwrap().unwrap(), Added::Stored { .. }));
    }
    writer.flush().await.unwrap();
    assert_eq!(repository.blobs_len(), 40);
    writer.abort().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_add_leaves_nothing_claimed() {
    let gate = Arc::new(Gate { inner: MemoryStorage::new(), packs_allowed: Semaphore::new(0) });
    a_repository(gate.clone()).await;
    let tuning = Tuning { pack_bytes: 1 << 20, memory_bytes: 1, threads: 1, ..Tuning::default() };
    let repository = Repository::open_with(gate.clone(), &password(), tuning).await.unwrap();
    let writer = repository.writer(quick_writer()).await.unwrap();
    let chunks: Vec<_> = (0..30_u64)
        .map(|number| {
            let mut chunk = vec![0; 1 << 20];
            fill(&mut chunk, number, 0xff);
            encode(&chunk)
        })
        .collect();
    let mut cancelled = 0;
    for chunk in &chunks {
        cancelled += usize::from(
            tokio::time::timeout(Duration::from_millis(20), writer.add(chunk.clone())).await.is_err(),
        );
    }
    assert!(cancelled > 5, "{cancelled}");
    gate.packs_allowed.add_permits(1000);
    for chunk in &chunks {
        writer.add(chunk.clone()).await.unwrap();
    }
    let file = a_file("disk-2000.raw", 30 << 20, chunks.iter().map(|chunk| chunk.id).collect());
    let point = writer.commit(a_point(vec![file])).await.unwrap();
    assert_eq!(repository.disk_content(&point, "/vm-17/disk-2000.raw").await.unwrap().chunk_ids.len(), 30);
    // 30 chunks and two trees: none was stored twice.
    assert_eq!(repository.blobs_len(), 32);
}

/// How a capture of the model ends.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Commit,
    Abort,
    Drop,
}

/// One capture in a crowd: a disk made of chunks that all captures draw from one pool.
async fn captured(
    repository: Repository,
    number: u64,
    chunk_numbers: Vec<u64>,
    ending: Ending,
) -> Option<(SnapshotId, Vec<u8>)> {
    let disk: Vec<u8> = chunk_numbers.iter().flat_map(|number| a_chunk(*number)).collect();
    let writer = repository.writer(quick_writer()).await.unwrap();
    let (mut file, _) = add_disk(&writer, "disk-2000.raw", &disk).await.unwrap();
    // Every capture has trees of its own.
    file.mtime += Duration::from_secs(number);
    match ending {
        Ending::Commit => Some((writer.commit(a_point(vec![file])).await.unwrap(), disk)),
        Ending::Abort => {
            writer.abort().await.unwrap();
            None
        }
        Ending::Drop => None,
    }
}

fn a_chunk(number: u64) -> Vec<u8> {
    let mut chunk = vec![0; CHUNK_BYTES];
    fill(&mut chunk, number, if number.is_multiple_of(2) { 0xff } else { 0x07 });
    chunk
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_beside_each_other_store_no_chunk_twice_and_every_point_is_whole() {
    for seed in 0..15 {
        let mut random = StdRng::seed_from_u64(seed);
        let storage = Arc::new(MemoryStorage::new());
        let repository = a_repository(storage.clone()).await;
        let mut points = HashMap::new();
        for round in 0..3 {
            let captures: Vec<_> = (0..6)
                .map(|number| {
                    let numbers =
                        (0..random.random_range(1..25)).map(|_| random.random_range(0..40)).collect();
                    let ending = [Ending::Commit, Ending::Commit, Ending::Abort, Ending::Drop]
                        [random.random_range(0..4)];
                    tokio::spawn(captured(repository.clone(), round * 6 + number, numbers, ending))
                })
                .collect();
            for capture in captures {
                points.extend(capture.await.unwrap());
            }
        }
        // What dropped writers left becomes durable with the next flush.
        repository.writer(quick_writer()).await.unwrap().abort().await.unwrap();
        for repository in [repository, reopen(storage.clone()).await] {
            let listed = repository.restore_points().await.unwrap();
            assert_eq!(listed.len(), points.len());
            for (id, disk) in &points {
                assert!(
                    read_file(&repository, id, "/vm-17/disk-2000.raw").await.unwrap() == *disk,
                    "seed {seed}"
                );
            }
            let report = repository
                .check(
                    CheckOptions { read_data: true, ..CheckOptions::default() },
                    &|_| {},
                    &CancellationToken::new(),
                )
                .await;
            let report = report.unwrap();
            assert!(report.is_healthy() && report.orphan_packs == 0, "seed {seed}: {report:?}");
            let trees = points.len() * 2;
            let chunks =
                (0..40).filter(|number| repository.contains(&ChunkId::of(&a_chunk(*number)))).count();
            assert_eq!(repository.blobs_len(), chunks + trees, "seed {seed}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_processes_on_one_repository_do_not_disturb_each_other() {
    let storage = Arc::new(MemoryStorage::new());
    a_repository(storage.clone()).await;
    let (one, other) = (reopen(storage.clone()).await, reopen(storage.clone()).await);
    let tasks = [one.clone(), other.clone()].map(|repository| {
        tokio::spawn(async move {
            let mut points = Vec::new();
            for seed in 0..5 {
                let disk = a_disk(seed, 1 << 20);
                points.push((capture(&repository, &[("disk-2000.raw", &disk)]).await.unwrap().0, disk));
            }
            points
        })
    });
    for task in tasks {
        for (id, disk) in task.await.unwrap() {
            for repository in [&one, &other] {
                assert!(read_file(repository, &id, "/vm-17/disk-2000.raw").await.unwrap() == disk);
            }
        }
    }
}
