//! Copying what is needed out of packs of which most is not.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use sendense_storage::FileKind;

use super::plan::Plan;
use super::view::{BlobView, View};
use super::{Prune, PruneProgress};
use crate::blocking::blocking;
use crate::check::is_damage;
use crate::pack::{BlobKind, PackBuilder, PackedBlob};
use crate::reader::open_blob;
use crate::{ChunkId, Error, PackId, Result};

/// Neighbours in a pack are read together up to this many bytes.
const READ_BYTES_MAX: u32 = 16 << 20;

/// Bytes between two blobs that are cheaper to read than to skip.
const GAP_BYTES_MAX: u32 = 128 << 10;

/// The new packs. They are durable, and in no index file yet.
#[derive(Default)]
pub(super) struct Copies {
    pub(super) packs: Vec<CopiedPack>,
    /// Packs of which a needed blob cannot be read. They stay.
    pub(super) skipped: HashSet<u32>,
}

pub(super) struct CopiedPack {
    pub(super) id: PackId,
    pub(super) blobs: Vec<PackedBlob>,
    pub(super) size_bytes: u64,
}

/// Copies the needed blobs of the packs that the plan says. Each blob is opened and compared with its name on the
/// way; the sealed bytes stay as they are.
pub(super) async fn repack(prune: &Prune<'_>, view: &View, plan: &Plan) -> Result<Copies> {
    let mut copying = Copying {
        prune,
        total_bytes: plan.repack_bytes,
        done_bytes: 0,
        open: [BlobKind::Data, BlobKind::Tree].map(|kind| (kind, None)),
        copies: Copies::default(),
    };
    let mut needed: HashMap<u32, Vec<BlobView>> =
        plan.repack.iter().map(|number| (*number, Vec::new())).collect();
    for (blob, is_kept) in view.blobs.iter().zip(&plan.is_kept) {
        if let (true, Some(blobs)) = (is_kept, needed.get_mut(&blob.pack)) {
            blobs.push(*blob);
        }
    }
    for number in &plan.repack {
        prune.check_cancelled()?;
        prune.lock.check().await?;
        let mut blobs = needed.remove(number).unwrap_or_default();
        blobs.sort_unstable_by_key(|blob| blob.offset);
        let pack = view.pack(*number).id;
        for run in runs(&blobs) {
            match copying.copy(pack, run).await {
                Err(error) if is_damage(&error) => {
                    copying.copies.skipped.insert(*number);
                    break;
                }
                result => result?,
            }
        }
    }
    copying.finish().await
}

/// Splits blobs into those that are read together.
fn runs(blobs: &[BlobView]) -> Vec<&[BlobView]> {
    let (mut runs, mut start) = (Vec::new(), 0);
    for end in 1..=blobs.len() {
        let is_last = blobs.get(end).is_none_or(|next| {
            let reached = blobs[end - 1].offset.saturating_add(blobs[end - 1].length);
            next.offset.saturating_sub(reached) > GAP_BYTES_MAX
                || next.offset.saturating_add(next.length).saturating_sub(blobs[start].offset)
                    > READ_BYTES_MAX
        });
        if is_last {
            runs.push(&blobs[start..end]);
            start = end;
        }
    }
    runs
}

struct Copying<'a> {
    prune: &'a Prune<'a>,
    total_bytes: u64,
    done_bytes: u64,
    /// One pack of each kind that is being filled.
    open: [(BlobKind, Option<PackBuilder>); 2],
    copies: Copies,
}

impl Copying<'_> {
    async fn copy(&mut self, pack: PackId, run: &[BlobView]) -> Result<()> {
        let (Some(first), Some(last)) = (run.first(), run.last()) else { return Ok(()) };
        let length = last.offset.saturating_add(last.length) - first.offset;
        let (storage, offset) = (&self.prune.repository.storage, first.offset.into());
        let bytes = storage.read_range(FileKind::Pack, &pack.into(), offset, length as usize).await?;
        self.open_all(pack, run, first.offset, &bytes).await?;
        for blob in run {
            let start = (blob.offset - first.offset) as usize;
            self.add(blob, &bytes[start..start + blob.length as usize]).await?;
        }
        self.done_bytes += run.iter().map(|blob| u64::from(blob.length)).sum::<u64>();
        (self.prune.progress)(PruneProgress {
            repacked_bytes: self.done_bytes,
            total_repack_bytes: self.total_bytes,
            ..PruneProgress::default()
        });
        Ok(())
    }

    async fn open_all(&self, pack: PackId, run: &[BlobView], start: u32, bytes: &Bytes) -> Result<()> {
        let (key, bytes) = (self.prune.repository.key.clone(), bytes.clone());
        let blobs: Vec<PackedBlob> = run.iter().map(BlobView::blob).collect();
        blocking(move || {
            for blob in &blobs {
                let first = (blob.offset - start) as usize;
                let sealed = Bytes::copy_from_slice(&bytes[first..first + blob.length as usize]);
                open_blob(&key, blob, sealed).map_err(|reason| Error::DamagedChunk {
                    id: ChunkId::from_bytes(blob.id),
                    pack,
                    reason: reason.into(),
                })?;
            }
            Ok(())
        })
        .await
    }

    async fn add(&mut self, blob: &BlobView, sealed: &[u8]) -> Result<()> {
        let repository = self.prune.repository;
        let pack_bytes = repository.packer.pack_bytes();
        let Some((_, open)) = self.open.iter_mut().find(|(kind, _)| *kind == blob.kind) else {
            return Ok(());
        };
        let builder =
            open.get_or_insert_with(|| PackBuilder::new(&repository.key, blob.kind, pack_bytes, Vec::new()));
        builder.add_sealed(blob.id, sealed, blob.uncompressed)?;
        if builder.is_full() {
            let full = open.take();
            self.write(full).await?;
        }
        Ok(())
    }

    async fn write(&mut self, builder: Option<PackBuilder>) -> Result<()> {
        let Some(builder) = builder.filter(|builder| !builder.is_empty()) else { return Ok(()) };
        let finished = blocking(move || builder.finish()).await?;
        let size_bytes = finished.content.len() as u64;
        let storage = &self.prune.repository.storage;
        storage.write(FileKind::Pack, &finished.id.into(), finished.content).await?;
        self.copies.packs.push(CopiedPack { id: finished.id, blobs: finished.blobs, size_bytes });
        Ok(())
    }

    async fn finish(mut self) -> Result<Copies> {
        for position in 0..self.open.len() {
            let rest = self.open[position].1.take();
            self.write(rest).await?;
        }
        Ok(self.copies)
    }
}
