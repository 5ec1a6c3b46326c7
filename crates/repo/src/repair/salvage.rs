//! Copying what is whole out of damaged packs.

use std::collections::HashSet;

use sendense_storage::FileKind;

use super::{Repair, is_whole_somewhere};
use crate::blocking::blocking;
use crate::check::{BadPlaces, is_damage};
use crate::pack::{BlobKind, FinishedPack, PackBuilder, PackedBlob};
use crate::reader::open_blob;
use crate::{PackId, Result};

/// New packs that a repair fills: one of chunks and one of directories.
pub(super) struct Filling<'a> {
    repair: &'a Repair<'a>,
    data: PackBuilder,
    trees: PackBuilder,
}

impl<'a> Filling<'a> {
    pub(super) fn new(repair: &'a Repair<'a>) -> Self {
        let builder = |kind| {
            let repository = repair.repository;
            PackBuilder::new(&repository.key, kind, repository.packer.pack_bytes(), Vec::new())
        };
        Self { repair, data: builder(BlobKind::Data), trees: builder(BlobKind::Tree) }
    }

    fn builder(&mut self, kind: BlobKind) -> &mut PackBuilder {
        match kind {
            BlobKind::Data => &mut self.data,
            BlobKind::Tree => &mut self.trees,
        }
    }

    /// Adds a blob with its sealed bytes.
    pub(super) async fn add_sealed(&mut self, blob: &PackedBlob, sealed: &[u8]) -> Result<()> {
        self.builder(blob.kind).add_sealed(blob.id, sealed, blob.uncompressed)?;
        self.write_full(blob.kind).await
    }

    /// Adds a blob as [`PackBuilder::add`] does.
    pub(super) async fn add(
        &mut self,
        kind: BlobKind,
        id: [u8; 32],
        payload: &[u8],
        uncompressed: u32,
    ) -> Result<()> {
        self.builder(kind).add(id, payload, uncompressed)?;
        self.write_full(kind).await
    }

    async fn write_full(&mut self, kind: BlobKind) -> Result<()> {
        if self.builder(kind).is_full() { self.write(kind).await } else { Ok(()) }
    }

    /// Writes what was added. Index files do not name it yet.
    pub(super) async fn finish(mut self) -> Result<()> {
        self.write(BlobKind::Data).await?;
        self.write(BlobKind::Tree).await
    }

    async fn write(&mut self, kind: BlobKind) -> Result<()> {
        let repository = self.repair.repository;
        let empty = PackBuilder::new(&repository.key, kind, repository.packer.pack_bytes(), Vec::new());
        let builder = std::mem::replace(self.builder(kind), empty);
        if builder.is_empty() {
            return Ok(());
        }
        let FinishedPack { id, content, blobs } = blocking(move || builder.finish()).await?;
        let size_bytes = content.len() as u64;
        repository.storage.write(FileKind::Pack, &id.into(), content).await?;
        repository.catalog.add_pack(id, &blobs, size_bytes);
        Ok(())
    }
}

impl Repair<'_> {
    /// Copies the blobs of damaged packs that are whole and lie nowhere else. Returns how many.
    pub(super) async fn salvage(&self, damaged: &HashSet<PackId>, bad_places: &BadPlaces) -> Result<u64> {
        let (mut filling, mut salvaged, mut seen) = (Filling::new(self), 0, HashSet::new());
        for pack in damaged {
            self.check_cancelled()?;
            let blobs = self.repository.catalog.index().blobs_of(pack);
            for blob in blobs.iter().filter(|blob| !bad_places.contains(*pack, blob)) {
                let is_elsewhere =
                    is_whole_somewhere(self.repository, blob.kind, &blob.id, damaged, bad_places);
                if is_elsewhere || !seen.insert((blob.kind, blob.id)) {
                    continue;
                }
                if let Some(sealed) = self.read_whole(*pack, blob).await? {
                    filling.add_sealed(blob, &sealed).await?;
                    salvaged += 1;
                }
            }
        }
        filling.finish().await?;
        Ok(salvaged)
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
