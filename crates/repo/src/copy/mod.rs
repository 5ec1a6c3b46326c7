//! Copying restore points to another repository, chunk by chunk.
//!
//! A chunk that the target has is not read. Every other one is opened, compared with its name, and sealed anew with
//! the target's key; the compressed frame stays as it is. Directories are copied as they are, so that a restore point
//! has the same tree in both places. Before the snapshot file is written, what was copied is read back from the
//! target. Whatever is durable there when a copy dies is found by the next one.

mod blobs;
mod point;

pub(crate) use blobs::read_one;

use std::collections::HashMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use sendense_storage::FileKind;
use tokio_util::sync::CancellationToken;

use crate::lock::LockTiming;
use crate::repository::Inner;
use crate::snapshot_file::SnapshotFile;
use crate::{Error, Result, SnapshotId, Writer, WriterOptions, sealed_json};

/// Snapshot files that are read at a time.
const READS_MAX: usize = 8;

/// How restore points are copied.
#[derive(Clone, Copy, Debug, Default)]
pub struct CopyOptions {
    /// When the lock on the target is looked at and refreshed.
    pub lock: LockTiming,
}

/// How far a copy is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyProgress {
    /// Restore points that are there.
    pub done_restore_points: u64,
    /// All that shall be copied.
    pub total_restore_points: u64,
    /// Plain bytes of the chunks that were copied, or that the target had.
    pub done_bytes: u64,
    /// Plain bytes of the chunks of the restore points looked at so far.
    pub total_bytes: u64,
}

/// What a copy did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CopyReport {
    /// The restore points, in the order in which they were named.
    pub points: Vec<CopiedPoint>,
    /// Chunks that were copied.
    pub chunks: u64,
    /// Their plain bytes.
    pub copied_bytes: u64,
    /// What they take in the target.
    pub stored_bytes: u64,
    /// Chunks that the target had.
    pub skipped_chunks: u64,
    /// Chunks that were read back from the target and are right: all that were copied.
    pub verified_chunks: u64,
}

/// A restore point and its copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopiedPoint {
    /// In the repository it was copied from.
    pub source: SnapshotId,
    /// In the other one.
    pub target: SnapshotId,
    /// Whether it had been there before.
    pub was_there: bool,
}

/// What the steps of one copy share.
struct Copy<'a> {
    source: &'a Arc<Inner>,
    target: &'a Arc<Inner>,
    writer: &'a Writer,
    progress: &'a (dyn Fn(CopyProgress) + Send + Sync),
    cancel: &'a CancellationToken,
}

/// Copies restore points, one after the other.
pub(crate) async fn copy(
    source: &Arc<Inner>,
    target: &Arc<Inner>,
    points: &[SnapshotId],
    options: CopyOptions,
    progress: &(dyn Fn(CopyProgress) + Send + Sync),
    cancel: &CancellationToken,
) -> Result<CopyReport> {
    source.catalog.refresh().await?;
    let writer = Writer::start(Arc::clone(target), WriterOptions { lock: options.lock }).await?;
    let copy = Copy { source, target, writer: &writer, progress, cancel };
    let result = copy.run(points).await;
    // What is durable stays known, whatever came of it.
    let closed = writer.abort().await;
    let report = result?;
    closed.map(|()| report)
}

impl Copy<'_> {
    async fn run(&self, points: &[SnapshotId]) -> Result<CopyReport> {
        let there = self.originals().await?;
        let total_restore_points = points.len() as u64;
        let (mut report, mut state) =
            (CopyReport::default(), CopyProgress { total_restore_points, ..CopyProgress::default() });
        for source in points {
            let id = (*source).into();
            let Inner { storage, key, .. } = &**self.source;
            let mut file: SnapshotFile =
                match sealed_json::read(&**storage, key, FileKind::Snapshot, &id).await {
                    Err(Error::Storage(error)) if error.kind() == sendense_storage::ErrorKind::NotFound => {
                        return Err(Error::RestorePointMissing { id: *source });
                    }
                    file => file?,
                };
            // As restic does it: the first of all copies is the original.
            let original = *file.original.get_or_insert(*source);
            // One that was copied here from somewhere else is what it was made of.
            let target = if let Some(target) = there.get(&(original, file.tree)) {
                CopiedPoint { source: *source, target: *target, was_there: true }
            } else {
                let target = self.copy_point(file, &mut report, &mut state).await?;
                CopiedPoint { source: *source, target, was_there: false }
            };
            report.points.push(target);
            state.done_restore_points += 1;
            (self.progress)(state);
        }
        Ok(report)
    }

    /// The restore points of the target, by what they are copies of and by their trees; its own are originals.
    async fn originals(&self) -> Result<HashMap<(SnapshotId, crate::TreeId), SnapshotId>> {
        let entries = self.target.storage.list(FileKind::Snapshot).await?;
        let files = futures::stream::iter(entries).map(|entry| async move {
            let Inner { storage, key, .. } = &**self.target;
            let id = SnapshotId::from(entry.id);
            match sealed_json::read::<SnapshotFile>(&**storage, key, FileKind::Snapshot, &entry.id).await {
                Ok(file) => Ok(Some(((file.original.unwrap_or(id), file.tree), id))),
                // Forgotten meanwhile, or damaged: then it is no copy.
                Err(Error::Damaged { .. }) => Ok(None),
                Err(Error::Storage(error)) if error.kind() == sendense_storage::ErrorKind::NotFound => {
                    Ok(None)
                }
                Err(error) => Err(error),
            }
        });
        let files: Vec<_> = files.buffer_unordered(READS_MAX).try_collect().await?;
        Ok(files.into_iter().flatten().collect())
    }

    fn check_cancelled(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}
