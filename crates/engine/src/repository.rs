//! A repository as the Hub uses it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures::{StreamExt, TryStreamExt, stream};
use sendense_repo::{CheckOptions, InitOptions, LockTiming, RestorePoint, Secret, SnapshotId};
use sendense_storage::FileKind;
use tokio_util::sync::CancellationToken;

use crate::hub::{CaptureSession, CaptureSessionOptions, DataPlane, Owner};
use crate::place::open_storage;
use crate::reports::{AdoptReport, CheckReport, RestorePointInfo, StorageInfo, VerifyCounters, VerifyReport};
use crate::restore::{RestoreCounters, RestoreOptions, RestoreReport, restore_disk};
use crate::restore_point::{parse_id, path_of};
use crate::{Code, Error, RepositoryLimits, RepositoryPlace, Result};

/// Restore points whose files are read at a time.
const READS_MAX: usize = 4;

/// An open repository. Clones are the same repository.
#[derive(Clone)]
pub struct Repository {
    inner: Arc<sendense_repo::Repository>,
    /// Captures that were begun here and may still be open.
    captures: Arc<Mutex<Vec<Weak<Owner>>>>,
    /// Files of restore points that were listed.
    names: Arc<Mutex<HashMap<SnapshotId, Vec<String>>>>,
}

impl Repository {
    /// Wraps an open repository.
    #[must_use]
    pub fn new(repository: sendense_repo::Repository) -> Self {
        Self { inner: Arc::new(repository), captures: Arc::default(), names: Arc::default() }
    }

    /// Makes a repository in a place that is empty or absent.
    ///
    /// # Errors
    /// `repository-exists`, `repository-unavailable` and the `storage-` codes, `request-invalid` for a place that
    /// cannot be.
    pub async fn init(place: &RepositoryPlace, limits: &RepositoryLimits, password: &Secret) -> Result<Self> {
        let storage = open_storage(place, limits).await?;
        Ok(Self::new(sendense_repo::Repository::init(storage, password, InitOptions::default()).await?))
    }

    /// Opens the repository in a place.
    ///
    /// # Errors
    /// `repository-not-found`, `repository-password-wrong`, `repository-unsupported`, `repository-damaged`,
    /// `repository-unavailable` and the `storage-` codes, `request-invalid` for a place that cannot be.
    pub async fn open(place: &RepositoryPlace, limits: &RepositoryLimits, password: &Secret) -> Result<Self> {
        let storage = open_storage(place, limits).await?;
        Ok(Self::new(sendense_repo::Repository::open(storage, password).await?))
    }

    pub(crate) fn repo(&self) -> &sendense_repo::Repository {
        &self.inner
    }

    /// The id in its config: the same wherever it is mounted.
    #[must_use]
    pub fn id(&self) -> &str {
        self.inner.id()
    }

    /// All restore points, oldest first. One that is damaged is listed without files.
    ///
    /// # Errors
    /// Those of the repository.
    pub async fn restore_points(&self) -> Result<Vec<RestorePointInfo>> {
        let mut points = self.inner.restore_points().await?;
        points.sort_by_key(|point| point.time);
        let infos = stream::iter(points).map(|point| self.info(point)).buffered(READS_MAX);
        infos.try_collect().await
    }

    /// The ids of all restore points that are there, whether or not they can be read. One listing, and nothing is read.
    ///
    /// # Errors
    /// Those of the repository.
    pub async fn restore_point_ids(&self) -> Result<Vec<String>> {
        Ok(self.inner.restore_point_ids().await?.iter().map(ToString::to_string).collect())
    }

    async fn info(&self, point: RestorePoint) -> Result<RestorePointInfo> {
        let files = match self.files(&point.id).await {
            Err(Error::RestorePointDamaged(_)) => Vec::new(),
            files => files?,
        };
        let RestorePoint { id, time, hostname, tags, .. } = point;
        Ok(RestorePointInfo { id: id.to_string(), time, hostname, tags, files })
    }

    /// The names of a restore point's files. They are remembered: reading them costs as much as the lists of its
    /// disks are long, and they never change.
    async fn files(&self, id: &SnapshotId) -> Result<Vec<String>> {
        if let Some(files) = self.names().get(id) {
            return Ok(files.clone());
        }
        let entries = self.inner.files(id).await.map_err(Error::of_reading)?;
        let name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
        let files: Vec<_> = entries.iter().map(|entry| name(&entry.path)).collect();
        self.names().insert(*id, files.clone());
        Ok(files)
    }

    fn names(&self) -> MutexGuard<'_, HashMap<SnapshotId, Vec<String>>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A small text file of a restore point.
    ///
    /// # Errors
    /// `restore-point-missing`, and `restore-point-damaged` for a file that is not text.
    pub async fn read_text(&self, restore_point_id: &str, file: &str) -> Result<String> {
        let point = self.inner.restore_point(&parse_id(restore_point_id)?).await?;
        let content =
            self.inner.load_file(&point.id, &path_of(&point, file)).await.map_err(Error::of_reading)?;
        let refuse = |_| Error::protocol(Code::RestorePointDamaged, format!("{file} is not text"));
        String::from_utf8(content.into()).map_err(refuse)
    }

    /// Takes a restore point off the list. Its chunks stay until a prune.
    ///
    /// # Errors
    /// `restore-point-missing`, and those of the repository.
    pub async fn forget(&self, restore_point_id: &str) -> Result<()> {
        Ok(self.inner.forget(&parse_id(restore_point_id)?).await?)
    }

    /// How much it holds, and how much room there is.
    ///
    /// # Errors
    /// Those of the repository.
    pub async fn storage(&self) -> Result<StorageInfo> {
        let storage = self.inner.storage();
        let mut info = StorageInfo { chunk_count: self.inner.blobs_len() as u64, ..StorageInfo::default() };
        for kind in FileKind::ALL {
            let files = storage.list(kind).await.map_err(sendense_repo::Error::from)?;
            info.used_bytes += files.iter().map(|file| file.size_bytes).sum::<u64>();
            if kind == FileKind::Pack {
                info.pack_count = files.len() as u64;
            }
        }
        if let Some(capacity) = storage.capacity().await.map_err(sendense_repo::Error::from)? {
            (info.total_bytes, info.free_bytes) = (capacity.total_bytes, capacity.free_bytes);
        }
        Ok(info)
    }

    /// Begins a capture; its Node may send to `data_plane` from now on.
    ///
    /// # Errors
    /// [`Error::Request`] for options out of their range, `repository-locked`, and those of the repository.
    pub async fn begin_capture(
        &self,
        data_plane: &DataPlane,
        options: CaptureSessionOptions,
    ) -> Result<CaptureSession> {
        let session = CaptureSession::begin(Arc::clone(&self.inner), data_plane, options).await?;
        let mut captures = self.captures.lock().unwrap_or_else(PoisonError::into_inner);
        captures.retain(|capture| capture.strong_count() > 0);
        captures.push(Arc::downgrade(session.owner()));
        Ok(session)
    }

    /// Restores a disk to a file.
    ///
    /// # Errors
    /// `restore-target-…` for the file, `restore-point-…` for the restore point, and [`Error::Cancelled`].
    pub async fn restore_disk(
        &self,
        options: &RestoreOptions,
        counters: &RestoreCounters,
        cancel: &CancellationToken,
    ) -> Result<RestoreReport> {
        restore_disk(&self.inner, options, counters, cancel).await
    }

    /// Reads every chunk of a restore point. Damage is in the report.
    ///
    /// # Errors
    /// `restore-point-missing`, `repository-unavailable`, and [`Error::Cancelled`].
    pub async fn verify(
        &self,
        restore_point_id: &str,
        counters: &VerifyCounters,
        cancel: &CancellationToken,
    ) -> Result<VerifyReport> {
        let id = parse_id(restore_point_id)?;
        let progress = |progress: sendense_repo::VerifyProgress| {
            counters.set(progress.checked_bytes, progress.total_bytes);
        };
        let report = self.inner.verify_restore_point(&id, &progress, cancel).await?;
        let problems = report.problems.iter().map(ToString::to_string);
        let paths = report.damaged_paths.iter().map(|path| format!("{path} cannot be read completely"));
        Ok(VerifyReport {
            chunks: report.chunks,
            bytes: report.bytes,
            damaged: problems.chain(paths).collect(),
        })
    }

    /// Holds the files of the repository against each other; with `read_data` every byte is read. Damage is in the
    /// report.
    ///
    /// # Errors
    /// `repository-unavailable`, and [`Error::Cancelled`].
    pub async fn check(
        &self,
        options: CheckOptions,
        counters: &VerifyCounters,
        cancel: &CancellationToken,
    ) -> Result<CheckReport> {
        let progress = |progress: sendense_repo::CheckProgress| {
            counters.set(progress.checked_bytes, progress.total_bytes);
        };
        let report = self.inner.check(options, &progress, cancel).await?;
        Ok(CheckReport {
            packs: report.packs,
            chunks: report.blobs,
            restore_points: report.restore_points,
            read_packs: report.read_packs,
            read_bytes: report.read_bytes,
            read_time: report.read_time,
            problems: report.problems.iter().map(ToString::to_string).collect(),
            damaged_restore_points: report.damaged_restore_points,
        })
    }

    /// Makes chunks known that a process wrote before it died, so that they are not sent again.
    ///
    /// # Errors
    /// `repository-locked`, and those of the repository.
    pub async fn adopt_orphans(&self) -> Result<AdoptReport> {
        let cancel = CancellationToken::new();
        let report = self.inner.adopt_orphan_packs(LockTiming::default(), &cancel).await?;
        Ok(AdoptReport { packs: report.packs, chunks: report.blobs })
    }

    /// Aborts the captures that are still open.
    ///
    /// # Errors
    /// The first error of an abort; all are tried.
    pub async fn close(&self) -> Result<()> {
        let captures = std::mem::take(&mut *self.captures.lock().unwrap_or_else(PoisonError::into_inner));
        let mut result = Ok(());
        for capture in captures.iter().filter_map(Weak::upgrade) {
            result = result.and(capture.abort().await);
        }
        result
    }
}
