//! A disk of a restore point to a raw file on this machine.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use rustix::fs::statvfs;
use sendense_repo::Repository;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::partial_file::{PartialFile, folder_of};
use crate::restore_point::{parse_id, path_of};
use crate::{ChunkId, Code, Error, Result};

/// Bytes of chunks in memory at any time.
const MEMORY_BYTES_MAX: usize = 64 << 20;

/// What to restore, and where to.
pub struct RestoreOptions {
    /// Id of the restore point.
    pub restore_point_id: String,
    /// Name of the disk's file in it.
    pub file: String,
    /// The raw file to write, absolute. It has this name when it is complete, and not before.
    pub target_path: PathBuf,
    /// Whether a file of that name may be replaced.
    pub overwrite: bool,
}

/// Counters of a running restore, sampled from outside.
#[derive(Debug, Default)]
pub struct RestoreCounters {
    logical: AtomicU64,
    done: AtomicU64,
    written: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RestoreProgress {
    /// Size of the disk; 0 until it is known.
    pub logical_bytes: u64,
    /// Bytes done, holes included.
    pub done_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
}

/// A disk that was restored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreReport {
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub size_bytes: u64,
    /// Bytes written; the rest is holes.
    pub written_bytes: u64,
}

impl RestoreCounters {
    /// The counters now.
    #[must_use]
    pub fn progress(&self) -> RestoreProgress {
        RestoreProgress {
            logical_bytes: self.logical.load(Ordering::Relaxed),
            done_bytes: self.done.load(Ordering::Relaxed),
            written_bytes: self.written.load(Ordering::Relaxed),
        }
    }
}

/// A chunk and where it belongs.
struct Placed {
    offset: u64,
    bytes: u64,
    id: ChunkId,
}

/// Restores a disk. Every chunk is verified against its hash; zero chunks become holes. On any failure, and when
/// cancelled, nothing is left of the file.
pub(crate) async fn restore_disk(
    repository: &Arc<Repository>,
    options: &RestoreOptions,
    counters: &RestoreCounters,
    cancel: &CancellationToken,
) -> Result<RestoreReport> {
    let target = Target::new(options);
    target.check()?;
    let fill = fill(repository, options, &target, counters);
    let (partial, size_bytes) = cancel.run_until_cancelled(fill).await.unwrap_or(Err(Error::Cancelled))?;
    // From here on it cannot be cancelled: the file is there and said to be, or neither.
    let overwrite = options.overwrite;
    let finished = spawn_blocking(move || partial.finish(overwrite)).await;
    finished.map_err(|error| Error::Internal(error.to_string()))?.map_err(|error| target.failed(error))?;
    let written_bytes = counters.progress().written_bytes;
    Ok(RestoreReport { path: options.target_path.clone(), size_bytes, written_bytes })
}

/// Writes the disk to a partial file, and tells its size.
async fn fill(
    repository: &Repository,
    options: &RestoreOptions,
    target: &Target<'_>,
    counters: &RestoreCounters,
) -> Result<(PartialFile, u64)> {
    let point = repository.restore_point(&parse_id(&options.restore_point_id)?).await?;
    let path = path_of(&point, &options.file);
    let content = repository.disk_content(&point.id, &path).await.map_err(Error::of_reading)?;
    let size_bytes = content.size_bytes;
    let chunks = place(repository, &content.chunk_ids, size_bytes)?;
    let data_bytes = chunks.iter().map(|chunk| chunk.bytes).sum();
    counters.logical.store(size_bytes, Ordering::Relaxed);
    counters.done.store(size_bytes - data_bytes, Ordering::Relaxed);
    target.check_space(data_bytes)?;

    let failed = |error| target.failed(error);
    let partial = PartialFile::create(&options.target_path, size_bytes).map_err(failed)?;
    let file = Arc::new(partial.file().map_err(failed)?);
    let largest = chunks.iter().map(|chunk| chunk.bytes).max().unwrap_or(1);
    let at_a_time = (MEMORY_BYTES_MAX as u64 / largest).clamp(2, 32) as usize;
    stream::iter(chunks)
        .map(|chunk| restore_chunk(repository, target, &file, counters, chunk))
        .buffer_unordered(at_a_time)
        .try_collect::<()>()
        .await?;
    Ok((partial, size_bytes))
}

async fn restore_chunk(
    repository: &Repository,
    target: &Target<'_>,
    file: &Arc<File>,
    counters: &RestoreCounters,
    chunk: Placed,
) -> Result<()> {
    let plain = repository.read_chunk(&chunk.id).await.map_err(Error::of_reading)?;
    if plain.len() as u64 != chunk.bytes {
        return Err(Error::Internal(format!("Chunk {} has another length than its index says", chunk.id)));
    }
    if !sendense_disk::is_zero(&plain) {
        write_at(file, plain, chunk.offset).await.map_err(|error| target.failed(error))?;
        counters.written.fetch_add(chunk.bytes, Ordering::Relaxed);
    }
    counters.done.fetch_add(chunk.bytes, Ordering::Relaxed);
    Ok(())
}

async fn write_at(file: &Arc<File>, plain: Bytes, offset: u64) -> io::Result<()> {
    let file = Arc::clone(file);
    spawn_blocking(move || file.write_all_at(&plain, offset)).await.map_err(io::Error::other)?
}

/// The chunks that have to be read, with their offsets; those known to be zero by their id are left out.
fn place(repository: &Repository, ids: &[ChunkId], size_bytes: u64) -> Result<Vec<Placed>> {
    let mut offset = 0;
    let mut placed = Vec::new();
    let length_of = |id: &ChunkId| {
        let missing = || Error::of_reading(sendense_repo::Error::ChunkMissing { id: *id });
        repository.plain_bytes_of(id).ok_or_else(missing)
    };
    let first_and_last = ids.first().into_iter().chain(ids.last());
    let zero_ids = zero_ids(&first_and_last.map(length_of).collect::<Result<Vec<_>>>()?);
    for id in ids {
        let bytes = length_of(id)?;
        if !zero_ids.contains(id) {
            placed.push(Placed { offset, bytes, id: *id });
        }
        offset += bytes;
    }
    if offset == size_bytes {
        return Ok(placed);
    }
    Err(Error::Internal(format!("The disk's chunks add up to {offset} bytes, not to {size_bytes}")))
}

/// What an index says of lengths is not verified yet, so not every length is tried.
fn zero_ids(lengths: &[u64]) -> Vec<ChunkId> {
    let lengths = lengths.iter().filter_map(|length| usize::try_from(*length).ok());
    lengths.filter(|length| *length <= MEMORY_BYTES_MAX).map(|length| ChunkId::of(&vec![0; length])).collect()
}

/// The target, for checks and error texts.
struct Target<'a> {
    path: &'a Path,
    overwrite: bool,
}

impl<'a> Target<'a> {
    fn new(options: &'a RestoreOptions) -> Self {
        Self { path: &options.target_path, overwrite: options.overwrite }
    }

    /// An absolute name of a regular file in a folder that exists; free unless it may be replaced.
    fn check(&self) -> Result<()> {
        let refuse =
            |code, kind: io::ErrorKind, text: &str| Err(self.error(code, io::Error::new(kind, text)));
        if !self.path.is_absolute() || self.path.file_name().is_none() {
            return refuse(
                Code::RestoreTargetInvalid,
                io::ErrorKind::InvalidInput,
                "an absolute path of a file is needed",
            );
        }
        if !folder_of(self.path).is_dir() {
            return refuse(Code::RestoreTargetInvalid, io::ErrorKind::NotFound, "its folder does not exist");
        }
        match self.path.symlink_metadata() {
            Ok(metadata) if !metadata.is_file() => refuse(
                Code::RestoreTargetInvalid,
                io::ErrorKind::InvalidInput,
                "it exists and is not a regular file",
            ),
            Ok(_) if !self.overwrite => {
                refuse(Code::RestoreTargetExists, io::ErrorKind::AlreadyExists, "it exists")
            }
            _ => Ok(()),
        }
    }

    /// A full file system is better found out before than after an hour.
    fn check_space(&self, needed_bytes: u64) -> Result<()> {
        let stat = statvfs(folder_of(self.path)).map_err(|errno| self.failed(errno.into()))?;
        let free_bytes = stat.f_bavail.saturating_mul(stat.f_frsize);
        if needed_bytes <= free_bytes {
            return Ok(());
        }
        let text = format!("{needed_bytes} bytes are needed, {free_bytes} are free");
        Err(self.error(Code::RestoreTargetFull, io::Error::new(io::ErrorKind::StorageFull, text)))
    }

    fn failed(&self, source: io::Error) -> Error {
        let code = match source.kind() {
            io::ErrorKind::AlreadyExists => Code::RestoreTargetExists,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::RestoreTargetFull,
            _ => Code::RestoreTargetInvalid,
        };
        self.error(code, source)
    }

    fn error(&self, code: Code, source: io::Error) -> Error {
        Error::RestoreTarget { code, path: self.path.display().to_string(), source }
    }
}
