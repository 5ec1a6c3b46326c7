//! New packs out of blobs that exist.

use sendense_storage::FileKind;

use crate::blocking::blocking;
use crate::pack::{BlobKind, FinishedPack, PackBuilder, PackedBlob};
use crate::repository::Inner;
use crate::{PackId, Result};

/// A pack that is durable, and in no index.
pub(crate) struct WrittenPack {
    pub(crate) id: PackId,
    pub(crate) blobs: Vec<PackedBlob>,
    pub(crate) size_bytes: u64,
}

/// Fills one pack of chunks and one of directories at a time.
pub(crate) struct Filling<'a> {
    repository: &'a Inner,
    data: PackBuilder,
    trees: PackBuilder,
}

impl<'a> Filling<'a> {
    pub(crate) fn new(repository: &'a Inner) -> Self {
        let [data, trees] = [BlobKind::Data, BlobKind::Tree].map(|kind| builder(repository, kind));
        Self { repository, data, trees }
    }

    fn builder(&mut self, kind: BlobKind) -> &mut PackBuilder {
        match kind {
            BlobKind::Data => &mut self.data,
            BlobKind::Tree => &mut self.trees,
        }
    }

    /// Adds a blob with its sealed bytes. Returns the pack that is full with it.
    pub(crate) async fn add_sealed(
        &mut self,
        blob: &PackedBlob,
        sealed: &[u8],
    ) -> Result<Option<WrittenPack>> {
        self.builder(blob.kind).add_sealed(blob.id, sealed, blob.uncompressed)?;
        self.write_full(blob.kind).await
    }

    /// Adds a blob as [`PackBuilder::add`] does. Returns the pack that is full with it.
    pub(crate) async fn add(
        &mut self,
        kind: BlobKind,
        id: [u8; 32],
        payload: &[u8],
        uncompressed: u32,
    ) -> Result<Option<WrittenPack>> {
        self.builder(kind).add(id, payload, uncompressed)?;
        self.write_full(kind).await
    }

    async fn write_full(&mut self, kind: BlobKind) -> Result<Option<WrittenPack>> {
        if !self.builder(kind).is_full() {
            return Ok(None);
        }
        let empty = builder(self.repository, kind);
        let full = std::mem::replace(self.builder(kind), empty);
        write(self.repository, full).await
    }

    /// Writes what is not full.
    pub(crate) async fn finish(self) -> Result<impl Iterator<Item = WrittenPack>> {
        let data = write(self.repository, self.data).await?;
        let trees = write(self.repository, self.trees).await?;
        Ok(data.into_iter().chain(trees))
    }
}

fn builder(repository: &Inner, kind: BlobKind) -> PackBuilder {
    PackBuilder::new(&repository.key, kind, repository.packer.pack_bytes(), Vec::new())
}

async fn write(repository: &Inner, builder: PackBuilder) -> Result<Option<WrittenPack>> {
    if builder.is_empty() {
        return Ok(None);
    }
    let FinishedPack { id, content, blobs } = blocking(move || builder.finish()).await?;
    let size_bytes = content.len() as u64;
    repository.storage.write(FileKind::Pack, &id.into(), content).await?;
    Ok(Some(WrittenPack { id, blobs, size_bytes }))
}
