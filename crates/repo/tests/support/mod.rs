//! What the tests of this crate share: repositories that are made quickly, disks, restore points.

#![allow(dead_code, reason = "each test program uses a part of it")]

pub(crate) mod restic;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use sendense_repo::{
    CheckOptions, ChunkId, EncodedChunk, InitOptions, Kdf, LockTiming, NewFile, NewRestorePoint, Payload,
    Repository, Result, Secret, SnapshotId, Tuning, Writer, WriterOptions,
};
use sendense_storage::Storage;

pub(crate) const PASSWORD: &str = "correct horse battery staple";
pub(crate) const CHUNK_BYTES: usize = 64 << 10;
pub(crate) const DIRECTORY: &str = "vm-17";

pub(crate) fn password() -> Secret {
    Secret::new(PASSWORD)
}

/// Weak passwords and no waiting: what is tested is not the work of scrypt.
pub(crate) fn quick_init() -> InitOptions {
    InitOptions { kdf: Kdf::Fixed { log_n: 4, r: 8, p: 1 }, tuning: small_packs() }
}

pub(crate) fn small_packs() -> Tuning {
    Tuning { pack_bytes: 256 << 10, threads: 2, ..Tuning::default() }
}

pub(crate) fn quick_writer() -> WriterOptions {
    WriterOptions { lock: LockTiming { settle: Duration::ZERO, refresh: Duration::from_mins(5) } }
}

/// A check that reads every byte.
pub(crate) fn read_data() -> CheckOptions {
    CheckOptions { read_data: true, ..CheckOptions::default() }
}

pub(crate) async fn a_repository(storage: Arc<dyn Storage>) -> Repository {
    Repository::init(storage, &password(), quick_init()).await.unwrap()
}

pub(crate) async fn reopen(storage: Arc<dyn Storage>) -> Repository {
    Repository::open_with(storage, &password(), small_packs()).await.unwrap()
}

/// A disk of which every third chunk is zero, every third compresses and every third does not.
pub(crate) fn a_disk(seed: u64, size_bytes: usize) -> Vec<u8> {
    let mut disk = vec![0; size_bytes];
    for (number, chunk) in (0_u64..).zip(disk.chunks_mut(CHUNK_BYTES)) {
        match number % 3 {
            0 => {}
            1 => fill(chunk, seed ^ (number << 32), 0x0f),
            _ => fill(chunk, seed ^ (number << 32), 0xff),
        }
    }
    disk
}

/// Overwrites bytes with a sequence that depends on the seed alone. A mask with few bits makes it compressible.
pub(crate) fn fill(bytes: &mut [u8], seed: u64, mask: u8) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for byte in bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        *byte = (state >> 32).to_le_bytes()[0] & mask;
    }
}

/// A chunk as a Node sends it: compressed where that gains something.
pub(crate) fn encode(plain: &[u8]) -> EncodedChunk {
    let frame = zstd::bulk::compress(plain, 1).unwrap();
    let payload = if frame.len() < plain.len() {
        Payload::Zstd(frame.into())
    } else {
        Payload::Plain(Bytes::copy_from_slice(plain))
    };
    EncodedChunk { id: ChunkId::of(plain), plain_bytes: plain.len().try_into().unwrap(), payload }
}

/// Adds the chunks of a disk that are not there, and says how many those were.
pub(crate) async fn add_disk(writer: &Writer, name: &str, disk: &[u8]) -> Result<(NewFile, usize)> {
    let (mut content, mut added) = (Vec::new(), 0);
    for plain in disk.chunks(CHUNK_BYTES) {
        let id = ChunkId::of(plain);
        if !writer.contains(&id) {
            writer.add(encode(plain)).await?;
            added += 1;
        }
        content.push(id);
    }
    let file = NewFile { name: name.into(), size_bytes: disk.len() as u64, content, mtime: a_time() };
    Ok((file, added))
}

pub(crate) fn a_time() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000)
}

pub(crate) fn a_point(files: Vec<NewFile>) -> NewRestorePoint {
    NewRestorePoint {
        time: a_time(),
        hostname: "web-1".into(),
        username: "sendense".into(),
        directory: DIRECTORY.into(),
        tags: vec!["daily".into()],
        parent: None,
        files,
    }
}

/// Captures disks of a VM together with a small `vm.json`. Says how many chunks of the disks were added.
pub(crate) async fn capture(repository: &Repository, disks: &[(&str, &[u8])]) -> Result<(SnapshotId, usize)> {
    let writer = repository.writer(quick_writer()).await?;
    capture_with(&writer, disks).await
}

pub(crate) async fn capture_with(writer: &Writer, disks: &[(&str, &[u8])]) -> Result<(SnapshotId, usize)> {
    let (mut files, mut added) = (Vec::new(), 0);
    for (name, disk) in disks {
        let (file, added_here) = add_disk(writer, name, disk).await?;
        files.push(file);
        added += added_here;
    }
    let json = Bytes::from_static(b"{\"name\":\"web-1\"}");
    let size_bytes = json.len() as u64;
    let content = vec![writer.add_plain(json).await?];
    files.push(NewFile { name: "vm.json".into(), size_bytes, content, mtime: a_time() });
    Ok((writer.commit(a_point(files)).await?, added))
}

/// All bytes of a file of a restore point.
pub(crate) async fn read_file(repository: &Repository, point: &SnapshotId, path: &str) -> Result<Vec<u8>> {
    let content = repository.disk_content(point, path).await?;
    let mut bytes = Vec::new();
    for id in &content.chunk_ids {
        bytes.extend_from_slice(&repository.read_chunk(id).await?);
    }
    assert_eq!(bytes.len() as u64, content.size_bytes);
    Ok(bytes)
}
