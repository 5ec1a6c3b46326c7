//! Measures the crate without disks and networks: `cargo run --release -p sendense-repo --example throughput`.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::cast_precision_loss, reason = "a measuring tool")]

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use rand::{RngCore, SeedableRng, rngs::StdRng};
use sendense_repo::{
    ChunkId, EncodedChunk, InitOptions, Kdf, NewFile, NewRestorePoint, Payload, Repository, Secret,
    SnapshotId, Tuning, WriterOptions,
};
use sendense_storage::{Capacity, FileEntry, FileId, FileKind, LocalStorage, MemoryStorage, Result, Storage};

const CHUNK_BYTES: usize = 1 << 20;

fn main() {
    let threads: usize = std::env::args().nth(1).map_or(1, |text| text.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(chunks(threads));
    runtime.block_on(large_index());
}

fn tuning(threads: usize) -> Tuning {
    Tuning { threads, ..Tuning::default() }
}

fn options(threads: usize) -> InitOptions {
    InitOptions { kdf: Kdf::Fixed { log_n: 4, r: 8, p: 1 }, tuning: tuning(threads) }
}

/// Wall and processor time since the start.
struct Watch {
    start: Instant,
    cpu_seconds: f64,
}

impl Watch {
    fn start() -> Self {
        Self { start: Instant::now(), cpu_seconds: cpu_seconds() }
    }

    fn seconds(&self) -> f64 {
        self.start.elapsed().as_secs_f64()
    }

    fn cpu_seconds(&self) -> f64 {
        cpu_seconds() - self.cpu_seconds
    }

    fn report(&self, what: &str, bytes: usize) {
        let mb = bytes as f64 / 1e6;
        println!(
            "{what:<44} {:>7.0} MB/s, {:>7.0} MB per core-second, {:.2} s, {} MB resident",
            mb / self.seconds(),
            mb / self.cpu_seconds(),
            self.seconds(),
            resident_mb(),
        );
    }
}

/// Processor time of this process so far.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

fn resident_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// Forgets packs and keeps the rest.
#[derive(Debug)]
struct Sink(MemoryStorage, std::sync::Mutex<Vec<FileEntry>>);

#[async_trait]
impl Storage for Sink {
    fn location(&self) -> String {
        "sink".into()
    }
    async fn create(&self) -> Result<()> {
        Ok(())
    }
    async fn list(&self, kind: FileKind) -> Result<Vec<FileEntry>> {
        if kind == FileKind::Pack { Ok(self.1.lock().unwrap().clone()) } else { self.0.list(kind).await }
    }
    async fn size(&self, kind: FileKind, id: &FileId) -> Result<u64> {
        self.0.size(kind, id).await
    }
    async fn read(&self, kind: FileKind, id: &FileId) -> Result<Bytes> {
        self.0.read(kind, id).await
    }
    async fn read_range(&self, kind: FileKind, id: &FileId, offset: u64, len: usize) -> Result<Bytes> {
        self.0.read_range(kind, id, offset, len).await
    }
    async fn write(&self, kind: FileKind, id: &FileId, content: Bytes) -> Result<()> {
        if kind == FileKind::Pack {
            self.1.lock().unwrap().push(FileEntry { id: *id, size_bytes: content.len() as u64 });
            return Ok(());
        }
        self.0.write(kind, id, content).await
    }
    async fn remove(&self, kind: FileKind, id: &FileId) -> Result<()> {
        self.0.remove(kind, id).await
    }
    async fn capacity(&self) -> Result<Option<Capacity>> {
        Ok(None)
    }
}

fn a_point(content: Vec<ChunkId>, chunk_bytes: usize) -> NewRestorePoint {
    let size_bytes = (content.len() * chunk_bytes) as u64;
    let time = SystemTime::now();
    NewRestorePoint {
        time,
        hostname: "bench".into(),
        username: "bench".into(),
        directory: "vm".into(),
        tags: vec![],
        parent: None,
        files: vec![NewFile { name: "disk.raw".into(), size_bytes, content, mtime: time }],
    }
}

/// Chunks that do not compress.
fn random_chunks(len: usize) -> Vec<(ChunkId, Bytes)> {
    let mut random = StdRng::seed_from_u64(1);
    let chunk = |_| {
        let mut plain = vec![0; CHUNK_BYTES];
        random.fill_bytes(&mut plain);
        (ChunkId::of(&plain), Bytes::from(plain))
    };
    (0..len).map(chunk).collect()
}

/// Adds chunks that do not compress, into nothing and into files, and reads those back.
async fn chunks(threads: usize) {
    let chunks = random_chunks(256);
    // The same bytes under eight ids each: hashing them is the caller's work.
    let renamed: Vec<_> = (0..8 * chunks.len())
        .map(|number| (ChunkId::of(&number.to_le_bytes()), chunks[number % chunks.len()].1.clone()))
        .collect();
    let sink = Arc::new(Sink(MemoryStorage::new(), std::sync::Mutex::default()));
    add(threads, "into nothing", sink, &renamed).await;

    let directory = tempfile::tempdir().unwrap();
    let local = Arc::new(LocalStorage::open(directory.path().join("r")).await.unwrap());
    let repository = add(threads, "into files", local, &chunks).await;
    let watch = Watch::start();
    for (id, plain) in &chunks {
        assert_eq!(repository.read_chunk(id).await.unwrap().len(), plain.len());
    }
    watch.report("read_chunk, one after the other", chunks.len() * CHUNK_BYTES);
}

/// Sixteen tasks add chunks to a new repository.
async fn add(
    threads: usize,
    name: &str,
    storage: Arc<dyn Storage>,
    chunks: &[(ChunkId, Bytes)],
) -> Repository {
    let repository = Repository::init(storage, &Secret::new("x"), options(threads)).await.unwrap();
    let writer = Arc::new(repository.writer(WriterOptions::default()).await.unwrap());
    let watch = Watch::start();
    let tasks: Vec<_> = chunks
        .chunks(chunks.len() / 16)
        .map(|chunks| {
            let (writer, chunks) = (Arc::clone(&writer), chunks.to_vec());
            tokio::spawn(async move {
                for (id, plain) in chunks {
                    let chunk = EncodedChunk { id, plain_bytes: 1 << 20, payload: Payload::Plain(plain) };
                    writer.add(chunk).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    writer.flush().await.unwrap();
    watch.report(&format!("add {name}, {threads} threads"), chunks.len() * CHUNK_BYTES);
    writer.commit(a_point(chunks.iter().map(|(id, _)| *id).collect(), CHUNK_BYTES)).await.unwrap();
    repository
}

/// Makes a repository of a million tiny chunks and opens it.
async fn large_index() {
    const CHUNKS: usize = 1 << 20;
    let directory = tempfile::tempdir().unwrap();
    let storage: Arc<dyn Storage> = Arc::new(LocalStorage::open(directory.path().join("r")).await.unwrap());
    let init = InitOptions { tuning: Tuning { pack_bytes: 1 << 20, ..tuning(2) }, ..options(2) };
    let repository = Repository::init(Arc::clone(&storage), &Secret::new("x"), init).await.unwrap();
    let writer = repository.writer(WriterOptions::default()).await.unwrap();
    let mut content = Vec::with_capacity(CHUNKS);
    for number in 0..CHUNKS {
        let plain = Bytes::copy_from_slice(&number.to_le_bytes());
        let id = ChunkId::of(&plain);
        content.push(id);
        writer.add(EncodedChunk { id, plain_bytes: 8, payload: Payload::Plain(plain) }).await.unwrap();
    }
    drop(writer);
    let point = commit(&repository, &storage, &content, "the first point").await;
    let changes = [
        ("nothing changed", 0, 1),
        ("0.1 % changed in runs of 16", CHUNKS / 1000, 16),
        ("0.1 % changed here and there", CHUNKS / 1000, 1),
        ("1.6 % changed here and there", CHUNKS / 1000 * 16, 1),
    ];
    for (name, changed, run) in changes {
        let disk = change(&repository, &content, changed, run).await;
        commit(&repository, &storage, &disk, name).await;
    }
    drop(repository);
    let (before, watch) = (resident_mb(), Watch::start());
    let repository = Repository::open(storage, &Secret::new("x")).await.unwrap();
    let (seconds, cpu_seconds) = (watch.seconds(), watch.cpu_seconds());
    println!(
        "open with {} blobs {seconds:.2} s, {cpu_seconds:.2} CPU s, {} MB more than before",
        repository.blobs_len(),
        resident_mb().saturating_sub(before),
    );
    let watch = Watch::start();
    repository.refresh_index().await.unwrap();
    println!("refresh without news {:.4} s", watch.seconds());
    let watch = Watch::start();
    assert!(content.iter().all(|id| repository.contains(id)));
    println!("contains {:.0} ns", watch.seconds() * 1e9 / CHUNKS as f64);
    let watch = Watch::start();
    assert!(repository.disk_content(&point, "/vm/disk.raw").await.unwrap().chunk_ids == content);
    println!("disk_content of a million chunks {:.2} s, {} MB resident", watch.seconds(), resident_mb());
}

/// Commits a disk of chunks of 8 bytes, and says what that costs.
async fn commit(
    repository: &Repository,
    storage: &Arc<dyn Storage>,
    content: &[ChunkId],
    name: &str,
) -> SnapshotId {
    let writer = repository.writer(WriterOptions::default()).await.unwrap();
    writer.flush().await.unwrap();
    let packs = stored_bytes(storage, FileKind::Pack).await;
    let indexes = stored_bytes(storage, FileKind::Index).await;
    let watch = Watch::start();
    let point = writer.commit(a_point(content.to_vec(), 8)).await.unwrap();
    println!(
        "commit, {name:<28} {:.2} s, {:.2} CPU s, trees {:.3} MB, index {:.3} MB",
        watch.seconds(),
        watch.cpu_seconds(),
        (stored_bytes(storage, FileKind::Pack).await - packs) as f64 / 1e6,
        (stored_bytes(storage, FileKind::Index).await - indexes) as f64 / 1e6,
    );
    point
}

async fn stored_bytes(storage: &Arc<dyn Storage>, kind: FileKind) -> u64 {
    storage.list(kind).await.unwrap().iter().map(|file| file.size_bytes).sum()
}

/// Puts new chunks in random places, in runs of so many.
async fn change(repository: &Repository, content: &[ChunkId], changed: usize, run: usize) -> Vec<ChunkId> {
    let writer = repository.writer(WriterOptions::default()).await.unwrap();
    let (mut content, mut random) = (content.to_vec(), StdRng::seed_from_u64(changed as u64 ^ run as u64));
    for _ in 0..changed / run {
        let first = usize::try_from(random.next_u64()).unwrap() % (content.len() - run);
        for place in &mut content[first..first + run] {
            *place =
                writer.add_plain(Bytes::copy_from_slice(&random.next_u64().to_le_bytes())).await.unwrap();
        }
    }
    writer.abort().await.unwrap();
    content
}
