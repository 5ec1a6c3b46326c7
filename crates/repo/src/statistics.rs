//! How much a repository holds, and what it costs.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};

use futures::{StreamExt, TryStreamExt};
use sendense_storage::FileKind;

use crate::pack::BlobKind;
use crate::repository::Inner;
use crate::{Error, Result, SnapshotId};

/// Restore points whose files are looked at at a time.
const READS_MAX: usize = 4;

/// How much a repository holds, and what it costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Restore points that can be read.
    pub restore_points: u64,
    /// Bytes of all files of all restore points, as if nothing were shared.
    pub logical_bytes: u64,
    /// Plain bytes of the distinct chunks that are there.
    pub unique_bytes: u64,
    /// Bytes of all packs.
    pub stored_bytes: u64,
    /// Bytes of index files, snapshot files and directories; the last ones lie in packs too.
    pub metadata_bytes: u64,
    /// Bytes in packs that nobody needs, as the last prune of this process found; `None` if there was none.
    pub unused_bytes: Option<u64>,
    /// Distinct chunks that are there.
    pub chunks: u64,
    /// Packs.
    pub packs: u64,
    /// Index files.
    pub index_files: u64,
}

/// Counts. The files of a restore point are looked at once: it never changes.
pub(crate) async fn statistics(repository: &Arc<Inner>) -> Result<Statistics> {
    repository.catalog.refresh().await?;
    repository.catalog.verify_packs().await?;
    let mut statistics = count_blobs(repository);
    let size = |kind| async move {
        let files = repository.storage.list(kind).await?;
        Ok::<_, Error>((files.len() as u64, files.iter().map(|file| file.size_bytes).sum::<u64>()))
    };
    (statistics.packs, statistics.stored_bytes) = size(FileKind::Pack).await?;
    let (index_files, index_bytes) = size(FileKind::Index).await?;
    let (_, snapshot_bytes) = size(FileKind::Snapshot).await?;
    statistics.index_files = index_files;
    statistics.metadata_bytes += index_bytes + snapshot_bytes;
    let points = repository.storage.list(FileKind::Snapshot).await?;
    let points: HashSet<SnapshotId> = points.into_iter().map(|entry| entry.id.into()).collect();
    repository.sizes().retain(|id, _| points.contains(id));
    let sizes = futures::stream::iter(points).map(|id| size_of(repository, id)).buffer_unordered(READS_MAX);
    let sizes: Vec<Option<u64>> = sizes.try_collect().await?;
    for size_bytes in sizes.into_iter().flatten() {
        statistics.restore_points += 1;
        statistics.logical_bytes += size_bytes;
    }
    statistics.unused_bytes = *repository.unused_bytes.lock().unwrap_or_else(PoisonError::into_inner);
    Ok(statistics)
}

fn count_blobs(repository: &Inner) -> Statistics {
    let index = repository.catalog.index();
    let mut statistics = Statistics::default();
    for (number, blob) in index.blobs() {
        // Each blob counts at the first of its places.
        let first = index.find_reliable(blob.kind, &blob.id).next();
        let is_first =
            first.is_some_and(|place| place.blob == blob && place.pack == index.packs()[number as usize].id);
        match blob.kind {
            BlobKind::Data if is_first => {
                statistics.chunks += 1;
                statistics.unique_bytes += u64::from(blob.plain_bytes());
            }
            BlobKind::Tree if is_first => statistics.metadata_bytes += u64::from(blob.length),
            _ => {}
        }
    }
    statistics
}

/// The bytes of all files of a restore point; `None` for one that cannot be read or was forgotten.
async fn size_of(repository: &Arc<Inner>, id: SnapshotId) -> Result<Option<u64>> {
    if let Some(size_bytes) = repository.sizes().get(&id) {
        return Ok(Some(*size_bytes));
    }
    match repository.files(&id).await {
        Ok(files) => {
            let size_bytes = files.iter().map(|file| file.size_bytes).sum();
            repository.sizes().insert(id, size_bytes);
            Ok(Some(size_bytes))
        }
        Err(Error::RestorePointMissing { .. }) => Ok(None),
        Err(error) if crate::check::is_damage(&error) => Ok(None),
        Err(error) => Err(error),
    }
}
