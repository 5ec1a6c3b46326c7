//! Reading every byte.

use std::collections::HashSet;

use bytes::Bytes;
use futures::StreamExt;
use rand::seq::SliceRandom;
use sendense_storage::{ErrorKind, FileKind};
use tokio_util::sync::CancellationToken;

use super::{CheckProgress, CheckReport, Problem};
use crate::blocking::blocking;
use crate::crypto::Key;
use crate::pack::{self, PackedBlob};
use crate::reader::open_blob;
use crate::repository::Inner;
use crate::{ChunkId, Error, PackId, Result};

/// Packs that are read at a time, each as a whole.
const READS_MAX: usize = 4;

/// Where blobs were found damaged.
#[derive(Debug, Default)]
pub(crate) struct BadPlaces(HashSet<(PackId, u32)>);

impl BadPlaces {
    pub(crate) fn contains(&self, pack: PackId, blob: &PackedBlob) -> bool {
        self.0.contains(&(pack, blob.offset))
    }

    pub(super) fn insert(&mut self, pack: PackId, blob: &PackedBlob) {
        self.0.insert((pack, blob.offset));
    }
}

/// The packs to read, with their sizes: all that the index names and that are there, or so many percent of them.
pub(super) fn choose(repository: &Inner, percent: Option<f64>) -> Result<Vec<(PackId, u64)>> {
    let mut packs: Vec<(PackId, u64)> = repository.catalog.index().present_packs().collect();
    let Some(percent) = percent else { return Ok(packs) };
    if !(percent > 0.0 && percent <= 100.0) {
        return Err(Error::Unacceptable { reason: format!("a sample of {percent} percent") });
    }
    packs.shuffle(&mut rand::rng());
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a part of a number of packs"
    )]
    let len = (packs.len() as f64 * percent / 100.0).ceil() as usize;
    packs.truncate(len);
    Ok(packs)
}

/// Reads these packs.
pub(super) async fn read_all(
    repository: &Inner,
    packs: Vec<(PackId, u64)>,
    report: &mut CheckReport,
    state: &mut CheckProgress,
    progress: &(dyn Fn(CheckProgress) + Send + Sync),
    cancel: &CancellationToken,
) -> Result<BadPlaces> {
    state.total_bytes = packs.iter().map(|(_, size_bytes)| size_bytes).sum();
    progress(*state);
    let mut bad_places = BadPlaces::default();
    let mut reads = futures::stream::iter(packs)
        .map(|(id, size_bytes)| async move { (id, size_bytes, read(repository, id).await) })
        .buffer_unordered(READS_MAX);
    while let Some((id, size_bytes, result)) = reads.next().await {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let findings = result?;
        findings.bad_blobs.iter().for_each(|(blob, _)| bad_places.insert(id, blob));
        report.problems.extend(findings.into_problems(id));
        report.read_packs += 1;
        report.read_bytes += size_bytes;
        state.checked_bytes += size_bytes;
        progress(*state);
    }
    Ok(bad_places)
}

/// What is wrong with one pack.
#[derive(Default)]
struct Findings {
    pack: Option<String>,
    bad_blobs: Vec<(PackedBlob, &'static str)>,
}

impl Findings {
    fn into_problems(self, pack: PackId) -> impl Iterator<Item = Problem> {
        let of_blobs = self.bad_blobs.into_iter().map(move |(blob, reason)| Problem::BlobDamaged {
            id: ChunkId::from_bytes(blob.id),
            pack,
            reason: reason.into(),
        });
        self.pack.map(|reason| Problem::PackDamaged { id: pack, reason }).into_iter().chain(of_blobs)
    }
}

async fn read(repository: &Inner, id: PackId) -> Result<Findings> {
    let content = match repository.storage.read(FileKind::Pack, &id.into()).await {
        Ok(content) => content,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Damaged) => {
            let bad_blobs = repository.catalog.index().blobs_of(&id).into_iter();
            return Ok(Findings {
                pack: Some(error.to_string()),
                bad_blobs: bad_blobs.map(|blob| (blob, "its pack cannot be read")).collect(),
            });
        }
        Err(error) => return Err(error.into()),
    };
    let key = repository.key.clone();
    let (content, header) = blocking(move || {
        let header = if PackId::of(&content) == id {
            pack::parse(&key, &content)
        } else {
            Err("its content does not match its name")
        };
        Ok((content, header))
    })
    .await?;
    let (blobs, reason) = compare_with_index(repository, id, header);
    let key = repository.key.clone();
    blocking(move || Ok(Findings { pack: reason, bad_blobs: open_all(&key, &content, &blobs) })).await
}

/// The blobs to look at, and what is wrong with the pack as a whole. If the pack cannot be believed, the index says
/// where its blobs are.
fn compare_with_index(
    repository: &Inner,
    id: PackId,
    header: Result<Vec<PackedBlob>, &'static str>,
) -> (Vec<PackedBlob>, Option<String>) {
    let index = repository.catalog.index();
    let is_indexed = |blob: &PackedBlob| {
        index.find(blob.kind, &blob.id).any(|location| location.pack == id && location.blob == *blob)
    };
    match header {
        // Both sizes are the same, so if each blob of the header is in the index, there are no others.
        Ok(blobs) if blobs.iter().all(is_indexed) => (blobs, None),
        Ok(_) => (index.blobs_of(&id), Some("the index does not agree with its header".into())),
        Err(reason) => (index.blobs_of(&id), Some(reason.into())),
    }
}

fn open_all(key: &Key, content: &Bytes, blobs: &[PackedBlob]) -> Vec<(PackedBlob, &'static str)> {
    let open = |blob: &PackedBlob| {
        let (start, length) = (blob.offset as usize, blob.length as usize);
        let Some(sealed) = content.get(start..).and_then(|rest| rest.get(..length)) else {
            return Some((*blob, "its pack is too short"));
        };
        open_blob(key, blob, Bytes::copy_from_slice(sealed)).err().map(|reason| (*blob, reason))
    };
    blobs.iter().filter_map(open).collect()
}
