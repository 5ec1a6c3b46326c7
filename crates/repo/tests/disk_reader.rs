//! Random reads of a disk of a restore point: right, shared, bounded, and few.

#![allow(clippy::unwrap_used, reason = "what fails while a test is prepared is a failed test")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use sendense_repo::{ChunkCache, DiskReader, Error, Repository};
use sendense_storage::{Capacity, FileEntry, FileId, FileKind, MemoryStorage, Result, Storage};
use support::{CHUNK_BYTES, a_disk, a_repository, capture};

const PATH: &str = "/vm-17/disk-2000.raw";

/// Counts and delays reads of packs.
#[derive(Debug)]
struct Counting {
    inner: MemoryStorage,
    delay: Duration,
    reads: AtomicU64,
}

#[async_trait]
impl Storage for Counting {
    fn location(&self) -> String {
        self.inner.location()
    }

    async fn create(&self) -> Result<()> {
        self.inner.create().await
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<FileEntry>> {
        self.inner.list(kind).await
    }

    async fn size(&self, kind: FileKind, id: &FileId) -> Result<u64> {
        self.inner.size(kind, id).await
    }

    async fn read(&self, kind: FileKind, id: &FileId) -> Result<Bytes> {
        self.inner.read(kind, id).await
    }

    async fn read_range(&self, kind: FileKind, id: &FileId, offset: u64, len: usize) -> Result<Bytes> {
        if kind == FileKind::Pack {
            self.reads.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(self.delay).await;
        }
        self.inner.read_range(kind, id, offset, len).await
    }

    async fn write(&self, kind: FileKind, id: &FileId, content: Bytes) -> Result<()> {
        self.inner.write(kind, id, content).await
    }

    async fn capacity(&self) -> Result<Option<Capacity>> {
        self.inner.capacity().await
    }

    async fn remove(&self, kind: FileKind, id: &FileId) -> Result<()> {
        self.inner.remove(kind, id).await
    }
}

struct Lab {
    storage: Arc<Counting>,
    repository: Repository,
    disk: Vec<u8>,
    point: sendense_repo::SnapshotId,
}

impl Lab {
    async fn new(size_bytes: usize, delay: Duration) -> Self {
        let storage = Arc::new(Counting { inner: MemoryStorage::new(), delay, reads: AtomicU64::new(0) });
        let repository = a_repository(Arc::clone(&storage) as _).await;
        let disk = a_disk(1, size_bytes);
        let (point, _) = capture(&repository, &[("disk-2000.raw", &disk)]).await.unwrap();
        Self { storage, repository, disk, point }
    }

    async fn open(&self, cache: &Arc<ChunkCache>) -> DiskReader {
        let reader = self.repository.open_disk(&self.point, PATH, cache).await.unwrap();
        self.storage.reads.store(0, Ordering::Relaxed);
        reader
    }

    fn reads(&self) -> u64 {
        self.storage.reads.load(Ordering::Relaxed)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_read_gives_the_bytes_of_the_disk() {
    let lab = Lab::new(40 * CHUNK_BYTES + 1234, Duration::ZERO).await;
    let cache = ChunkCache::new(8 * CHUNK_BYTES);
    let reader = lab.open(&cache).await;
    assert_eq!(reader.size_bytes(), lab.disk.len() as u64);
    let mut state = 7_usize;
    for _ in 0..300 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let offset = (state >> 20) % lab.disk.len();
        let length = ((state >> 7) % (5 * CHUNK_BYTES)).min(lab.disk.len() - offset);
        let found = reader.read(offset as u64, length).await.unwrap();
        assert!(found == lab.disk[offset..offset + length], "{length} bytes at {offset}");
        assert!(cache.bytes() <= cache.bytes_max());
    }
    assert!(reader.read(0, lab.disk.len()).await.unwrap() == lab.disk);
    assert_eq!(reader.read(lab.disk.len() as u64, 0).await.unwrap().len(), 0);
    for (offset, length) in [(lab.disk.len() as u64, 1), (0, lab.disk.len() + 1), (u64::MAX, 2)] {
        assert!(matches!(reader.read(offset, length).await, Err(Error::Unacceptable { .. })));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_for_one_chunk_at_the_same_time_are_one_read_for_all_readers_of_a_cache() {
    let lab = Lab::new(6 * CHUNK_BYTES, Duration::from_millis(50)).await;
    let cache = ChunkCache::new(64 << 20);
    let readers = [lab.open(&cache).await, lab.open(&cache).await];
    let offset = CHUNK_BYTES as u64;
    let reads = (0..40).map(|number| readers[number % 2].read(offset + number as u64, 100));
    for (number, found) in futures::future::join_all(reads).await.into_iter().enumerate() {
        assert!(found.unwrap() == lab.disk[CHUNK_BYTES + number..][..100]);
    }
    assert_eq!(lab.reads(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_given_up_takes_nothing_from_the_others() {
    let lab = Lab::new(3 * CHUNK_BYTES, Duration::from_millis(80)).await;
    let cache = ChunkCache::new(64 << 20);
    let reader = lab.open(&cache).await;
    let first = tokio::spawn({
        let reader = reader.clone();
        async move { reader.read(CHUNK_BYTES as u64, 10).await }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    let second = tokio::spawn({
        let reader = reader.clone();
        async move { reader.read(CHUNK_BYTES as u64, 10).await }
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    first.abort();
    assert!(second.await.unwrap().unwrap() == lab.disk[CHUNK_BYTES..][..10]);
    assert_eq!(lab.reads(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn neighbours_are_read_together_and_holes_not_at_all() {
    let lab = Lab::new(48 * CHUNK_BYTES, Duration::ZERO).await;
    let reader = lab.open(&ChunkCache::new(64 << 20)).await;
    assert!(reader.read(0, lab.disk.len()).await.unwrap() == lab.disk);
    assert!(lab.reads() <= 16, "{} reads for 32 chunks of data", lab.reads());
    let reader = lab.open(&ChunkCache::new(64 << 20)).await;
    let chunk = CHUNK_BYTES as u64;
    assert_eq!(reader.read(3 * chunk + 5, 1000).await.unwrap(), vec![0; 1000]);
    let extents = reader.extents(10, 4 * chunk).unwrap();
    let holes: Vec<_> = extents.iter().map(|one| (one.offset, one.length, one.is_hole)).collect();
    assert_eq!(
        holes,
        [(10, chunk - 10, true), (chunk, 2 * chunk, false), (3 * chunk, chunk, true), (4 * chunk, 10, false)]
    );
    assert_eq!(lab.reads(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_on_is_read_ahead_for_and_who_jumps_is_not() {
    let delay = Duration::from_millis(10);
    let lab = Lab::new(300 * CHUNK_BYTES, delay).await;
    let reader = lab.open(&ChunkCache::new(256 << 20)).await;
    let begin = std::time::Instant::now();
    for offset in (0..lab.disk.len()).step_by(CHUNK_BYTES) {
        assert!(reader.read(offset as u64, CHUNK_BYTES).await.unwrap() == lab.disk[offset..][..CHUNK_BYTES]);
    }
    let waited = begin.elapsed();
    assert!(waited < delay * 100, "{waited:?}: 200 chunks of data would be 2 s without reading ahead");

    let reader = lab.open(&ChunkCache::new(256 << 20)).await;
    for number in 0..40 {
        let chunk = (number * 97 % 100) * 3 + 1;
        reader.read((chunk * CHUNK_BYTES) as u64, 4096).await.unwrap();
    }
    tokio::time::sleep(delay * 3).await;
    assert!(lab.reads() <= 44, "{} reads", lab.reads());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_chunk_is_an_error_of_its_reader_and_of_no_other_place() {
    let lab = Lab::new(9 * CHUNK_BYTES, Duration::ZERO).await;
    let reader = lab.open(&ChunkCache::new(64 << 20)).await;
    let mut damaged = 0;
    for pack in lab.storage.list(FileKind::Pack).await.unwrap() {
        let mut content = lab.storage.read(FileKind::Pack, &pack.id).await.unwrap().to_vec();
        let middle = content.len() / 2;
        content[middle] ^= 1;
        lab.storage.remove(FileKind::Pack, &pack.id).await.unwrap();
        lab.storage.write(FileKind::Pack, &pack.id, content.into()).await.unwrap();
    }
    for chunk in 0..9 {
        let found = reader.read((chunk * CHUNK_BYTES) as u64, CHUNK_BYTES).await;
        match found {
            Ok(found) => assert!(found == lab.disk[chunk * CHUNK_BYTES..][..CHUNK_BYTES]),
            Err(Error::DamagedChunk { .. }) => damaged += 1,
            Err(error) => panic!("{error}"),
        }
    }
    assert!((1..6).contains(&damaged), "{damaged}");
}
