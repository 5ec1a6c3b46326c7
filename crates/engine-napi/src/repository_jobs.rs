//! Long operations on a repository.

use std::sync::Arc;

use napi::Result;
use napi_derive::napi;
use sendense_engine::{
    Repository, RestoreCounters, RestoreOptions, RestoreProgress, VerifyCounters, VerifyProgress,
};
use tokio_util::sync::CancellationToken;

use crate::convert::{number, rejection};

/// See `VerifyCounters` in packages/engine.
#[napi(object, object_from_js = false)]
#[allow(missing_docs, reason = "described in packages/engine/src/types.ts")]
pub struct VerifySample {
    pub checked_bytes: i64,
    pub total_bytes: i64,
}

/// See `VerifyReport` in packages/engine.
#[napi(object, object_from_js = false)]
#[allow(missing_docs, reason = "described in packages/engine/src/types.ts")]
pub struct VerifyReport {
    pub chunks: i64,
    pub bytes: i64,
    pub damaged: Vec<String>,
}

/// See `CheckReport` in packages/engine.
#[napi(object, object_from_js = false)]
#[allow(missing_docs, reason = "described in packages/engine/src/types.ts")]
pub struct CheckReport {
    pub packs: i64,
    pub chunks: i64,
    pub restore_points: i64,
    pub problems: Vec<String>,
}

/// See `RestoreCounters` in packages/engine.
#[napi(object, object_from_js = false)]
#[allow(missing_docs, reason = "described in packages/engine/src/types.ts")]
pub struct RestoreSample {
    pub logical_bytes: i64,
    pub done_bytes: i64,
    pub written_bytes: i64,
}

/// See `RestoreReport` in packages/engine.
#[napi(object, object_from_js = false)]
#[allow(missing_docs, reason = "described in packages/engine/src/types.ts")]
pub struct RestoreReport {
    pub path: String,
    pub size_bytes: i64,
    pub written_bytes: i64,
}

/// Reads a restore point.
#[napi]
pub struct VerifyJob {
    repository: Repository,
    restore_point_id: String,
    counters: Arc<VerifyCounters>,
    cancel: CancellationToken,
}

impl VerifyJob {
    pub(crate) fn new(repository: Repository, restore_point_id: String) -> Self {
        Self { repository, restore_point_id, counters: Arc::default(), cancel: CancellationToken::new() }
    }
}

#[napi]
impl VerifyJob {
    /// Runs until done, or cancelled.
    #[napi]
    pub async fn run(&self) -> Result<VerifyReport> {
        let verify = self.repository.verify(&self.restore_point_id, &self.counters, &self.cancel);
        let report = verify.await.map_err(rejection)?;
        Ok(VerifyReport {
            chunks: number(report.chunks),
            bytes: number(report.bytes),
            damaged: report.damaged,
        })
    }

    /// Ends it soon.
    #[napi]
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// How far it is.
    #[napi]
    pub fn counters(&self) -> VerifySample {
        self.counters.progress().into()
    }
}

/// Checks a repository.
#[napi]
pub struct CheckJob {
    repository: Repository,
    read_data: bool,
    counters: Arc<VerifyCounters>,
    cancel: CancellationToken,
}

impl CheckJob {
    pub(crate) fn new(repository: Repository, read_data: bool) -> Self {
        Self { repository, read_data, counters: Arc::default(), cancel: CancellationToken::new() }
    }
}

#[napi]
impl CheckJob {
    /// Runs until done, or cancelled.
    #[napi]
    pub async fn run(&self) -> Result<CheckReport> {
        let check = self.repository.check(self.read_data, &self.counters, &self.cancel);
        let report = check.await.map_err(rejection)?;
        Ok(CheckReport {
            packs: number(report.packs),
            chunks: number(report.chunks),
            restore_points: number(report.restore_points),
            problems: report.problems,
        })
    }

    /// Ends it soon.
    #[napi]
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// How far it is.
    #[napi]
    pub fn counters(&self) -> VerifySample {
        self.counters.progress().into()
    }
}

/// Restores a disk.
#[napi]
pub struct RestoreJob {
    repository: Repository,
    options: RestoreOptions,
    counters: Arc<RestoreCounters>,
    cancel: CancellationToken,
}

impl RestoreJob {
    pub(crate) fn new(repository: Repository, options: RestoreOptions) -> Self {
        Self { repository, options, counters: Arc::default(), cancel: CancellationToken::new() }
    }
}

#[napi]
impl RestoreJob {
    /// Runs until done, or cancelled.
    #[napi]
    pub async fn run(&self) -> Result<RestoreReport> {
        let restore = self.repository.restore_disk(&self.options, &self.counters, &self.cancel);
        let report = restore.await.map_err(rejection)?;
        Ok(RestoreReport {
            path: report.path.to_string_lossy().into_owned(),
            size_bytes: number(report.size_bytes),
            written_bytes: number(report.written_bytes),
        })
    }

    /// Ends it soon.
    #[napi]
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// How far it is.
    #[napi]
    pub fn counters(&self) -> RestoreSample {
        let RestoreProgress { logical_bytes, done_bytes, written_bytes } = self.counters.progress();
        RestoreSample {
            logical_bytes: number(logical_bytes),
            done_bytes: number(done_bytes),
            written_bytes: number(written_bytes),
        }
    }
}

impl From<VerifyProgress> for VerifySample {
    fn from(progress: VerifyProgress) -> Self {
        Self { checked_bytes: number(progress.checked_bytes), total_bytes: number(progress.total_bytes) }
    }
}
