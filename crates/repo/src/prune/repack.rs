//! Copying what is needed out of packs of which most is not.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use sendense_storage::FileKind;

use super::plan::Plan;
use super::view::View;
use super::{Prune, PruneProgress};
use crate::blocking::blocking;
use crate::check::is_damage;
use crate::filling::{Filling, WrittenPack};
use crate::pack::PackedBlob;
use crate::reader::open_blob;
use crate::stretch::{Stretch, stretches};
use crate::{ChunkId, Error, PackId, Result};

/// Neighbours in a pack are read together up to this many bytes.
const READ_BYTES_MAX: u64 = 16 << 20;

/// The new packs. They are durable, and in no index file yet.
#[derive(Default)]
pub(super) struct Copies {
    pub(super) packs: Vec<WrittenPack>,
    /// Packs of which a needed blob cannot be read. They stay.
    pub(super) skipped: HashSet<u32>,
}

/// Copies the needed blobs of the packs that the plan says. Each blob is opened and compared with its name on the
/// way; the sealed bytes stay as they are.
pub(super) async fn repack(prune: &Prune<'_>, view: &View, plan: &Plan) -> Result<Copies> {
    let mut copying = Copying {
        prune,
        total_bytes: plan.repack_bytes,
        done_bytes: 0,
        filling: Filling::new(prune.repository),
        copies: Copies::default(),
    };
    let mut needed: HashMap<u32, Vec<PackedBlob>> =
        plan.repack.iter().map(|number| (*number, Vec::new())).collect();
    for (blob, is_kept) in view.blobs.iter().zip(&plan.is_kept) {
        if let (true, Some(blobs)) = (is_kept, needed.get_mut(&blob.pack)) {
            blobs.push(blob.blob());
        }
    }
    for number in &plan.repack {
        prune.check_cancelled()?;
        prune.lock.check().await?;
        let mut blobs = needed.remove(number).unwrap_or_default();
        blobs.sort_unstable_by_key(|blob| blob.offset);
        let pack = view.pack(*number).id;
        for (stretch, blobs) in stretches(&blobs, READ_BYTES_MAX) {
            match copying.copy(pack, stretch, blobs).await {
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

struct Copying<'a> {
    prune: &'a Prune<'a>,
    total_bytes: u64,
    done_bytes: u64,
    filling: Filling<'a>,
    copies: Copies,
}

impl Copying<'_> {
    async fn copy(&mut self, pack: PackId, stretch: Stretch, blobs: &[PackedBlob]) -> Result<()> {
        let (storage, start) = (&self.prune.repository.storage, stretch.start());
        let bytes = storage.read_range(FileKind::Pack, &pack.into(), start.into(), stretch.len()).await?;
        self.open_all(pack, blobs, start, &bytes).await?;
        for blob in blobs {
            let first = (blob.offset - start) as usize;
            let full = self.filling.add_sealed(blob, &bytes[first..first + blob.length as usize]).await?;
            self.copies.packs.extend(full);
        }
        self.done_bytes += blobs.iter().map(|blob| u64::from(blob.length)).sum::<u64>();
        (self.prune.progress)(PruneProgress {
            repacked_bytes: self.done_bytes,
            total_repack_bytes: self.total_bytes,
            ..PruneProgress::default()
        });
        Ok(())
    }

    async fn open_all(&self, pack: PackId, blobs: &[PackedBlob], start: u32, bytes: &Bytes) -> Result<()> {
        let (key, bytes, blobs) = (self.prune.repository.key.clone(), bytes.clone(), blobs.to_vec());
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

    async fn finish(self) -> Result<Copies> {
        let Self { filling, mut copies, .. } = self;
        copies.packs.extend(filling.finish().await?);
        Ok(copies)
    }
}
