//! Where a repository lies, and how its storage is put together.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sendense_storage::{
    ByteBudget, Error as StorageError, ErrorKind, Guard, GuardLimits, Limit, LocalStorage, Retry,
    RetryPolicy, Storage, Throttle, Timeout, TimeoutPolicy,
};
use sendense_storage_remote::{AzureSettings, AzureStorage, PlaceProbe, S3Settings, S3Storage, probe_folder};

use crate::rest_place::RestPlace;
use crate::sftp_place::SftpPlace;
use crate::{Error, Result};

/// Where the files of a repository are.
#[derive(Clone, Debug)]
pub enum RepositoryPlace {
    /// A folder of this machine, which may be a mounted network file system.
    Local {
        /// Absolute.
        path: PathBuf,
    },
    /// A bucket.
    S3(S3Settings),
    /// A container of Azure Blob Storage.
    Azure(AzureSettings),
    /// A server that speaks restic's REST protocol.
    Rest(RestPlace),
    /// A folder of an SSH server.
    Sftp(SftpPlace),
}

impl RepositoryPlace {
    /// A folder of this machine.
    #[must_use]
    pub fn local(path: impl Into<PathBuf>) -> Self {
        Self::Local { path: path.into() }
    }
}

/// What a repository may take of the place and of the way there. Absent: no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct RepositoryLimits {
    /// How fast it is read.
    pub read_bytes_per_second_max: Option<u64>,
    /// How fast it is written.
    pub write_bytes_per_second_max: Option<u64>,
    /// How large it may become.
    pub quota_bytes: Option<u64>,
    /// What of the place it leaves free.
    pub reserve_bytes: Option<u64>,
}

/// Operations that a place gets at a time.
const READS_MAX: usize = 16;
const WRITES_MAX: usize = 8;

/// How long a place may take until it can be used; longer than those wait who know why it takes so long.
const OPEN_TIME_MAX: Duration = Duration::from_secs(40);
/// How long a place may take to be tried out: a dozen small operations.
const PROBE_TIME_MAX: Duration = Duration::from_mins(2);
/// A place that restarts is no reason to fail. Whoever opens waits for it, so it is not waited for long.
const OPEN_RETRY: RetryPolicy =
    RetryPolicy { attempts_max: 3, first_wait: Duration::from_millis(500), wait_max: Duration::from_secs(2) };

/// Opens the place with everything around it that a repository needs, in the order that `sendense_storage` explains.
pub(crate) async fn open_storage(
    place: &RepositoryPlace,
    limits: &RepositoryLimits,
) -> Result<Arc<dyn Storage>> {
    let open = || in_time("open", OPEN_TIME_MAX, connect(place));
    let storage = OPEN_RETRY.repeat(open, Error::is_temporary).await?;
    let budget = |rate: Option<u64>| rate.map(|rate| Arc::new(ByteBudget::new(rate)));
    let storage = Arc::new(Timeout::new(storage, TimeoutPolicy::default()));
    let storage = Arc::new(Limit::new(storage, READS_MAX, WRITES_MAX));
    let reads = budget(limits.read_bytes_per_second_max);
    let storage = Arc::new(Throttle::new(storage, reads, budget(limits.write_bytes_per_second_max)));
    let storage = Arc::new(Retry::new(storage, RetryPolicy::default()));
    let limits = GuardLimits { quota_bytes: limits.quota_bytes, reserve_bytes: limits.reserve_bytes };
    Ok(Arc::new(Guard::new(storage, limits)))
}

async fn connect(place: &RepositoryPlace) -> Result<Arc<dyn Storage>> {
    Ok(match place {
        RepositoryPlace::Local { path } => Arc::new(open_local(path).await?),
        RepositoryPlace::S3(settings) => Arc::new(open_s3(settings)?),
        RepositoryPlace::Azure(settings) => Arc::new(open_azure(settings)?),
        RepositoryPlace::Rest(place) => Arc::new(place.open().await?),
        RepositoryPlace::Sftp(place) => Arc::new(place.open().await?),
    })
}

/// A server that takes the connection and then says nothing must not hold up its caller for ever.
async fn in_time<T>(
    operation: &'static str,
    limit: Duration,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
        let message = format!("no answer within {} s", limit.as_secs());
        Err(sendense_repo::Error::from(StorageError::new(ErrorKind::Timeout, operation, message)).into())
    })
}

/// Tries a place out: writes, reads back, lists and removes a small file. Needs no repository, and repeats nothing.
///
/// # Errors
/// `repository-unavailable`, `repository-full` and the `storage-` codes; `request-invalid` for a place that cannot be.
pub async fn probe_place(place: &RepositoryPlace) -> Result<PlaceProbe> {
    in_time("try out", PROBE_TIME_MAX, try_out(place)).await
}

async fn try_out(place: &RepositoryPlace) -> Result<PlaceProbe> {
    let probe = match place {
        RepositoryPlace::Local { path } => probe_folder(absolute(path)?).await,
        RepositoryPlace::S3(settings) => open_s3(settings)?.probe().await,
        RepositoryPlace::Azure(settings) => open_azure(settings)?.probe().await,
        RepositoryPlace::Rest(place) => return place.probe().await,
        RepositoryPlace::Sftp(place) => return place.probe().await,
    };
    Ok(probe.map_err(sendense_repo::Error::from)?)
}

fn open_s3(settings: &S3Settings) -> Result<S3Storage> {
    Ok(S3Storage::open(settings).map_err(sendense_repo::Error::from)?)
}

fn open_azure(settings: &AzureSettings) -> Result<AzureStorage> {
    Ok(AzureStorage::open(settings).map_err(sendense_repo::Error::from)?)
}

fn absolute(path: &Path) -> Result<&Path> {
    if path.is_absolute() {
        Ok(path)
    } else {
        Err(Error::Request("The path of a repository must be absolute".into()))
    }
}

async fn open_local(path: &Path) -> Result<LocalStorage> {
    Ok(LocalStorage::open(absolute(path)?).await.map_err(sendense_repo::Error::from)?)
}
