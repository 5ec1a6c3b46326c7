//! Reading blobs as they are stored: opened and compared with their names, and still compressed.

use bytes::Bytes;
use sendense_storage::FileKind;
use sha2::{Digest, Sha256};

use crate::blocking::blocking;
use crate::crypto::Key;
use crate::index::Location;
use crate::pack::{BlobKind, PackedBlob};
use crate::reader::decompress;
use crate::repository::Inner;
use crate::{ChunkId, Error, PackId, Payload, Result};

/// Neighbours in a pack are read together up to this many bytes.
const READ_BYTES_MAX: u32 = 8 << 20;

/// Bytes between two blobs that are cheaper to read than to skip.
const GAP_BYTES_MAX: u32 = 128 << 10;

/// A blob on its way from one repository to another.
pub(crate) struct OpenedBlob {
    pub(crate) id: [u8; 32],
    pub(crate) payload: Payload,
    pub(crate) plain_bytes: u32,
}

/// Chunks of one pack that are read together.
pub(crate) struct Batch {
    pack: PackId,
    /// In the order in which they lie.
    blobs: Vec<PackedBlob>,
}

impl Batch {
    pub(crate) fn plain_bytes(&self) -> u64 {
        self.blobs.iter().map(|blob| u64::from(blob.plain_bytes())).sum()
    }
}

/// Orders chunks by where they lie and joins neighbours. Fails with [`Error::ChunkMissing`] when one lies nowhere.
pub(crate) fn batches(repository: &Inner, chunks: &[ChunkId]) -> Result<Vec<Batch>> {
    let index = repository.catalog.index();
    let mut places = Vec::with_capacity(chunks.len());
    for id in chunks {
        let best = index.find(BlobKind::Data, id.as_bytes()).min_by_key(|place| place.is_missing);
        let place = best.ok_or(Error::ChunkMissing { id: *id })?;
        places.push((place.pack, place.blob));
    }
    drop(index);
    places.sort_unstable_by_key(|(pack, blob)| (*pack, blob.offset));
    let mut batches: Vec<Batch> = Vec::new();
    for (pack, blob) in places {
        match batches.last_mut().filter(|batch| batch.takes(pack, &blob)) {
            Some(batch) => batch.blobs.push(blob),
            None => batches.push(Batch { pack, blobs: vec![blob] }),
        }
    }
    Ok(batches)
}

impl Batch {
    fn takes(&self, pack: PackId, next: &PackedBlob) -> bool {
        let (Some(first), Some(last)) = (self.blobs.first(), self.blobs.last()) else { return true };
        let reached = last.offset.saturating_add(last.length);
        pack == self.pack
            && next.offset.saturating_sub(reached) <= GAP_BYTES_MAX
            && next.offset.saturating_add(next.length).saturating_sub(first.offset) <= READ_BYTES_MAX
    }
}

/// Reads a batch. A chunk that is damaged where it is read together with others is looked for elsewhere.
pub(crate) async fn read_batch(repository: &Inner, batch: Batch) -> Result<Vec<OpenedBlob>> {
    match read_together(repository, &batch).await {
        Ok(opened) => Ok(opened),
        Err(error) if crate::check::is_damage(&error) => {
            let mut opened = Vec::with_capacity(batch.blobs.len());
            for blob in &batch.blobs {
                opened.push(read_one(repository, blob.kind, &blob.id).await?);
            }
            Ok(opened)
        }
        Err(error) => Err(error),
    }
}

async fn read_together(repository: &Inner, batch: &Batch) -> Result<Vec<OpenedBlob>> {
    let (Some(first), Some(last)) = (batch.blobs.first(), batch.blobs.last()) else { return Ok(Vec::new()) };
    let (start, length) = (first.offset, last.offset.saturating_add(last.length) - first.offset);
    let (pack, blobs, key) = (batch.pack, batch.blobs.clone(), repository.key.clone());
    let bytes =
        repository.storage.read_range(FileKind::Pack, &pack.into(), start.into(), length as usize).await?;
    blocking(move || {
        let open = |blob: &PackedBlob| {
            let first = (blob.offset - start) as usize;
            open(&key, pack, blob, &bytes[first..first + blob.length as usize])
        };
        blobs.iter().map(open).collect()
    })
    .await
}

/// Reads a blob from the first of its places where it is whole. Fails with [`Error::ChunkMissing`] when it has none.
pub(crate) async fn read_one(repository: &Inner, kind: BlobKind, id: &[u8; 32]) -> Result<OpenedBlob> {
    let mut places: Vec<Location> = repository.catalog.index().find(kind, id).collect();
    places.sort_by_key(|place| place.is_missing);
    let mut failure = Error::ChunkMissing { id: ChunkId::from_bytes(*id) };
    for Location { pack, blob, .. } in places {
        let batch = Batch { pack, blobs: vec![blob] };
        match read_together(repository, &batch).await {
            Ok(mut opened) => {
                if let Some(blob) = opened.pop() {
                    return Ok(blob);
                }
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

/// Opens a blob without decompressing it for good: only its hash is taken of the plain bytes.
fn open(key: &Key, pack: PackId, blob: &PackedBlob, sealed: &[u8]) -> Result<OpenedBlob> {
    let damaged = |reason: &str| Error::DamagedChunk {
        id: ChunkId::from_bytes(blob.id),
        pack,
        reason: reason.to_owned(),
    };
    let text = key.open(sealed).map_err(|_| damaged("it is not authentic"))?;
    let (hash, payload) = if blob.uncompressed == 0 {
        (Sha256::digest(&text), Payload::Plain(Bytes::from(text)))
    } else {
        let plain = decompress(&text, blob.uncompressed as usize).map_err(damaged)?;
        (Sha256::digest(&plain), Payload::Zstd(Bytes::from(text)))
    };
    if hash.as_slice() != blob.id {
        return Err(damaged("its content does not match its name"));
    }
    Ok(OpenedBlob { id: blob.id, payload, plain_bytes: blob.plain_bytes() })
}
