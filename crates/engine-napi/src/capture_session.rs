//! The Hub's side of a capture.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use napi::Result;
use napi_derive::napi;
use sendense_engine::{Base, CommitOptions, SessionDiskCounters, TextFile};

use crate::convert::{number, rejection, unsigned};

/// See `CaptureSessionDisk` in packages/engine.
#[napi(object, object_to_js = false)]
pub struct CaptureSessionDisk {
    /// Names the disk.
    pub disk_key: String,
    /// Its size.
    pub size_bytes: i64,
    /// What changed areas are relative to.
    pub base: Option<CaptureBase>,
}

/// A disk in an earlier restore point.
#[napi(object, object_to_js = false)]
pub struct CaptureBase {
    /// The restore point.
    pub restore_point_id: String,
    /// The disk's file in it.
    pub file: String,
}

/// See `CommitOptions` in packages/engine.
#[napi(object, object_to_js = false)]
pub struct CommitRequest {
    /// Name of the VM.
    pub hostname: String,
    /// The directory of the files in the restore point.
    pub directory: Option<String>,
    /// When the disks were as they are, in ms since 1970.
    pub time_ms: i64,
    /// Free words.
    pub tags: Vec<String>,
    /// The restore point this one follows.
    pub parent: Option<String>,
    /// Text files beside the disks.
    pub files: Vec<CommitFile>,
}

/// A text file of a restore point.
#[napi(object, object_to_js = false)]
pub struct CommitFile {
    /// Its name.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// See `CommitReport` in packages/engine.
#[napi(object, object_from_js = false)]
#[allow(missing_docs, reason = "described in packages/engine/src/types.ts")]
pub struct CommitReport {
    pub restore_point_id: String,
    pub new_bytes: i64,
    pub stored_bytes: i64,
}

/// See `CaptureSessionCounters` in packages/engine.
#[napi(object, object_from_js = false)]
pub struct CaptureSessionCounters {
    /// One for each disk, in the order of their keys.
    pub disks: Vec<CaptureSessionDiskCounters>,
}

/// See `CaptureSessionDiskCounters` in packages/engine.
#[napi(object, object_from_js = false)]
#[allow(missing_docs, reason = "described in packages/engine/src/types.ts")]
pub struct CaptureSessionDiskCounters {
    pub disk_key: String,
    pub logical_bytes: i64,
    pub offered_bytes: i64,
    pub zero_bytes: i64,
    pub new_bytes: i64,
    pub stored_bytes: i64,
    pub finished: bool,
}

/// A session.
#[napi]
pub struct CaptureSession(pub(crate) Arc<sendense_engine::CaptureSession>);

#[napi]
impl CaptureSession {
    /// The capture id.
    #[napi(getter)]
    pub fn id(&self) -> String {
        self.0.id().to_owned()
    }

    /// The secret for the Node.
    #[napi(getter)]
    pub fn ticket(&self) -> String {
        self.0.ticket().to_owned()
    }

    /// Whether it takes requests.
    #[napi(getter)]
    pub fn is_open(&self) -> bool {
        self.0.is_open()
    }

    /// Adds a disk.
    #[napi]
    pub async fn begin_disk(&self, disk: CaptureSessionDisk) -> Result<()> {
        let base = disk.base.map(|CaptureBase { restore_point_id, file }| Base { restore_point_id, file });
        let size_bytes = unsigned("sizeBytes", disk.size_bytes)?;
        self.0.begin_disk(&disk.disk_key, size_bytes, base).await.map_err(rejection)
    }

    /// Takes a disk out again.
    #[napi]
    pub fn drop_disk(&self, disk_key: String) -> Result<()> {
        self.0.drop_disk(&disk_key).map_err(rejection)
    }

    /// What was received so far.
    #[napi]
    pub fn counters(&self) -> CaptureSessionCounters {
        CaptureSessionCounters { disks: self.0.counters().into_iter().map(Into::into).collect() }
    }

    /// Writes the restore point.
    #[napi]
    pub async fn commit(&self, request: CommitRequest) -> Result<CommitReport> {
        let files = request.files.into_iter().map(|CommitFile { name, text }| TextFile { name, text });
        let directory = request.directory.unwrap_or_else(|| CommitOptions::directory_of(&request.hostname));
        let options = CommitOptions {
            directory,
            hostname: request.hostname,
            time: UNIX_EPOCH + Duration::from_millis(unsigned("timeMs", request.time_ms)?),
            tags: request.tags,
            parent: request.parent,
            files: files.collect(),
        };
        let committed = self.0.commit(options).await.map_err(rejection)?;
        Ok(CommitReport {
            restore_point_id: committed.restore_point_id,
            new_bytes: number(committed.new_bytes),
            stored_bytes: number(committed.stored_bytes),
        })
    }

    /// Ends the session without a restore point.
    #[napi]
    pub async fn abort(&self) -> Result<()> {
        self.0.abort().await.map_err(rejection)
    }
}

impl From<SessionDiskCounters> for CaptureSessionDiskCounters {
    fn from(disk: SessionDiskCounters) -> Self {
        Self {
            disk_key: disk.disk_key,
            logical_bytes: number(disk.logical_bytes),
            offered_bytes: number(disk.offered_bytes),
            zero_bytes: number(disk.zero_bytes),
            new_bytes: number(disk.new_bytes),
            stored_bytes: number(disk.stored_bytes),
            finished: disk.finished,
        }
    }
}
