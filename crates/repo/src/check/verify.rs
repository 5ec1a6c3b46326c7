//! Reading one restore point.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::walk::is_damage;
use super::{BadPlaces, DamagedRestorePoint, Problem, Walker, reads_max};
use crate::blocking::blocking;
use crate::pack::{BlobKind, PackedBlob};
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

/// Reads every distinct chunk of a restore point. Takes no lock and changes nothing.
pub(crate) async fn verify(
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
    let mut bad_places = BadPlaces::default();
    let reads = futures::stream::iter(batches).map(|batch| read(repository, batch));
    let mut reads = reads.buffer_unordered(reads_max());
    while let Some(outcome) = reads.next().await {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let outcome = outcome?;
        state.checked_bytes += outcome.batch.plain_bytes();
        outcome.add_to(repository, &mut report, &mut bad_places);
        progress(state);
    }
    // The walk says which files the damage touches, and what has no place at all.
    let walker = Walker::new(repository, &bad_places);
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
        Ok(sealed) => open_batch(repository, batch, sealed).await?,
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
    fn add_to(self, repository: &Inner, report: &mut VerifyReport, bad_places: &mut BadPlaces) {
        let pack = self.batch.pack;
        let lost = self.bad.iter().filter(|bad| bad.is_lost).map(|bad| bad.blob);
        let lost_bytes: u64 = lost.clone().map(|blob| u64::from(blob.plain_bytes())).sum();
        report.chunks += (self.batch.blobs.len() - lost.clone().count()) as u64;
        report.bytes += self.batch.plain_bytes() - lost_bytes;
        for blob in lost {
            for location in repository.catalog.index().find(BlobKind::Data, &blob.id) {
                bad_places.insert(location.pack, &location.blob);
            }
        }
        let problem = |bad: BadBlob| Problem::BlobDamaged {
            id: ChunkId::from_bytes(bad.blob.id),
            pack,
            reason: bad.reason,
        };
        report.problems.extend(self.bad.into_iter().map(problem));
    }
}
