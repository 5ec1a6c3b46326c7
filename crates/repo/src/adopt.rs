//! Packs that no index names.
//!
//! A writer that dies leaves packs that are durable but in no index file. They say themselves what they hold, so
//! the next writer takes them over, and no chunk in them is sent again. A pack that is not whole is left alone: a
//! prune removes it.

use std::sync::Arc;

use futures::StreamExt;
use sendense_storage::{ErrorKind, FileKind};
use tokio_util::sync::CancellationToken;

use crate::blocking::blocking;
use crate::lock::{HeldLock, LockTiming};
use crate::pack::{self, PackedBlob};
use crate::repository::Inner;
use crate::{Error, PackId, Result};

/// Packs that are read at a time, each as a whole.
const READS_MAX: usize = 2;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AdoptReport {
    /// Packs that were taken over.
    pub packs: u64,
    /// Chunks and trees in them.
    pub blobs: u64,
    /// Bytes of those packs.
    pub stored_bytes: u64,
    /// Packs that are not whole. They are garbage until a prune removes them.
    pub rejected: Vec<RejectedPack>,
}

/// A pack that was not taken over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedPack {
    /// Its name.
    pub id: PackId,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// Takes over all whole packs that no index names, under a lock of its own.
pub(crate) async fn adopt_orphan_packs(
    repository: &Arc<Inner>,
    timing: LockTiming,
    cancel: &CancellationToken,
) -> Result<AdoptReport> {
    let lock = HeldLock::acquire(&repository.storage, &repository.key, timing).await?;
    let adopted = adopt(repository, cancel).await;
    let released = lock.release().await;
    let report = adopted?;
    released.map(|()| report)
}

/// As [`adopt_orphan_packs`], under a lock of the caller.
pub(crate) async fn adopt(repository: &Inner, cancel: &CancellationToken) -> Result<AdoptReport> {
    repository.catalog.refresh().await?;
    let orphans = repository.catalog.verify_packs().await?.orphans;
    let mut report = AdoptReport::default();
    let mut examined = futures::stream::iter(orphans)
        .map(|(id, size_bytes)| async move { (id, size_bytes, examine(repository, id).await) })
        .buffer_unordered(READS_MAX);
    while let Some((id, size_bytes, result)) = examined.next().await {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        match result? {
            Ok(blobs) => {
                report.packs += 1;
                report.blobs += blobs.len() as u64;
                report.stored_bytes += size_bytes;
                // What an index file said of it may have been wrong.
                repository.catalog.judge(id, |_| true, &[]);
                // A pack of ours that was being written at the time of the listing is known by now.
                if !repository.catalog.index().contains_pack(&id) {
                    repository.catalog.add_pack(id, &blobs, size_bytes);
                }
            }
            Err(reason) => report.rejected.push(RejectedPack { id, size_bytes, reason }),
        }
    }
    repository.catalog.write_index().await?;
    Ok(report)
}

/// Reads a pack and holds it against its name: what matches is what its writer has written, to the last byte.
async fn examine(repository: &Inner, id: PackId) -> Result<Result<Vec<PackedBlob>, String>> {
    let content = match repository.storage.read(FileKind::Pack, &id.into()).await {
        Ok(content) => content,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Damaged) => {
            return Ok(Err(error.to_string()));
        }
        Err(error) => return Err(error.into()),
    };
    let key = repository.key.clone();
    blocking(move || {
        if PackId::of(&content) != id {
            return Ok(Err("its content does not match its name".into()));
        }
        Ok(pack::parse(&key, &content).map_err(String::from))
    })
    .await
}
