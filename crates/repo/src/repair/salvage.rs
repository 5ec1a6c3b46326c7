//! Copying what is whole out of damaged packs.

use std::collections::HashSet;
use std::sync::PoisonError;

use sendense_storage::FileKind;

use super::{Repair, is_whole_somewhere};
use crate::blocking::blocking;
use crate::check::is_damage;
use crate::filling::{Filling, WrittenPack};
use crate::pack::PackedBlob;
use crate::reader::open_blob;
use crate::{PackId, Result};

impl Repair<'_> {
    /// Copies the blobs of damaged packs that are whole and lie nowhere else. Returns how many.
    pub(super) async fn salvage(&self, damaged: &HashSet<PackId>) -> Result<u64> {
        let (mut filling, mut salvaged, mut seen) = (Filling::new(self.repository), 0, HashSet::new());
        for pack in damaged {
            self.check_cancelled()?;
            let blobs = self.repository.catalog.index().blobs_of(pack);
            for blob in &blobs {
                let is_elsewhere = is_whole_somewhere(self.repository, blob.kind, &blob.id, damaged);
                if is_elsewhere || seen.contains(&(blob.kind, blob.id)) {
                    continue;
                }
                if let Some(sealed) = self.read_whole(*pack, blob).await? {
                    self.make_known(filling.add_sealed(blob, &sealed).await?);
                    seen.insert((blob.kind, blob.id));
                    salvaged += 1;
                }
            }
        }
        self.make_known(filling.finish().await?);
        Ok(salvaged)
    }

    /// The packs are in the index from now on, and in an index file with the next one that is written.
    pub(super) fn make_known(&self, packs: impl IntoIterator<Item = WrittenPack>) {
        for WrittenPack { id, blobs, size_bytes } in packs {
            self.written.lock().unwrap_or_else(PoisonError::into_inner).push((id, size_bytes));
            self.repository.catalog.add_pack(id, &blobs, size_bytes);
        }
    }

    /// The sealed bytes of a blob if they are what they must be.
    async fn read_whole(&self, pack: PackId, blob: &PackedBlob) -> Result<Option<bytes::Bytes>> {
        let (offset, length) = (blob.offset.into(), blob.length as usize);
        let read = self.repository.storage.read_range(FileKind::Pack, &pack.into(), offset, length).await;
        let sealed = match read.map_err(crate::Error::from) {
            Err(error) if is_damage(&error) => return Ok(None),
            sealed => sealed?,
        };
        let (key, blob, copy) = (self.repository.key.clone(), *blob, sealed.clone());
        let is_whole = blocking(move || Ok(open_blob(&key, &blob, copy).is_ok())).await?;
        Ok(is_whole.then_some(sealed))
    }
}
