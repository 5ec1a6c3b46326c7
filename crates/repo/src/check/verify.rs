//! Reading one restore point.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::walk::is_damage;
use super::{DamagedRestorePoint, Problem, Walker, reads_max};
use crate::blocking::blocking;
use crate::pack::PackedBlob;
use crate::read_batch::{self, ReadBatch};
use crate::repository::Inner;
use crate::tree::Node;
use crate::{ChunkId, Error, Result, SnapshotId, TreeId};

/// Neighbours in a pack are read together up to this many bytes.
const READ_BYTES_MAX: u64 = 8 << 20;

/// How far a verification is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VerifyProgress {
    /// Plain bytes of the chunks that were read.
    pub checked_bytes: u64,
    /// Plain bytes of all distinct chunks.
    pub total_bytes: u64,
}

/// What a verification read and what it found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Distinct chunks that were read and are right.
    pub chunks: u64,
    /// Their plain bytes.
    pub bytes: u64,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// Files and directories that cannot be read completely.
    pub damaged_paths: Vec<String>,
}

impl VerifyReport {
    /// Whether all of the restore point could be read.
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.problems.is_empty() && self.damaged_paths.is_empty()
    }
}

/// Reads every distinct chunk of a restore point, and writes down which are damaged as [`super::check`] does.
pub(crate) async fn verify(
    repository: &Arc<Inner>,
    id: &SnapshotId,
    progress: &(dyn Fn(VerifyProgress) + Send + Sync),
    cancel: &CancellationToken,
) -> Result<VerifyReport> {
    let report = look(repository, id, progress, cancel).await;
    let _ = repository.catalog.record_damage().await;
    report
}

/// Takes no lock and changes nothing.
async fn look(
    repository: &Arc<Inner>,
    id: &SnapshotId,
    progress: &(dyn Fn(VerifyProgress) + Send + Sync),
    cancel: &CancellationToken,
) -> Result<VerifyReport> {
    repository.catalog.refresh().await?;
    // That the restore point exists is a question, not a finding.
    let point = repository.restore_point(id).await?;
    let mut report = VerifyReport::default();
    let chunks = distinct_chunks(repository, point.tree).await?;
    let batches = read_batch::plan(repository, chunks, READ_BYTES_MAX);
    let total_bytes = batches.iter().map(ReadBatch::plain_bytes).sum();
    let mut state = VerifyProgress { checked_bytes: 0, total_bytes };
    progress(state);
    let reads = futures::stream::iter(batches).map(|batch| read(repository, batch));
    let mut reads = reads.buffer_unordered(reads_max());
    while let Some(outcome) = reads.next().await {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let outcome = outcome?;
        state.checked_bytes += outcome.batch.plain_bytes();
        outcome.add_to(&mut report);
        progress(state);
    }
    // The walk says which files the damage touches, and what has no place at all.
    let walker = Walker::new(repository);
    if let Some(DamagedRestorePoint { paths, .. }) = walker.walk(*id).await? {
        report.damaged_paths = paths;
    }
    report.problems.extend(walker.into_problems());
    Ok(report)
}

/// The chunks of all files of which the lists can be read. Damaged directories are found by the walk.
async fn distinct_chunks(repository: &Inner, root: TreeId) -> Result<HashSet<ChunkId>> {
    let mut chunks = HashSet::new();
    let visit = |node: Node| chunks.extend(node.content.unwrap_or_default());
    match repository.for_each_file(root, visit).await? {
        Some(damage) if !is_damage(&damage) => Err(damage),
        _ => Ok(chunks),
    }
}

/// What came of reading a batch.
struct Outcome {
    batch: ReadBatch,
    /// Those that are damaged here.
    bad: Vec<BadBlob>,
}

struct BadBlob {
    blob: PackedBlob,
    reason: String,
    /// Whether no other place has it either.
    is_lost: bool,
}

async fn read(repository: &Arc<Inner>, batch: ReadBatch) -> Result<Outcome> {
    let (batch, failures) = match read_batch::read_sealed(repository, &batch).await {
        Ok(sealed) => {
            let (batch, failures) = open_batch(repository, batch, sealed).await?;
            let damaged: Vec<u32> = failures.iter().map(|(blob, _)| blob.offset).collect();
            let is_read = |offset| batch.blobs.iter().any(|blob| blob.offset == offset);
            repository.catalog.judge(batch.pack, is_read, &damaged);
            (batch, failures)
        }
        Err(error) if is_damage(&error) => {
            let failures = batch.blobs.iter().map(|blob| (*blob, error.to_string())).collect();
            (batch, failures)
        }
        Err(error) => return Err(error),
    };
    let mut bad = Vec::new();
    for (blob, reason) in failures {
        // The chunk may lie elsewhere too, and be whole there.
        let is_lost = match repository.read_chunk(&ChunkId::from_bytes(blob.id)).await {
            Ok(_) => false,
            Err(error) if is_damage(&error) => true,
            Err(error) => return Err(error),
        };
        bad.push(BadBlob { blob, reason, is_lost });
    }
    Ok(Outcome { batch, bad })
}

async fn open_batch(
    repository: &Arc<Inner>,
    batch: ReadBatch,
    sealed: Bytes,
) -> Result<(ReadBatch, Vec<(PackedBlob, String)>)> {
    let repository = Arc::clone(repository);
    blocking(move || {
        let mut failures = Vec::new();
        read_batch::open(&repository, &batch, sealed, |blob, plain| {
            failures.extend(plain.err().map(|reason| (*blob, reason.to_owned())));
        })?;
        Ok((batch, failures))
    })
    .await
}

impl Outcome {
    fn add_to(self, report: &mut VerifyReport) {
        let pack = self.batch.pack;
        let lost: Vec<_> = self.bad.iter().filter(|bad| bad.is_lost).collect();
        let lost_bytes: u64 = lost.iter().map(|bad| u64::from(bad.blob.plain_bytes())).sum();
        report.chunks += (self.batch.blobs.len() - lost.len()) as u64;
        report.bytes += self.batch.plain_bytes() - lost_bytes;
        let problem = |bad: BadBlob| Problem::BlobDamaged {
            id: ChunkId::from_bytes(bad.blob.id),
            pack,
            reason: bad.reason,
        };
        report.problems.extend(self.bad.into_iter().map(problem));
    }
}
