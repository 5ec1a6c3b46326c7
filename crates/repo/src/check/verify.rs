//! Reading one restore point.

use std::collections::HashSet;

use bytes::Bytes;
use futures::StreamExt;
use sendense_storage::FileKind;
use tokio_util::sync::CancellationToken;

use super::walk::is_damage;
use super::{BadPlaces, DamagedRestorePoint, Problem, Walker};
use crate::blocking::blocking;
use crate::pack::{BlobKind, PackedBlob};
use crate::reader::open_blob;
use crate::repository::Inner;
use crate::tree::Node;
use crate::{ChunkId, Error, PackId, Result, SnapshotId, TreeId};

/// Neighbours in a pack are read together up to this many bytes.
const READ_BYTES_MAX: u32 = 8 << 20;

/// Bytes between two chunks that are cheaper to read than to skip.
const GAP_BYTES_MAX: u32 = 128 << 10;

const READS_MAX: usize = 4;

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
    repository: &Inner,
    id: &SnapshotId,
    progress: &(dyn Fn(VerifyProgress) + Send + Sync),
    cancel: &CancellationToken,
) -> Result<VerifyReport> {
    repository.catalog.refresh().await?;
    // That the restore point exists is a question, not a finding.
    let point = repository.restore_point(id).await?;
    let mut report = VerifyReport::default();
    let chunks = distinct_chunks(repository, point.tree).await?;
    let batches = batches(repository, &chunks);
    let total_bytes = batches.iter().map(|batch| plain_bytes(&batch.blobs)).sum();
    let mut state = VerifyProgress { checked_bytes: 0, total_bytes };
    progress(state);
    let mut bad_places = BadPlaces::default();
    let mut reads =
        futures::stream::iter(batches).map(|batch| read(repository, batch)).buffer_unordered(READS_MAX);
    while let Some(outcome) = reads.next().await {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let outcome = outcome?;
        state.checked_bytes += plain_bytes(&outcome.batch.blobs);
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

/// Chunks that are read together.
struct Batch {
    pack: PackId,
    /// In the order in which they lie.
    blobs: Vec<PackedBlob>,
}

/// Orders chunks by where they lie, and joins neighbours. Chunks that lie nowhere are left to the walk.
fn batches(repository: &Inner, chunks: &HashSet<ChunkId>) -> Vec<Batch> {
    let index = repository.catalog.index();
    let place = |id: &ChunkId| {
        let location =
            index.find(BlobKind::Data, id.as_bytes()).min_by_key(|location| location.is_missing)?;
        Some((location.pack, location.blob))
    };
    let mut places: Vec<_> = chunks.iter().filter_map(place).collect();
    places.sort_unstable_by_key(|(pack, blob)| (*pack, blob.offset));
    let mut batches: Vec<Batch> = Vec::new();
    for (pack, blob) in places {
        match batches.last_mut() {
            Some(batch) if batch.takes(pack, &blob) => batch.blobs.push(blob),
            _ => batches.push(Batch { pack, blobs: vec![blob] }),
        }
    }
    batches
}

impl Batch {
    fn start(&self) -> u32 {
        self.blobs.first().map_or(0, |blob| blob.offset)
    }

    fn end(&self) -> u32 {
        self.blobs.last().map_or(0, |blob| blob.offset.saturating_add(blob.length))
    }

    fn takes(&self, pack: PackId, next: &PackedBlob) -> bool {
        let end = next.offset.saturating_add(next.length);
        pack == self.pack
            && next.offset.saturating_sub(self.end()) <= GAP_BYTES_MAX
            && end.saturating_sub(self.start()) <= READ_BYTES_MAX
    }
}

/// What came of reading a batch.
struct Outcome {
    batch: Batch,
    /// Those that are damaged here.
    bad: Vec<BadBlob>,
}

struct BadBlob {
    blob: PackedBlob,
    reason: String,
    /// Whether no other place has it either.
    is_lost: bool,
}

async fn read(repository: &Inner, batch: Batch) -> Result<Outcome> {
    let (offset, length) = (batch.start(), batch.end().saturating_sub(batch.start()) as usize);
    let sealed =
        repository.storage.read_range(FileKind::Pack, &batch.pack.into(), offset.into(), length).await;
    let (batch, failures) = match sealed {
        Ok(sealed) => open_batch(repository, batch, sealed).await?,
        Err(error) => {
            let error = Error::from(error);
            if !is_damage(&error) {
                return Err(error);
            }
            let failures = batch.blobs.iter().map(|blob| (*blob, error.to_string())).collect();
            (batch, failures)
        }
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
    repository: &Inner,
    batch: Batch,
    sealed: Bytes,
) -> Result<(Batch, Vec<(PackedBlob, String)>)> {
    let key = repository.key.clone();
    blocking(move || {
        let start = batch.start();
        let open = |blob: &PackedBlob| {
            let first = (blob.offset - start) as usize;
            let sealed = Bytes::copy_from_slice(&sealed[first..first + blob.length as usize]);
            open_blob(&key, blob, sealed).err().map(|reason| (*blob, reason.to_owned()))
        };
        let failures = batch.blobs.iter().filter_map(open).collect();
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
        report.bytes += plain_bytes(&self.batch.blobs) - lost_bytes;
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

fn plain_bytes(blobs: &[PackedBlob]) -> u64 {
    blobs.iter().map(|blob| u64::from(blob.plain_bytes())).sum()
}
