//! Writing chunks and, at the end, one restore point.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Mutex;

use crate::blocking::blocking;
use crate::commit::{commit, publish};
use crate::lock::{HeldLock, LockTiming};
use crate::packing::{Added, FailureMark};
use crate::repository::Inner;
use crate::snapshot_file::SnapshotFile;
use crate::{ChunkId, Error, NewFile, NewRestorePoint, Result, SnapshotId, TreeId};

/// Metadata is written once and read often.
const LEVEL: i32 = 3;

/// How a writer works.
#[derive(Clone, Copy, Debug, Default)]
pub struct WriterOptions {
    /// When the lock is looked at and refreshed.
    pub lock: LockTiming,
}

/// A chunk to be stored. The caller answers for it: `payload` stands for `plain_bytes` bytes whose SHA-256 is `id`.
#[derive(Clone, Debug)]
pub struct EncodedChunk {
    /// SHA-256 of the plain bytes.
    pub id: ChunkId,
    /// The length of the plain bytes.
    pub plain_bytes: u32,
    /// The bytes to store.
    pub payload: Payload,
}

/// The form in which a chunk is stored.
#[derive(Clone, Debug)]
pub enum Payload {
    /// As it is, because compression gains nothing.
    Plain(Bytes),
    /// As one zstd frame.
    Zstd(Bytes),
}

/// Writes to a repository under a lock. All members may be called at the same time. A writer ends with
/// [`Writer::commit`] or [`Writer::abort`]; dropping it leaves what it added for the next flush of another writer.
pub struct Writer {
    repository: Arc<Inner>,
    /// `None` when the writer is closed.
    lock: Mutex<Option<HeldLock>>,
    failure_mark: FailureMark,
}

impl Writer {
    pub(crate) async fn start(repository: Arc<Inner>, options: WriterOptions) -> Result<Self> {
        let lock = HeldLock::acquire(&repository.storage, &repository.key, options.lock).await?;
        repository.catalog.refresh().await?;
        repository.catalog.verify_packs().await?;
        let failure_mark = repository.packer.failure_mark();
        Ok(Self { repository, lock: Mutex::new(Some(lock)), failure_mark })
    }

    /// Whether a chunk need not be added: it is durable, or being written by this process.
    #[must_use]
    pub fn contains(&self, id: &ChunkId) -> bool {
        self.repository.packer.contains(id)
    }

    /// The length in bytes of a chunk that need not be added. `None` for all others.
    #[must_use]
    pub fn plain_bytes_of(&self, id: &ChunkId) -> Option<u64> {
        self.repository.packer.plain_bytes_of(id).map(u64::from)
    }

    /// Adds a chunk unless it is there. Returns when it is encrypted; it is durable after [`Self::flush`].
    /// Waits while more bytes are on their way than [`crate::Tuning::memory_bytes`] allows.
    ///
    /// # Errors
    /// [`Error::PackNotWritten`] when an earlier pack could not be written: the writer cannot commit any more.
    /// [`Error::Unacceptable`] when the lengths contradict each other.
    pub async fn add(&self, chunk: EncodedChunk) -> Result<Added> {
        self.repository.packer.check(self.failure_mark)?;
        let (payload, uncompressed) = match chunk.payload {
            Payload::Zstd(frame) => (frame, chunk.plain_bytes),
            Payload::Plain(plain) if plain.len() == chunk.plain_bytes as usize => (plain, 0),
            Payload::Plain(_) => return Err(unacceptable("a plain chunk of another length than it says")),
        };
        if chunk.plain_bytes == 0 {
            return Err(unacceptable("an empty chunk"));
        }
        self.repository.packer.add(chunk.id, payload, chunk.plain_bytes, uncompressed).await
    }

    /// Hashes, compresses and adds bytes.
    ///
    /// # Errors
    /// As [`Self::add`].
    pub async fn add_plain(&self, plain: Bytes) -> Result<ChunkId> {
        let chunk = blocking(move || encode(plain)).await?;
        let id = chunk.id;
        self.add(chunk).await?;
        Ok(id)
    }

    /// Waits until every chunk that was added before is durable: in a pack, and the pack in an index file.
    ///
    /// # Errors
    /// As [`Self::add`], and what the storage says.
    pub async fn flush(&self) -> Result<()> {
        self.repository.packer.check(self.failure_mark)?;
        self.repository.packer.flush(self.failure_mark).await
    }

    /// Waits until every chunk that was added before is in a pack, which need not be in an index file.
    pub(crate) async fn flush_packs(&self) -> Result<()> {
        self.repository.packer.flush_packs(self.failure_mark).await
    }

    /// Makes a restore point of chunks that were added, here or earlier. When it returns, the restore point is
    /// listed and whole, and the writer is closed. After an error there is no restore point, and the writer is
    /// still open: what was added stays for another try or for [`Self::abort`].
    ///
    /// # Errors
    /// [`Error::ChunkMissing`] or [`Error::PackMissing`] when something it refers to is not there;
    /// [`Error::LockLost`]; [`Error::Unacceptable`] when sizes or names are wrong; what the storage says.
    pub async fn commit(&self, point: NewRestorePoint) -> Result<SnapshotId> {
        let mut lock = self.lock.lock().await;
        let held = lock.as_ref().ok_or(Error::Closed)?;
        let id = commit(&self.repository, held, self.failure_mark, point).await?;
        if let Some(held) = lock.take() {
            // The restore point is made. A lock that cannot be removed is stale in half an hour.
            let _ = held.release().await;
        }
        Ok(id)
    }

    /// Makes a restore point of blobs that were added, and leaves the writer open.
    pub(crate) async fn publish(
        &self,
        files: &[NewFile],
        trees: &[TreeId],
        snapshot: &SnapshotFile,
    ) -> Result<SnapshotId> {
        let lock = self.lock.lock().await;
        let held = lock.as_ref().ok_or(Error::Closed)?;
        held.check().await?;
        publish(&self.repository, held, files, trees, None, snapshot).await
    }

    /// Ends without a restore point. What was added is made durable, so that a repeated capture finds it.
    ///
    /// # Errors
    /// What the storage says; the writer is closed and the lock released nevertheless.
    pub async fn abort(&self) -> Result<()> {
        let held = self.lock.lock().await.take().ok_or(Error::Closed)?;
        let flushed = self.repository.packer.flush(self.failure_mark).await;
        let released = held.release().await;
        flushed.and(released)
    }
}

fn encode(plain: Bytes) -> Result<EncodedChunk> {
    let too_long = |_| unacceptable("a chunk of 4 GiB or more");
    let plain_bytes = u32::try_from(plain.len()).map_err(too_long)?;
    let id = ChunkId::of(&plain);
    let frame =
        zstd::bulk::compress(&plain, LEVEL).map_err(|error| Error::Internal { reason: error.to_string() })?;
    let payload = if frame.len() < plain.len() { Payload::Zstd(frame.into()) } else { Payload::Plain(plain) };
    Ok(EncodedChunk { id, plain_bytes, payload })
}

fn unacceptable(reason: &str) -> Error {
    Error::Unacceptable { reason: reason.into() }
}
