//! Long operations on a repository.

use std::pin::Pin;
use std::sync::Arc;

use napi::Result;
use napi_derive::napi;
use sendense_engine::{
    CheckOptions, CopyProgress, PruneOptions, PruneProgress, Repository, RestoreCounters, RestoreOptions,
    RestoreProgress, Sampled, VerifyCounters, VerifyProgress,
};
use tokio_util::sync::CancellationToken;

use crate::convert::{number, rejection};
use crate::upkeep::{CopyReport, CopySample, DamagedRestorePoint, PruneReport, PruneSample, RepairReport};

/// Removes what restores to a file have left beside it whose process was killed.
#[napi]
pub async fn remove_restore_leftovers(target_path: String) -> Result<()> {
    sendense_engine::remove_leftovers(target_path.into()).await.map_err(rejection)
}

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
    pub read_packs: i64,
    pub read_bytes: i64,
    pub read_ms: i64,
    pub problems: Vec<String>,
    pub damaged_restore_points: Vec<DamagedRestorePoint>,
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

/// An operation that has begun.
type Running<Report> = Pin<Box<dyn Future<Output = sendense_engine::Result<Report>> + Send>>;

/// What every long operation is: it runs once, can be ended, and is sampled meanwhile.
struct Operation<Report, Sample> {
    run: Box<dyn Fn() -> Running<Report> + Send + Sync>,
    sample: Box<dyn Fn() -> Sample + Send + Sync>,
    cancel: CancellationToken,
}

/// Makes a class of JavaScript of each operation: a class of ours cannot have parameters of type there.
macro_rules! jobs {
    ($($(#[$doc:meta])* $name:ident, $report:ident, $sample:ident;)*) => { $(
        $(#[$doc])*
        #[napi]
        pub struct $name(Operation<$report, $sample>);

        #[napi]
        impl $name {
            /// Runs until done, or cancelled.
            #[napi]
            pub async fn run(&self) -> Result<$report> {
                (self.0.run)().await.map_err(rejection)
            }

            /// Ends it soon.
            #[napi]
            pub fn cancel(&self) {
                self.0.cancel.cancel();
            }

            /// How far it is.
            #[napi]
            pub fn counters(&self) -> $sample {
                (self.0.sample)()
            }
        }

        impl $name {
            /// Prepares the operation. `run` and `sample` get the same counters.
            fn prepare<C, F>(
                counters: C,
                run: impl Fn(Arc<C>, CancellationToken) -> F + Send + Sync + 'static,
                sample: impl Fn(&C) -> $sample + Send + Sync + 'static,
            ) -> Self
            where
                C: Send + Sync + 'static,
                F: Future<Output = sendense_engine::Result<$report>> + Send + 'static,
            {
                let (counters, cancel) = (Arc::new(counters), CancellationToken::new());
                let (sampled, token) = (Arc::clone(&counters), cancel.clone());
                Self(Operation {
                    run: Box::new(move || Box::pin(run(Arc::clone(&counters), token.clone()))),
                    sample: Box::new(move || sample(&sampled)),
                    cancel,
                })
            }
        }
    )* };
}

jobs! {
    /// Reads a restore point.
    VerifyJob, VerifyReport, VerifySample;
    /// Checks a repository.
    CheckJob, CheckReport, VerifySample;
    /// Restores a disk.
    RestoreJob, RestoreReport, RestoreSample;
    /// Removes what nobody needs.
    PruneJob, PruneReport, PruneSample;
    /// Copies restore points to another repository.
    CopyJob, CopyReport, CopySample;
    /// Repairs a repository.
    RepairJob, RepairReport, VerifySample;
}

fn verify_sample(counters: &VerifyCounters) -> VerifySample {
    counters.progress().into()
}

impl VerifyJob {
    pub(crate) fn new(repository: Repository, restore_point_id: String) -> Self {
        let run = move |counters: Arc<VerifyCounters>, cancel: CancellationToken| {
            let (repository, id) = (repository.clone(), restore_point_id.clone());
            async move { repository.verify(&id, &counters, &cancel).await.map(Into::into) }
        };
        Self::prepare(VerifyCounters::default(), run, verify_sample)
    }
}

impl CheckJob {
    pub(crate) fn new(repository: Repository, options: CheckOptions) -> Self {
        let run = move |counters: Arc<VerifyCounters>, cancel: CancellationToken| {
            let repository = repository.clone();
            async move { repository.check(options, &counters, &cancel).await.map(Into::into) }
        };
        Self::prepare(VerifyCounters::default(), run, verify_sample)
    }
}

impl RestoreJob {
    pub(crate) fn new(repository: Repository, options: RestoreOptions) -> Self {
        let options = Arc::new(options);
        let run = move |counters: Arc<RestoreCounters>, cancel: CancellationToken| {
            let (repository, options) = (repository.clone(), Arc::clone(&options));
            async move { repository.restore_disk(&options, &counters, &cancel).await.map(Into::into) }
        };
        Self::prepare(RestoreCounters::default(), run, |counters| counters.progress().into())
    }
}

impl PruneJob {
    pub(crate) fn new(repository: Repository, options: PruneOptions) -> Self {
        let run = move |counters: Arc<Sampled<PruneProgress>>, cancel: CancellationToken| {
            let repository = repository.clone();
            async move { repository.prune(&options, &counters, &cancel).await.map(Into::into) }
        };
        Self::prepare(Sampled::default(), run, |counters| counters.progress().into())
    }
}

impl CopyJob {
    pub(crate) fn new(source: Repository, target: Repository, restore_point_ids: Vec<String>) -> Self {
        let ids = Arc::new(restore_point_ids);
        let run = move |counters: Arc<Sampled<CopyProgress>>, cancel: CancellationToken| {
            let (source, target, ids) = (source.clone(), target.clone(), Arc::clone(&ids));
            async move { source.copy_to(&target, &ids, &counters, &cancel).await.map(Into::into) }
        };
        Self::prepare(Sampled::default(), run, |counters| counters.progress().into())
    }
}

impl RepairJob {
    pub(crate) fn new(repository: Repository, source: Option<Repository>, dry_run: bool) -> Self {
        let run = move |counters: Arc<VerifyCounters>, cancel: CancellationToken| {
            let (repository, source) = (repository.clone(), source.clone());
            async move { repository.repair(source.as_ref(), dry_run, &counters, &cancel).await.map(Into::into) }
        };
        Self::prepare(VerifyCounters::default(), run, verify_sample)
    }
}

impl From<sendense_engine::VerifyReport> for VerifyReport {
    fn from(report: sendense_engine::VerifyReport) -> Self {
        Self { chunks: number(report.chunks), bytes: number(report.bytes), damaged: report.damaged }
    }
}

impl From<sendense_engine::CheckReport> for CheckReport {
    fn from(report: sendense_engine::CheckReport) -> Self {
        Self {
            packs: number(report.packs),
            chunks: number(report.chunks),
            restore_points: number(report.restore_points),
            read_packs: number(report.read_packs),
            read_bytes: number(report.read_bytes),
            read_ms: i64::try_from(report.read_time.as_millis()).unwrap_or(i64::MAX),
            problems: report.problems,
            damaged_restore_points: report.damaged_restore_points.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<sendense_engine::RestoreReport> for RestoreReport {
    fn from(report: sendense_engine::RestoreReport) -> Self {
        Self {
            path: report.path.to_string_lossy().into_owned(),
            size_bytes: number(report.size_bytes),
            written_bytes: number(report.written_bytes),
        }
    }
}

impl From<RestoreProgress> for RestoreSample {
    fn from(progress: RestoreProgress) -> Self {
        let RestoreProgress { logical_bytes, done_bytes, written_bytes } = progress;
        Self {
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
