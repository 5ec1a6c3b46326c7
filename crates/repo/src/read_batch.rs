//! Chunks that lie side by side in a pack and are read with one request.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use sendense_storage::FileKind;

use crate::blocking::blocking;
use crate::check::is_damage;
use crate::index::Location;
use crate::opener::cut;
use crate::pack::{BlobKind, PackedBlob};
use crate::repository::Inner;
use crate::stretch::Stretch;
use crate::{ChunkId, Error, PackId, Result};

/// Chunks of one pack, in the order in which they lie. Made by [`crate::Repository::plan_reads`].
#[derive(Debug)]
pub struct ReadBatch {
    pub(crate) pack: PackId,
    pub(crate) blobs: Vec<PackedBlob>,
    pub(crate) stretch: Stretch,
    plain_bytes: u64,
}

impl ReadBatch {
    /// The bytes of its chunks.
    #[must_use]
    pub fn plain_bytes(&self) -> u64 {
        self.plain_bytes
    }

    /// Its chunks.
    pub fn chunk_ids(&self) -> impl Iterator<Item = ChunkId> + '_ {
        self.blobs.iter().map(|blob| ChunkId::from_bytes(blob.id))
    }

    /// A batch of one.
    pub(crate) fn new(pack: PackId, blob: PackedBlob) -> Self {
        Self { pack, blobs: vec![blob], stretch: Stretch::of(&blob), plain_bytes: blob.plain_bytes().into() }
    }

    /// Grows by a blob; `false` if that is read better with the next batch.
    fn take(&mut self, pack: PackId, next: &PackedBlob, bytes_max: u64) -> bool {
        let plain_bytes = self.plain_bytes + u64::from(next.plain_bytes());
        let takes = pack == self.pack && plain_bytes <= bytes_max && self.stretch.take(next, bytes_max);
        if takes {
            self.blobs.push(*next);
            self.plain_bytes = plain_bytes;
        }
        takes
    }
}

/// Orders chunks by where they lie, and joins neighbours to batches of at most `bytes_max`, stored and plain; a
/// larger chunk is a batch of its own. Chunks that lie nowhere are in no batch.
pub(crate) fn plan(
    repository: &Inner,
    ids: impl IntoIterator<Item = ChunkId>,
    bytes_max: u64,
) -> Vec<ReadBatch> {
    let index = repository.catalog.index();
    let place = |id: ChunkId| {
        let places = index.find(BlobKind::Data, id.as_bytes());
        places.min_by_key(Location::is_doubtful).map(|place| (place.pack, place.blob))
    };
    let mut places: Vec<_> = ids.into_iter().filter_map(place).collect();
    drop(index);
    places.sort_unstable_by_key(|(pack, blob)| (*pack, blob.offset));
    places.dedup();
    let mut batches: Vec<ReadBatch> = Vec::new();
    for (pack, blob) in places {
        if !batches.last_mut().is_some_and(|batch| batch.take(pack, &blob, bytes_max)) {
            batches.push(ReadBatch::new(pack, blob));
        }
    }
    batches
}

/// Reads a batch, as [`crate::Repository::read_batch`] says.
pub(crate) async fn read<E, V>(repository: &Arc<Inner>, batch: ReadBatch, visit: V) -> Result<(), E>
where
    E: From<Error> + Send + 'static,
    V: FnMut(&ChunkId, &[u8]) -> Result<(), E> + Send + 'static,
{
    let (rest, mut visit) = match read_sealed(repository, &batch).await {
        Ok(sealed) => {
            let repository = Arc::clone(repository);
            blocking(move || open_and_visit(&repository, &batch, sealed, visit)).await??
        }
        Err(error) if is_damage(&error) => (batch.chunk_ids().collect(), visit),
        Err(error) => return Err(error.into()),
    };
    // A chunk that is not whole here may be whole elsewhere.
    for id in rest {
        let plain = repository.read_chunk(&id).await?;
        visit = blocking(move || Ok(visit(&id, &plain).map(|()| visit))).await??;
    }
    Ok(())
}

/// The stored bytes of a batch, gaps included.
pub(crate) async fn read_sealed(repository: &Inner, batch: &ReadBatch) -> Result<Bytes> {
    let (id, offset) = (batch.pack.into(), batch.stretch.start().into());
    Ok(repository.storage.read_range(FileKind::Pack, &id, offset, batch.stretch.len()).await?)
}

/// Opens the blobs of a batch. Keeps a core busy.
pub(crate) fn open(
    repository: &Inner,
    batch: &ReadBatch,
    sealed: Bytes,
    visit: impl FnMut(&PackedBlob, Result<&[u8], &'static str>),
) -> Result<()> {
    // Where nobody else holds the bytes, this is no copy.
    let mut sealed = sealed.try_into_mut().unwrap_or_else(|shared| BytesMut::from(shared.as_ref()));
    let places = cut(&mut sealed, batch.stretch.start() as usize, &batch.blobs);
    repository.openers.with(|opener| opener.open_all(&repository.key, places, visit))
}

type Unfinished<V> = (Vec<ChunkId>, V);

fn open_and_visit<E, V>(
    repository: &Inner,
    batch: &ReadBatch,
    sealed: Bytes,
    mut visit: V,
) -> Result<Result<Unfinished<V>, E>>
where
    V: FnMut(&ChunkId, &[u8]) -> Result<(), E>,
{
    let (mut damaged, mut refused) = (Vec::new(), None);
    open(repository, batch, sealed, |blob, plain| {
        let id = ChunkId::from_bytes(blob.id);
        match plain {
            Ok(plain) if refused.is_none() => refused = visit(&id, plain).err(),
            Ok(_) => {}
            Err(_) => damaged.push(id),
        }
    })?;
    Ok(refused.map_or(Ok((damaged, visit)), Err))
}
