//! A repository: made, opened, read, and the way to its writers.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use sendense_storage::{ErrorKind, FileId, FileKind, Storage};
use tokio_util::sync::CancellationToken;

use crate::catalog::{Catalog, DamagedIndex};
use crate::config::Config;
use crate::crypto::{Kdf, Key};
use crate::opener::Openers;
use crate::pack::BlobKind;
use crate::packing::{Packer, Tuning};
use crate::{
    AdoptReport, CheckOptions, CheckProgress, CheckReport, ChunkCache, ChunkId, DiskContent, DiskReader,
    Error, FileEntry, KeyId, LockTiming, ReadBatch, RestorePoint, Result, Secret, SnapshotId, VerifyProgress,
    VerifyReport, Writer, WriterOptions, adopt, check, key_file, lock, read_batch, sealed_json,
};

/// Small files that are read at a time.
const READS_MAX: usize = 8;

/// How a repository is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct InitOptions {
    /// How hard guessing its password shall be.
    pub kdf: Kdf,
    /// How much the opened repository may use.
    pub tuning: Tuning,
}

/// How far one may rely on a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is durable or about to be, and whole as far as is known.
    Reliable,
    /// It is whole, and lies only in packs that a prune has marked: it is gone soon unless the next one takes that back.
    Marked,
    /// It lies nowhere, or is damaged wherever it lies.
    Lost,
}

/// An open repository. Clones are cheap and share everything.
#[derive(Clone)]
pub struct Repository {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) key: Key,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) packer: Packer,
    /// The key that the password opened.
    pub(crate) key_id: Mutex<KeyId>,
    /// Bytes of the files of restore points that were looked at.
    sizes: Mutex<HashMap<SnapshotId, u64>>,
    /// What the last prune has found to be wasted.
    pub(crate) unused_bytes: Mutex<Option<u64>>,
    /// Until when files are protected, as far as it was asked.
    pub(crate) protected: Mutex<HashMap<(FileKind, FileId), SystemTime>>,
    pub(crate) openers: Openers,
    config: Config,
}

impl Inner {
    pub(crate) fn sizes(&self) -> MutexGuard<'_, HashMap<SnapshotId, u64>> {
        self.sizes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Repository {
    /// Makes a repository in an empty place and opens it. The config is written last: until then there is none.
    ///
    /// # Errors
    /// [`Error::AlreadyARepository`], and what the storage says.
    pub async fn init(storage: Arc<dyn Storage>, password: &Secret, options: InitOptions) -> Result<Self> {
        storage.create().await?;
        // Keys without config are left of an attempt that failed, or of a config that was lost. In the second case
        // a new config would make the packs look like garbage.
        let mut is_taken = storage.is_initialised().await?;
        for kind in [FileKind::Snapshot, FileKind::Index, FileKind::Pack] {
            is_taken = is_taken || !storage.list(kind).await?.is_empty();
        }
        if is_taken {
            return Err(Error::AlreadyARepository { location: storage.location() });
        }
        let (key, config) = (Key::random(), Config::random());
        let key_id = key_file::create(&*storage, &key, password, options.kdf, Vec::new()).await?;
        let sealed = sealed_json::seal_config(&key, &config)?;
        match storage.write(FileKind::Config, &FileId::CONFIG, sealed).await {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                // Somebody else was faster. A key that stays opens nothing.
                let _ = storage.remove(FileKind::Key, &key_id.into()).await;
                return Err(Error::AlreadyARepository { location: storage.location() });
            }
            written => written?,
        }
        remove_other_keys(&*storage, key_id).await;
        Self::load(storage, (key_id, key), config, options.tuning).await
    }

    /// Opens a repository and reads its index.
    ///
    /// # Errors
    /// [`Error::NotARepository`], [`Error::WrongPassword`], [`Error::UnsupportedVersion`], [`Error::Damaged`], and
    /// what the storage says.
    pub async fn open(storage: Arc<dyn Storage>, password: &Secret) -> Result<Self> {
        Self::open_with(storage, password, Tuning::default()).await
    }

    /// As [`Self::open`], with other sizes and numbers.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn open_with(storage: Arc<dyn Storage>, password: &Secret, tuning: Tuning) -> Result<Self> {
        if !storage.is_initialised().await? {
            return Err(Error::NotARepository { location: storage.location() });
        }
        let sealed = storage.read(FileKind::Config, &FileId::CONFIG).await?;
        let accept = |key: &Key| sealed_json::open_config::<Config>(key, &sealed);
        let (key_id, key, config) = key_file::find(&*storage, password, accept).await?;
        Self::load(storage, (key_id, key), config.check()?, tuning).await
    }

    async fn load(
        storage: Arc<dyn Storage>,
        (key_id, key): (KeyId, Key),
        config: Config,
        tuning: Tuning,
    ) -> Result<Self> {
        let catalog = Arc::new(Catalog::new(Arc::clone(&storage), key.clone()));
        catalog.refresh().await?;
        let packer = Packer::new(Arc::clone(&storage), Arc::clone(&catalog), key.clone(), tuning);
        let inner = Inner {
            storage,
            key,
            key_id: Mutex::new(key_id),
            catalog,
            packer,
            openers: Openers::default(),
            protected: Mutex::default(),
            sizes: Mutex::default(),
            unused_bytes: Mutex::default(),
            config,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The id that the repository got when it was made; restic shows its first digits.
    #[must_use]
    pub fn id(&self) -> &str {
        self.inner.config.id()
    }

    /// Where the repository is.
    #[must_use]
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.inner.storage
    }

    /// Takes notice of what other processes have written or pruned since.
    ///
    /// # Errors
    /// What the storage says.
    pub async fn refresh_index(&self) -> Result<()> {
        self.inner.catalog.refresh().await
    }

    /// Index files that could not be read. The chunks in their packs count as absent until somebody adopts the
    /// packs ([`Self::adopt_orphan_packs`]).
    pub async fn damaged_index_files(&self) -> Vec<DamagedIndex> {
        self.inner.catalog.damaged().await
    }

    /// How many blobs (chunks and trees) the index names.
    #[must_use]
    pub fn blobs_len(&self) -> usize {
        self.inner.catalog.index().blobs_len()
    }

    /// Whether a chunk is durable, or being written by this process.
    #[must_use]
    pub fn contains(&self, id: &ChunkId) -> bool {
        self.inner.packer.contains(id)
    }

    /// The length in bytes of a chunk that is durable, or being written by this process. `None` for all others.
    #[must_use]
    pub fn plain_bytes_of(&self, id: &ChunkId) -> Option<u64> {
        self.inner.packer.plain_bytes_of(id).map(u64::from)
    }

    /// The length in bytes of a chunk that may be read. `None` for one that has no place.
    #[must_use]
    pub fn readable_bytes_of(&self, id: &ChunkId) -> Option<u64> {
        self.inner.catalog.index().readable_bytes_of(id).map(u64::from)
    }

    /// How far a new restore point may rely on a chunk, as far as the index knows.
    #[must_use]
    pub fn standing_of(&self, id: &ChunkId) -> Standing {
        if self.contains(id) {
            return Standing::Reliable;
        }
        let index = self.inner.catalog.index();
        let mut places = index.find(BlobKind::Data, id.as_bytes());
        if places.any(|place| !place.is_doubtful()) { Standing::Marked } else { Standing::Lost }
    }

    /// Writes down which chunks were found damaged by reading, if that is news, so that no other process relies on
    /// them either. A check and a verification do so by themselves.
    ///
    /// # Errors
    /// What the storage says.
    pub async fn record_damage(&self) -> Result<()> {
        self.inner.catalog.record_damage().await
    }

    /// The bytes of a chunk. Their hash was verified.
    ///
    /// # Errors
    /// [`Error::ChunkMissing`], [`Error::DamagedChunk`], and what the storage says.
    pub async fn read_chunk(&self, id: &ChunkId) -> Result<Bytes> {
        self.inner.read_chunk(id).await
    }

    /// Orders chunks by where they lie, so that neighbours are read with one request of at most `bytes_max` bytes.
    /// Chunks that lie nowhere are in no batch.
    #[must_use]
    pub fn plan_reads(&self, ids: impl IntoIterator<Item = ChunkId>, bytes_max: u64) -> Vec<ReadBatch> {
        read_batch::plan(&self.inner, ids, bytes_max)
    }

    /// Reads a batch, and gives `visit` each of its chunks once, verified, in memory that is used again. `visit`
    /// runs on a thread that may be busy for a while. A chunk that is damaged here is read from its other places.
    ///
    /// # Errors
    /// The first error of `visit`; [`Error::DamagedChunk`] for a chunk that is whole nowhere, and what the storage
    /// says.
    pub async fn read_batch<E: From<Error> + Send + 'static>(
        &self,
        batch: ReadBatch,
        visit: impl FnMut(&ChunkId, &[u8]) -> Result<(), E> + Send + 'static,
    ) -> Result<(), E> {
        read_batch::read(&self.inner, batch, visit).await
    }

    /// Opens a disk of a restore point for random reads. Holes are known without reading; chunks that were read stay
    /// in `cache`.
    ///
    /// # Errors
    /// As [`Self::disk_content`]; [`Error::ChunkMissing`] and [`Error::Unacceptable`] for a disk that is not whole.
    pub async fn open_disk(
        &self,
        point: &SnapshotId,
        path: &str,
        cache: &Arc<ChunkCache>,
    ) -> Result<DiskReader> {
        self.inner.catalog.refresh().await?;
        let content = self.inner.disk_content(point, path).await?;
        DiskReader::new(Arc::clone(&self.inner), content, Arc::clone(cache))
    }

    /// All restore points that can be read, in no particular order. Those whose file is damaged are left out;
    /// [`Self::check`] reports them.
    ///
    /// # Errors
    /// What the storage says.
    pub async fn restore_points(&self) -> Result<Vec<RestorePoint>> {
        let entries = self.inner.storage.list(FileKind::Snapshot).await?;
        let points = futures::stream::iter(entries)
            .map(|entry| async move {
                match self.inner.restore_point(&entry.id.into()).await {
                    Ok(point) => Ok(Some(point)),
                    // Forgotten since the listing, or damaged.
                    Err(Error::RestorePointMissing { .. } | Error::Damaged { .. }) => Ok(None),
                    Err(error) => Err(error),
                }
            })
            .buffer_unordered(READS_MAX);
        points.try_filter_map(|point| async move { Ok(point) }).try_collect().await
    }

    /// The ids of all restore points that are there, in no particular order, whether or not they can be read.
    ///
    /// # Errors
    /// What the storage says.
    pub async fn restore_point_ids(&self) -> Result<Vec<SnapshotId>> {
        let entries = self.inner.storage.list(FileKind::Snapshot).await?;
        Ok(entries.into_iter().map(|entry| entry.id.into()).collect())
    }

    /// One restore point.
    ///
    /// # Errors
    /// [`Error::RestorePointMissing`], [`Error::Damaged`], and what the storage says.
    pub async fn restore_point(&self, id: &SnapshotId) -> Result<RestorePoint> {
        self.inner.restore_point(id).await
    }

    /// All files of a restore point.
    ///
    /// # Errors
    /// [`Error::RestorePointMissing`], [`Error::TreeMissing`], and what reading says.
    pub async fn files(&self, point: &SnapshotId) -> Result<Vec<FileEntry>> {
        self.inner.files(point).await
    }

    /// The bytes of a small file, such as `/vm-17/vm.json`.
    ///
    /// # Errors
    /// [`Error::FileMissing`], [`Error::Unacceptable`] for a file of more than 64 MiB, and what reading says.
    pub async fn load_file(&self, point: &SnapshotId, path: &str) -> Result<Bytes> {
        self.inner.load_file(point, path).await
    }

    /// The chunks of a file, usually a disk.
    ///
    /// # Errors
    /// [`Error::FileMissing`], and what reading says.
    pub async fn disk_content(&self, point: &SnapshotId, path: &str) -> Result<DiskContent> {
        self.inner.disk_content(point, path).await
    }

    /// Takes over the packs that no index names: what a writer left that died before it wrote its index. Their
    /// chunks need not be sent again. Takes a lock meanwhile.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::Cancelled`], and what the storage says. A pack that is not whole is no error: it is
    /// in the report.
    pub async fn adopt_orphan_packs(
        &self,
        lock: LockTiming,
        cancel: &CancellationToken,
    ) -> Result<AdoptReport> {
        adopt::adopt_orphan_packs(&self.inner, lock, cancel).await
    }

    /// Checks the whole repository. Damage is in the report.
    ///
    /// # Errors
    /// [`Error::Cancelled`], and what the storage says when the check cannot be done.
    pub async fn check(
        &self,
        options: CheckOptions,
        progress: &(dyn Fn(CheckProgress) + Send + Sync),
        cancel: &CancellationToken,
    ) -> Result<CheckReport> {
        check::check(&self.inner, options, progress, cancel).await
    }

    /// Reads every distinct chunk of a restore point. Damage is in the report.
    ///
    /// # Errors
    /// [`Error::RestorePointMissing`], [`Error::Damaged`] when its own file cannot be read, [`Error::Cancelled`], and
    /// what the storage says when the verification cannot be done.
    pub async fn verify_restore_point(
        &self,
        id: &SnapshotId,
        progress: &(dyn Fn(VerifyProgress) + Send + Sync),
        cancel: &CancellationToken,
    ) -> Result<VerifyReport> {
        check::verify(&self.inner, id, progress, cancel).await
    }

    /// Takes a restore point off the list. What only it referred to stays until a prune.
    ///
    /// # Errors
    /// [`Error::RestorePointMissing`], and what the storage says.
    pub async fn forget(&self, id: &SnapshotId) -> Result<()> {
        if !self.inner.storage.exists(FileKind::Snapshot, &(*id).into()).await? {
            return Err(Error::RestorePointMissing { id: *id });
        }
        Ok(self.inner.storage.remove(FileKind::Snapshot, &(*id).into()).await?)
    }

    /// Removes the locks that restic's rules call stale: not refreshed for half an hour, or of a process of this
    /// machine that is gone. Returns how many there were.
    ///
    /// # Errors
    /// What the storage says.
    pub async fn remove_stale_locks(&self) -> Result<usize> {
        lock::remove_stale(&*self.inner.storage, &self.inner.key).await
    }

    /// Takes a lock and begins to write. Any number of writers may be at work at a time, here and elsewhere.
    ///
    /// Before it returns, the packs that the index names are held against a listing of the storage: chunks in
    /// packs that are gone count as absent, so that a capture brings them again.
    ///
    /// # Errors
    /// [`Error::Locked`], and what the storage says.
    pub async fn writer(&self, options: WriterOptions) -> Result<Writer> {
        Writer::start(Arc::clone(&self.inner), options).await
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repository")
            .field("id", &self.id())
            .field("at", &self.inner.storage.location())
            .finish()
    }
}

/// Removes the keys of attempts to make this repository that have failed. Those that stay, because the place protects
/// them, open nothing.
async fn remove_other_keys(storage: &dyn Storage, ours: KeyId) {
    for entry in storage.list(FileKind::Key).await.unwrap_or_default() {
        if KeyId::from(entry.id) != ours {
            let _ = storage.remove(FileKind::Key, &entry.id).await;
        }
    }
}
