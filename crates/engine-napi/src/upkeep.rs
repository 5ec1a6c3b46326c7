//! What keeps a repository small, whole and its own.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use napi::Result;
use napi_derive::napi;
use sendense_engine::{BlockedBy, CopyProgress, LockRole, Packs, PruneProgress};

use crate::convert::{number, request_invalid, unsigned};

/// See `PruneOptions` in packages/engine.
#[napi(object, object_to_js = false)]
#[allow(missing_docs, reason = "described in packages/engine/src/types.ts")]
pub struct PruneOptions {
    pub grace_ms: i64,
    pub clock_margin_ms: Option<i64>,
    pub waste_ratio_max: f64,
    pub repack_bytes_max: Option<i64>,
    pub exclusive: Option<bool>,
    pub dry_run: Option<bool>,
}

impl PruneOptions {
    pub(crate) fn to_engine(&self) -> Result<sendense_engine::PruneOptions> {
        let milliseconds = |name, number| unsigned(name, number).map(Duration::from_millis);
        let defaults = sendense_engine::PruneOptions::default();
        if !(0.0..=1.0).contains(&self.waste_ratio_max) {
            return Err(request_invalid("wasteRatioMax must be between 0 and 1"));
        }
        Ok(sendense_engine::PruneOptions {
            grace: milliseconds("graceMs", self.grace_ms)?,
            clock_margin: self
                .clock_margin_ms
                .map_or(Ok(defaults.clock_margin), |margin| milliseconds("clockMarginMs", margin))?,
            waste_ratio_max: self.waste_ratio_max,
            repack_bytes_max: self
                .repack_bytes_max
                .map(|bytes| unsigned("repackBytesMax", bytes))
                .transpose()?,
            exclusive: self.exclusive.unwrap_or(false),
            dry_run: self.dry_run.unwrap_or(false),
            ..defaults
        })
    }
}

/// See `PruneCounters` in packages/engine.
#[napi(object, object_from_js = false)]
#[allow(missing_docs, reason = "described in packages/engine/src/types.ts")]
pub struct PruneSample {
    pub walked_restore_points: i64,
    pub total_restore_points: i64,
    pub repacked_bytes: i64,
    pub total_repack_bytes: i64,
    pub deleted_packs: i64,
}

impl From<PruneProgress> for PruneSample {
    fn from(progress: PruneProgress) -> Self {
        Self {
            walked_restore_points: number(progress.walked_restore_points),
            total_restore_points: number(progress.total_restore_points),
            repacked_bytes: number(progress.repacked_bytes),
            total_repack_bytes: number(progress.total_repack_bytes),
            deleted_packs: number(progress.deleted_packs),
        }
    }
}

/// See `PackAmount` in packages/engine.
#[napi(object, object_from_js = false)]
#[allow(missing_docs, reason = "described in packages/engine/src/types.ts")]
pub struct PackAmount {
    pub packs: i64,
    pub bytes: i64,
}

impl From<Packs> for PackAmount {
    fn from(amount: Packs) -> Self {
        Self { packs: number(amount.packs), bytes: number(amount.bytes) }
    }
}

/// See `PruneBlocked` in packages/engine.
#[napi(object, object_from_js = false)]
#[allow(missing_docs, reason = "described in packages/engine/src/types.ts")]
pub struct PruneBlocked {
    pub by: String,
    pub packs: i64,
    pub bytes: i64,
    pub until_ms: Option<i64>,
    pub hostname: Option<String>,
    pub pid: Option<i64>,
}

/// See `PruneReport` in packages/engine.
#[napi(object, object_from_js = false)]
#[allow(missing_docs, reason = "described in packages/engine/src/types.ts")]
pub struct PruneReport {
    pub restore_points: i64,
    pub kept: PackAmount,
    pub marked: PackAmount,
    pub repacked: PackAmount,
    pub copied: PackAmount,
    pub unmarked: PackAmount,
    pub deleted: PackAmount,
    pub blocked: Vec<PruneBlocked>,
    pub unused_bytes: i64,
    pub index_files_before: i64,
    pub index_files_after: i64,
    pub missing_chunks: i64,
    pub damaged_packs: i64,
    pub removed_locks: i64,
}

impl From<sendense_engine::PruneReport> for PruneReport {
    fn from(report: sendense_engine::PruneReport) -> Self {
        let blocked = report.blocked.into_iter().map(|blocked| {
            let (by, hostname, pid) = words_of(&blocked.by);
            PruneBlocked {
                by: by.into(),
                packs: number(blocked.packs.packs),
                bytes: number(blocked.packs.bytes),
                until_ms: blocked.until.map(milliseconds),
                hostname,
                pid: pid.map(i64::from),
            }
        });
        Self {
            restore_points: number(report.restore_points),
            kept: report.kept.into(),
            marked: report.marked.into(),
            repacked: report.repacked.into(),
            copied: report.copied.into(),
            unmarked: report.unmarked.into(),
            deleted: report.deleted.into(),
            blocked: blocked.collect(),
            unused_bytes: number(report.unused_bytes),
            index_files_before: number(report.index_files_before),
            index_files_after: number(report.index_files_after),
            missing_chunks: number(report.missing_blobs),
            damaged_packs: number(report.damaged_packs),
            removed_locks: number(report.removed_locks),
        }
    }
}

fn words_of(by: &BlockedBy) -> (&'static str, Option<String>, Option<u32>) {
    match by {
        BlockedBy::Grace => ("grace", None, None),
        BlockedBy::Writer { hostname, pid, .. } => ("writer", Some(hostname.clone()), Some(*pid)),
        BlockedBy::ForeignLock { hostname, pid } => ("foreign-lock", Some(hostname.clone()), Some(*pid)),
        BlockedBy::UnreadableLock => ("unreadable-lock", None, None),
        BlockedBy::Protection => ("protection", None, None),
        BlockedBy::WritersAtWork => ("writers-at-work", None, None),
        BlockedBy::MissingBlobs => ("missing-chunks", None, None),
        _ => ("other", None, None),
    }
}

/// See `CopyCounters` in packages/engine.
#[napi(object, object_from_js = false)]
#[allow(missing_docs, reason = "described in packages/engine/src/types.ts")]
pub struct CopySample {
    pub done_restore_points: i64,
    pub total_restore_points: i64,
    pub done_bytes: i64,
    pub total_bytes: i64,
}

impl From<CopyProgress> for CopySample {
    fn from(progress: CopyProgress) -> Self {
        Self {
            done_restore_points: number(progress.done_restore_points),
            total_restore_points: number(progress.total_restore_points),
            done_bytes: number(progress.done_bytes),
            total_bytes: number(progress.total_bytes),
        }
    }
}

/// See `CopiedRestorePoint` in packages/engine.
#[napi(object, object_from_js = false)]
#[allow(missing_docs, reason = "described in packages/engine/src/types.ts")]
pub struct CopiedRestorePoint {
    pub source_id: String,
    pub target_id: String,
    pub was_there: bool,
}

/// See `CopyReport` in packages/engine.
#[napi(object, object_from_js = false)]
#[allow(missing_docs, reason = "described in packages/engine/src/types.ts")]
pub struct CopyReport {
    pub points: Vec<CopiedRestorePoint>,
    pub chunks: i64,
    pub copied_bytes: i64,
    pub stored_bytes: i64,
    pub skipped_chunks: i64,
    pub verified_chunks: i64,
}

impl From<sendense_engine::CopyReport> for CopyReport {
    fn from(report: sendense_engine::CopyReport) -> Self {
        let points = report.points.into_iter().map(|point| CopiedRestorePoint {
            source_id: point.source.to_string(),
            target_id: point.target.to_string(),
            was_there: point.was_there,
        });
        Self {
            points: points.collect(),
            chunks: number(report.chunks),
            copied_bytes: number(report.copied_bytes),
            stored_bytes: number(report.stored_bytes),
            skipped_chunks: number(report.skipped_chunks),
            verified_chunks: number(report.verified_chunks),
        }
    }
}

/// See `RepairReport` in packages/engine.
#[napi(object, object_from_js = false)]
#[allow(missing_docs, reason = "described in packages/engine/src/types.ts")]
pub struct RepairReport {
    pub adopted_packs: i64,
    pub removed_index_files: i64,
    pub protected_index_files: i64,
    pub damaged_packs: i64,
    pub missing_packs: i64,
    pub salvaged_chunks: i64,
    pub healed_chunks: i64,
    pub problems: Vec<String>,
    pub damaged_restore_points: Vec<DamagedRestorePoint>,
}

/// See `DamagedRestorePoint` in packages/engine.
#[napi(object, object_from_js = false)]
#[allow(missing_docs, reason = "described in packages/engine/src/types.ts")]
pub struct DamagedRestorePoint {
    pub id: String,
    pub paths: Vec<String>,
}

impl From<sendense_engine::DamagedRestorePoint> for DamagedRestorePoint {
    fn from(point: sendense_engine::DamagedRestorePoint) -> Self {
        Self { id: point.id.to_string(), paths: point.paths }
    }
}

impl From<sendense_engine::RepairReport> for RepairReport {
    fn from(report: sendense_engine::RepairReport) -> Self {
        Self {
            adopted_packs: number(report.adopted_packs),
            removed_index_files: number(report.removed_index_files),
            protected_index_files: number(report.protected_index_files),
            damaged_packs: number(report.damaged_packs),
            missing_packs: number(report.missing_packs),
            salvaged_chunks: number(report.salvaged_blobs),
            healed_chunks: number(report.healed_blobs),
            problems: report.problems.iter().map(ToString::to_string).collect(),
            damaged_restore_points: report.damaged_restore_points.into_iter().map(Into::into).collect(),
        }
    }
}

/// See `RepositoryStatistics` in packages/engine.
#[napi(object, object_from_js = false)]
#[allow(missing_docs, reason = "described in packages/engine/src/types.ts")]
pub struct RepositoryStatistics {
    pub restore_point_count: i64,
    pub logical_bytes: i64,
    pub unique_bytes: i64,
    pub stored_bytes: i64,
    pub metadata_bytes: i64,
    pub unused_bytes: Option<i64>,
    pub chunk_count: i64,
    pub pack_count: i64,
    pub index_file_count: i64,
}

impl From<sendense_engine::Statistics> for RepositoryStatistics {
    fn from(statistics: sendense_engine::Statistics) -> Self {
        Self {
            restore_point_count: number(statistics.restore_points),
            logical_bytes: number(statistics.logical_bytes),
            unique_bytes: number(statistics.unique_bytes),
            stored_bytes: number(statistics.stored_bytes),
            metadata_bytes: number(statistics.metadata_bytes),
            unused_bytes: statistics.unused_bytes.map(number),
            chunk_count: number(statistics.chunks),
            pack_count: number(statistics.packs),
            index_file_count: number(statistics.index_files),
        }
    }
}

/// See `RepositoryKey` in packages/engine.
#[napi(object, object_from_js = false)]
#[allow(missing_docs, reason = "described in packages/engine/src/types.ts")]
pub struct RepositoryKey {
    pub id: String,
    pub created_at_ms: Option<i64>,
    pub username: String,
    pub hostname: String,
    pub is_current: bool,
    pub is_superseded: bool,
}

impl From<sendense_engine::KeyInfo> for RepositoryKey {
    fn from(key: sendense_engine::KeyInfo) -> Self {
        Self {
            id: key.id.to_string(),
            created_at_ms: key.created_at.map(milliseconds),
            username: key.username,
            hostname: key.hostname,
            is_current: key.is_current,
            is_superseded: key.is_superseded,
        }
    }
}

/// See `KeptKey` in packages/engine.
#[napi(object, object_from_js = false)]
#[allow(missing_docs, reason = "described in packages/engine/src/types.ts")]
pub struct KeptKey {
    pub id: String,
    pub until_ms: Option<i64>,
}

impl From<sendense_engine::KeptKey> for KeptKey {
    fn from(key: sendense_engine::KeptKey) -> Self {
        Self { id: key.id.to_string(), until_ms: key.until.map(milliseconds) }
    }
}

/// See `RepositoryLock` in packages/engine.
#[napi(object, object_from_js = false)]
#[allow(missing_docs, reason = "described in packages/engine/src/types.ts")]
pub struct RepositoryLock {
    pub id: String,
    pub created_at_ms: i64,
    pub hostname: String,
    pub username: String,
    pub pid: u32,
    pub is_exclusive: bool,
    pub is_stale: bool,
    pub role: String,
}

impl From<sendense_engine::LockInfo> for RepositoryLock {
    fn from(lock: sendense_engine::LockInfo) -> Self {
        let role = match lock.role {
            Some(LockRole::Write) => "write",
            Some(LockRole::Prune) => "prune",
            None => "foreign",
        };
        Self {
            id: lock.id.to_string(),
            created_at_ms: milliseconds(lock.refreshed_at),
            hostname: lock.hostname,
            username: lock.username,
            pid: lock.pid,
            is_exclusive: lock.is_exclusive,
            is_stale: lock.is_stale,
            role: role.into(),
        }
    }
}

/// See `RestorePointProtection` in packages/engine.
#[napi(object, object_from_js = false)]
#[allow(missing_docs, reason = "described in packages/engine/src/types.ts")]
pub struct RestorePointProtection {
    pub until_ms: i64,
    pub mode: String,
}

impl From<sendense_engine::Protection> for RestorePointProtection {
    fn from(protection: sendense_engine::Protection) -> Self {
        Self { until_ms: milliseconds(protection.until), mode: protection.mode.to_string() }
    }
}

fn milliseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    i64::try_from(since).unwrap_or(i64::MAX)
}
