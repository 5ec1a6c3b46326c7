//! Repositories.

use std::sync::Arc;
use std::time::Duration;

use napi::Result;
use napi::bindgen_prelude::{ClassInstance, Env, PromiseRaw};
use napi_derive::napi;
use sendense_engine::{CaptureSessionOptions, CheckOptions, RestoreOptions, Secret};

use crate::capture_session::CaptureSession;
use crate::convert::{number, rejection, unsigned};
use crate::data_plane::{DataPlane, RateLimit};
use crate::place::RepositoryLocation;
use crate::repository_jobs::{CheckJob, CopyJob, PruneJob, RepairJob, RestoreJob, VerifyJob};
use crate::upkeep::{
    KeptKey, PruneOptions, RepositoryKey, RepositoryLock, RepositoryStatistics, RestorePointProtection,
};

/// See `RestorePointInfo` in packages/engine.
#[napi(object, object_from_js = false)]
#[allow(missing_docs, reason = "described in packages/engine/src/types.ts")]
pub struct RestorePoint {
    pub id: String,
    pub time_ms: i64,
    pub hostname: String,
    pub tags: Vec<String>,
    pub paths: Vec<String>,
}

/// See `RepositoryStorage` in packages/engine.
#[napi(object, object_from_js = false)]
#[allow(missing_docs, reason = "described in packages/engine/src/types.ts")]
pub struct RepositoryStorage {
    pub total_bytes: i64,
    pub free_bytes: i64,
    pub used_bytes: i64,
    pub pack_count: i64,
    pub chunk_count: i64,
}

/// See `BeginCaptureOptions` in packages/engine.
#[napi(object, object_to_js = false)]
pub struct BeginCaptureOptions {
    /// Names the capture.
    pub capture_id: String,
    /// Chunk size of all its disks.
    pub chunk_bytes: u32,
    /// Limit for the Node.
    pub bytes_per_second_max: Option<i64>,
    /// Silence that ends the session.
    pub idle_timeout_ms: i64,
    /// Term of the ticket.
    pub ticket_lifetime_ms: Option<i64>,
}

/// See `RestoreDiskOptions` in packages/engine.
#[napi(object, object_to_js = false)]
pub struct RestoreDiskOptions {
    /// The restore point.
    pub restore_point_id: String,
    /// The disk's file in it.
    pub file: String,
    /// Where to write.
    pub target_path: String,
    /// Whether a file may be replaced.
    pub overwrite: bool,
}

/// See `AdoptReport` in packages/engine.
#[napi(object, object_from_js = false)]
#[allow(missing_docs, reason = "described in packages/engine/src/types.ts")]
pub struct AdoptReport {
    pub packs: i64,
    pub chunks: i64,
}

/// An open repository.
#[napi]
pub struct Repository(sendense_engine::Repository);

/// Makes a repository.
#[napi]
pub async fn init_repository(location: RepositoryLocation) -> Result<Repository> {
    let (place, limits, password) = location.into_engine()?;
    let repository = sendense_engine::Repository::init(&place, &limits, &password).await;
    repository.map(Repository).map_err(rejection)
}

/// Opens a repository.
#[napi]
pub async fn open_repository(location: RepositoryLocation) -> Result<Repository> {
    let (place, limits, password) = location.into_engine()?;
    let repository = sendense_engine::Repository::open(&place, &limits, &password).await;
    repository.map(Repository).map_err(rejection)
}

#[napi]
impl Repository {
    /// The id in its config.
    #[napi(getter)]
    pub fn id(&self) -> String {
        self.0.id().to_owned()
    }

    /// What it holds.
    #[napi]
    pub async fn restore_points(&self) -> Result<Vec<RestorePoint>> {
        let points = self.0.restore_points().await.map_err(rejection)?;
        Ok(points.into_iter().map(Into::into).collect())
    }

    /// The ids of what is there, readable or not.
    #[napi]
    pub async fn restore_point_ids(&self) -> Result<Vec<String>> {
        self.0.restore_point_ids().await.map_err(rejection)
    }

    /// A text file of a restore point.
    #[napi]
    pub async fn read_text(&self, restore_point_id: String, path: String) -> Result<String> {
        self.0.read_text(&restore_point_id, &path).await.map_err(rejection)
    }

    /// Removes a restore point from the list.
    #[napi]
    pub async fn forget(&self, restore_point_id: String) -> Result<()> {
        self.0.forget(&restore_point_id).await.map_err(rejection)
    }

    /// How much it holds and how much room there is.
    #[napi]
    pub async fn storage(&self) -> Result<RepositoryStorage> {
        let storage = self.0.storage().await.map_err(rejection)?;
        Ok(RepositoryStorage {
            total_bytes: number(storage.total_bytes),
            free_bytes: number(storage.free_bytes),
            used_bytes: number(storage.used_bytes),
            pack_count: number(storage.pack_count),
            chunk_count: number(storage.chunk_count),
        })
    }

    /// Begins a session.
    #[napi]
    pub fn begin_capture<'env>(
        &self,
        env: &'env Env,
        data_plane: &DataPlane,
        rate_limits: Vec<ClassInstance<'env, RateLimit>>,
        options: BeginCaptureOptions,
    ) -> Result<PromiseRaw<'env, CaptureSession>> {
        let (repository, data_plane) = (self.0.clone(), Arc::clone(&data_plane.0));
        let milliseconds = |name, number| unsigned(name, number).map(Duration::from_millis);
        let options = CaptureSessionOptions {
            capture_id: options.capture_id,
            chunk_bytes: options.chunk_bytes,
            bytes_per_second_max: options
                .bytes_per_second_max
                .map(|bytes| unsigned("bytesPerSecondMax", bytes))
                .transpose()?,
            rate_limits: rate_limits.iter().map(|limit| Arc::clone(&limit.0)).collect(),
            idle_timeout: milliseconds("idleTimeoutMs", options.idle_timeout_ms)?,
            ticket_lifetime: options
                .ticket_lifetime_ms
                .map_or(Ok(CaptureSessionOptions::TICKET_LIFETIME), |lifetime| {
                    milliseconds("ticketLifetimeMs", lifetime)
                })?,
        };
        env.spawn_future(async move {
            let session = repository.begin_capture(&data_plane, options).await.map_err(rejection)?;
            Ok(CaptureSession(Arc::new(session)))
        })
    }

    /// Prepares a verification.
    #[napi]
    pub fn verify(&self, restore_point_id: String) -> VerifyJob {
        VerifyJob::new(self.0.clone(), restore_point_id)
    }

    /// Prepares a check.
    #[napi]
    pub fn check(&self, read_data: bool, sample_percent: Option<f64>) -> CheckJob {
        CheckJob::new(self.0.clone(), CheckOptions { read_data, sample_percent })
    }

    /// Prepares a prune.
    #[napi]
    pub fn prune(&self, options: PruneOptions) -> Result<PruneJob> {
        Ok(PruneJob::new(self.0.clone(), options.to_engine()?))
    }

    /// Prepares a copy.
    #[napi]
    pub fn copy_to(&self, target: &Repository, restore_point_ids: Vec<String>) -> CopyJob {
        CopyJob::new(self.0.clone(), target.0.clone(), restore_point_ids)
    }

    /// Prepares a repair out of what is there.
    #[napi]
    pub fn repair(&self, dry_run: bool) -> RepairJob {
        RepairJob::new(self.0.clone(), None, dry_run)
    }

    /// Prepares a repair with the help of a second repository.
    #[napi]
    pub fn repair_from(&self, source: &Repository, dry_run: bool) -> RepairJob {
        RepairJob::new(self.0.clone(), Some(source.0.clone()), dry_run)
    }

    /// How much it holds, and what that costs.
    #[napi]
    pub async fn statistics(&self) -> Result<RepositoryStatistics> {
        self.0.statistics().await.map(Into::into).map_err(rejection)
    }

    /// All keys.
    #[napi]
    pub async fn keys(&self) -> Result<Vec<RepositoryKey>> {
        let keys = self.0.keys().await.map_err(rejection)?;
        Ok(keys.into_iter().map(Into::into).collect())
    }

    /// Makes a key for another password.
    #[napi]
    pub async fn add_key(&self, password: String) -> Result<String> {
        self.0.add_key(&Secret::new(password)).await.map_err(rejection)
    }

    /// Removes a key.
    #[napi]
    pub async fn remove_key(&self, id: String) -> Result<()> {
        self.0.remove_key(&id).await.map_err(rejection)
    }

    /// Replaces the password. The old key, where it is protected.
    #[napi]
    pub async fn change_password(&self, password: String) -> Result<Option<KeptKey>> {
        let kept = self.0.change_password(&Secret::new(password)).await.map_err(rejection)?;
        Ok(kept.map(Into::into))
    }

    /// All locks.
    #[napi]
    pub async fn locks(&self) -> Result<Vec<RepositoryLock>> {
        let locks = self.0.locks().await.map_err(rejection)?;
        Ok(locks.into_iter().map(Into::into).collect())
    }

    /// Removes the locks of the dead.
    #[napi]
    pub async fn remove_stale_locks(&self) -> Result<i64> {
        self.0.remove_stale_locks().await.map(number).map_err(rejection)
    }

    /// Until when a restore point cannot be removed.
    #[napi]
    pub async fn protection(&self, restore_point_id: String) -> Result<Option<RestorePointProtection>> {
        let protection = self.0.protection(&restore_point_id).await.map_err(rejection)?;
        Ok(protection.map(Into::into))
    }

    /// Prepares a restore.
    #[napi]
    pub fn restore_disk(&self, disk: RestoreDiskOptions) -> RestoreJob {
        let options = RestoreOptions {
            restore_point_id: disk.restore_point_id,
            file: disk.file,
            target_path: disk.target_path.into(),
            overwrite: disk.overwrite,
        };
        RestoreJob::new(self.0.clone(), options)
    }

    /// Makes written chunks known that no index names.
    #[napi]
    pub async fn adopt_orphans(&self) -> Result<AdoptReport> {
        let adopted = self.0.adopt_orphans().await.map_err(rejection)?;
        Ok(AdoptReport { packs: number(adopted.packs), chunks: number(adopted.chunks) })
    }

    /// Aborts its open sessions.
    #[napi]
    pub async fn close(&self) -> Result<()> {
        self.0.close().await.map_err(rejection)
    }
}

impl From<sendense_engine::RestorePointInfo> for RestorePoint {
    fn from(point: sendense_engine::RestorePointInfo) -> Self {
        let time_ms = point.time.duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_millis());
        Self {
            id: point.id,
            time_ms: i64::try_from(time_ms).unwrap_or(i64::MAX),
            hostname: point.hostname,
            tags: point.tags,
            paths: point.files,
        }
    }
}
