//! Reading every byte.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use rand::seq::SliceRandom;
use sendense_sha256::Sha256;
use sendense_storage::{ErrorKind, FileKind};
use tokio_util::sync::CancellationToken;

use super::{CheckProgress, CheckReport, Problem, reads_max};
use crate::blocking::blocking;
use crate::opener::{MISPLACED, cut};
use crate::pack::{self, PackedBlob};
use crate::repository::Inner;
use crate::{ChunkId, Error, PackId, Result};

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

/// Reads these packs. The catalog knows then which of their blobs are damaged.
pub(super) async fn read_all(
    repository: &Arc<Inner>,
    packs: Vec<(PackId, u64)>,
    report: &mut CheckReport,
    state: &mut CheckProgress,
    progress: &(dyn Fn(CheckProgress) + Send + Sync),
    cancel: &CancellationToken,
) -> Result<()> {
    state.total_bytes = packs.iter().map(|(_, size_bytes)| size_bytes).sum();
    progress(*state);
    let mut reads = futures::stream::iter(packs)
        .map(|(id, size_bytes)| async move { (id, size_bytes, read(repository, id).await) })
        .buffer_unordered(reads_max());
    while let Some((id, size_bytes, result)) = reads.next().await {
        if cancel.is_cancelled() {
            return Err(Error::Cancelled);
        }
        let findings = result?;
        if findings.is_gone {
            repository.catalog.miss(&id);
        } else {
            let damaged: Vec<u32> = findings.bad_blobs.iter().map(|(blob, _)| blob.offset).collect();
            repository.catalog.judge(id, |_| true, &damaged);
        }
        report.problems.extend(findings.into_problems(id));
        report.read_packs += 1;
        report.read_bytes += size_bytes;
        state.checked_bytes += size_bytes;
        progress(*state);
    }
    Ok(())
}

/// What is wrong with one pack.
#[derive(Default)]
struct Findings {
    pack: Option<String>,
    /// It was there when it was listed.
    is_gone: bool,
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

async fn read(repository: &Arc<Inner>, id: PackId) -> Result<Findings> {
    let content = match repository.storage.read(FileKind::Pack, &id.into()).await {
        Ok(content) => content,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Damaged) => {
            let bad_blobs = repository.catalog.index().blobs_of(&id).into_iter();
            return Ok(Findings {
                pack: Some(error.to_string()),
                is_gone: error.kind() == ErrorKind::NotFound,
                bad_blobs: bad_blobs.map(|blob| (blob, "its pack cannot be read")).collect(),
            });
        }
        Err(error) => return Err(error.into()),
    };
    let repository = Arc::clone(repository);
    blocking(move || examine(&repository, id, content)).await
}

/// Goes through a pack once and opens it in place. Two hashes at a time: those of its blobs beside that of the pack,
/// which goes ahead of them, and then those of two blobs.
fn examine(repository: &Inner, id: PackId, content: Bytes) -> Result<Findings> {
    let (mut blobs, mut reason) = compare_with_index(repository, id, pack::parse(&repository.key, &content));
    let mut content = content.try_into_mut().unwrap_or_else(|shared| BytesMut::from(shared.as_ref()));
    blobs.sort_unstable_by_key(|blob| blob.offset);
    let (mut hash, mut hashed, mut opened, mut bad_blobs) = (Sha256::default(), 0, 0, Vec::new());
    let mut visit = |blob: &PackedBlob, plain: Result<&[u8], &'static str>| {
        bad_blobs.extend(plain.err().map(|reason| (*blob, reason)));
    };
    repository.openers.with(|opener| {
        let mut rest = blobs.as_slice();
        while let [blob, behind @ ..] = rest
            && hashed < content.len()
        {
            rest = behind;
            let (start, end) = (blob.offset as usize, blob.offset as usize + blob.length as usize);
            if start < opened || end > content.len() {
                // Only what an index says that does not fit its pack.
                visit(blob, Err(MISPLACED));
                continue;
            }
            if hashed < end {
                hash.update(&content[hashed..end]);
                hashed = end;
            }
            let (sealed, ahead) = content.split_at_mut(hashed);
            let ahead = &ahead[..ahead.len().min(blob.plain_bytes() as usize)];
            let sealed = &mut sealed[start..end];
            visit(blob, opener.open_beside(&repository.key, (blob, sealed), (&mut hash, ahead)));
            (hashed, opened) = (hashed + ahead.len(), end);
        }
        opener.open_all(&repository.key, cut(&mut content[opened..], opened, rest), visit);
    })?;
    // What lies behind the last blob.
    hash.update(&content[hashed..]);
    if PackId::from_bytes(hash.finish()) != id {
        reason = Some("its content does not match its name".into());
    }
    Ok(Findings { pack: reason, is_gone: false, bad_blobs })
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
