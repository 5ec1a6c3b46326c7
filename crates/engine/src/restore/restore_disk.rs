//! A disk of a restore point to a raw file on this machine.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::{StreamExt, TryStreamExt, stream};
use rustix::fs::statvfs;
use sendense_repo::{ReadBatch, Repository};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;

use super::output::{Failure, Output};
use super::partial_file::{PartialFile, folder_of, remove_abandoned};
use super::placement::Placement;
use crate::cpu::cores;
use crate::restore_point::{parse_id, path_of};
use crate::{ChunkId, Code, Error, Result};

/// Bytes of chunks in memory at any time.
const MEMORY_BYTES_MAX: u64 = 64 << 20;
/// Neighbours in a pack are read together up to so many bytes.
const READ_BYTES_MAX: u64 = 4 << 20;

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

/// Restores a disk: neighbours in a pack are read together, opened once and written wherever they belong. Every chunk
/// is verified against its hash; zeros become holes. On any failure, and when cancelled, nothing is left of the file.
pub(crate) async fn restore_disk(
    repository: &Arc<Repository>,
    options: &RestoreOptions,
    counters: &RestoreCounters,
    cancel: &CancellationToken,
) -> Result<RestoreReport> {
    let target = Target::new(options);
    target.check()?;
    let fill = fill(repository, options, &target, counters);
    let filled = cancel.run_until_cancelled(fill).await.unwrap_or(Err(Error::Cancelled));
    if filled.is_err() {
        // A chunk that could not be read is not relied on any more. Where nothing may be written, only we know.
        let _ = repository.record_damage().await;
    }
    let (partial, size_bytes) = filled?;
    // From here on it cannot be cancelled: the file is there and said to be, or neither.
    let overwrite = options.overwrite;
    let finished = spawn_blocking(move || partial.finish(overwrite)).await;
    finished.map_err(|error| Error::Internal(error.to_string()))?.map_err(|error| target.failed(error))?;
    let written_bytes = counters.progress().written_bytes;
    Ok(RestoreReport { path: options.target_path.clone(), size_bytes, written_bytes })
}

/// Removes what restores to a file have left beside it whose process was killed. A restore that runs is left alone.
///
/// # Errors
/// `restore-target-` codes, as of a restore.
pub async fn remove_leftovers(target_path: PathBuf) -> Result<()> {
    let removed =
        spawn_blocking(move || remove_abandoned(&target_path).map_err(|error| (target_path, error)));
    let removed = removed.await.map_err(|error| Error::Internal(error.to_string()))?;
    removed.map_err(|(path, error)| Target { path: &path, overwrite: false }.failed(error))
}

/// Writes the disk to a partial file, and tells its size.
async fn fill(
    repository: &Repository,
    options: &RestoreOptions,
    target: &Target<'_>,
    counters: &RestoreCounters,
) -> Result<(PartialFile, u64)> {
    repository.refresh_index().await?;
    let point = repository.restore_point(&parse_id(&options.restore_point_id)?).await?;
    let path = path_of(&point, &options.file);
    let content = repository.disk_content(&point.id, &path).await.map_err(Error::of_reading)?;
    let size_bytes = content.size_bytes;
    let placement = Placement::new(repository, &content.chunk_ids, size_bytes)?;
    let (data_bytes, largest) = (placement.data_bytes(), placement.largest_chunk_bytes());
    counters.logical.store(size_bytes, Ordering::Relaxed);
    counters.done.store(size_bytes - data_bytes, Ordering::Relaxed);
    target.check_space(data_bytes)?;

    let failed = |error| target.failed(error);
    let partial = PartialFile::create(&options.target_path, size_bytes).map_err(failed)?;
    let batches = repository.plan_reads(placement.chunk_ids(), READ_BYTES_MAX);
    let output = Arc::new(Output::new(partial.file().map_err(failed)?, placement));
    // A batch in memory, and one chunk of it opened.
    let affordable = MEMORY_BYTES_MAX / (READ_BYTES_MAX + largest).max(1);
    let at_a_time = usize::try_from(affordable).unwrap_or(1).clamp(1, cores() + 2);
    stream::iter(batches)
        .map(|batch| restore_batch(repository, target, &output, counters, batch))
        .buffer_unordered(at_a_time)
        .try_collect::<()>()
        .await?;
    if counters.progress().done_bytes == size_bytes {
        return Ok((partial, size_bytes));
    }
    Err(Error::protocol(Code::RestorePointDamaged, "Some of its chunks are missing"))
}

async fn restore_batch(
    repository: &Repository,
    target: &Target<'_>,
    output: &Arc<Output>,
    counters: &RestoreCounters,
    batch: ReadBatch,
) -> Result<()> {
    // Counted apart, because the thread that writes may outlive a cancelled restore and its counters.
    let (done, written) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let (output, done_now, written_now) = (Arc::clone(output), Arc::clone(&done), Arc::clone(&written));
    let write = move |id: &ChunkId, plain: &[u8]| {
        let (places, bytes) = output.write(id, plain)?;
        done_now.fetch_add(places * plain.len() as u64, Ordering::Relaxed);
        written_now.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    };
    repository.read_batch(batch, write).await.map_err(|failure| match failure {
        Failure::Read(error) => Error::of_reading(error),
        Failure::Length(id) => Error::Internal(format!("Chunk {id} has another length than its index says")),
        Failure::Write(error) => target.failed(error),
    })?;
    counters.done.fetch_add(done.load(Ordering::Relaxed), Ordering::Relaxed);
    counters.written.fetch_add(written.load(Ordering::Relaxed), Ordering::Relaxed);
    Ok(())
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
