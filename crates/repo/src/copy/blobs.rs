//! Reading blobs as they are stored: opened and compared with their names, and still compressed.

use std::collections::HashSet;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::blocking::blocking;
use crate::crypto::Key;
use crate::index::Location;
use crate::pack::{BlobKind, PackedBlob};
use crate::read_batch::{ReadBatch, plan, read_sealed};
use crate::reader::decompress;
use crate::repository::Inner;
use crate::{ChunkId, Error, PackId, Payload, Result};

/// Neighbours in a pack are read together up to this many bytes, stored and plain.
const READ_BYTES_MAX: u64 = 16 << 20;

/// A blob on its way from one repository to another.
pub(crate) struct OpenedBlob {
    pub(crate) id: [u8; 32],
    pub(crate) payload: Payload,
    pub(crate) plain_bytes: u32,
}

/// Orders distinct chunks by where they lie and joins neighbours. Fails with [`Error::ChunkMissing`] when one lies
/// nowhere.
pub(crate) fn batches(repository: &Inner, chunks: &[ChunkId]) -> Result<Vec<ReadBatch>> {
    let batches = plan(repository, chunks.iter().copied(), READ_BYTES_MAX);
    if batches.iter().map(|batch| batch.blobs.len()).sum::<usize>() == chunks.len() {
        return Ok(batches);
    }
    let found: HashSet<ChunkId> = batches.iter().flat_map(ReadBatch::chunk_ids).collect();
    match chunks.iter().find(|id| !found.contains(id)) {
        Some(id) => Err(Error::ChunkMissing { id: *id }),
        None => Ok(batches),
    }
}

/// Reads a batch. A chunk that is damaged where it is read together with others is looked for elsewhere.
pub(crate) async fn read_batch(repository: &Inner, batch: ReadBatch) -> Result<Vec<OpenedBlob>> {
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

async fn read_together(repository: &Inner, batch: &ReadBatch) -> Result<Vec<OpenedBlob>> {
    let (pack, blobs, key) = (batch.pack, batch.blobs.clone(), repository.key.clone());
    let (bytes, start) = (read_sealed(repository, batch).await?, batch.stretch.start());
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
    places.sort_by_key(Location::is_doubtful);
    let mut failure = Error::ChunkMissing { id: ChunkId::from_bytes(*id) };
    for Location { pack, blob, .. } in places {
        let batch = ReadBatch::new(pack, blob);
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
