//! The Node's side of a capture.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use napi::Result;
use napi_derive::napi;
use sendense_engine::{
    Areas, CaptureCounters, CaptureOptions, CaptureProgress, Extent, MemoryBudget, NbdExport, ParsePinError,
    Target,
};
use tokio_util::sync::CancellationToken;

use crate::convert::{number, rejection, request_invalid, unsigned};

/// See `CaptureDiskOptions` in packages/engine.
#[napi(object, object_to_js = false)]
pub struct CaptureDiskOptions {
    /// The NBD server.
    pub source: CaptureSource,
    /// `whole`, `allocated` or `changed`.
    pub areas: String,
    /// Empty for `whole`.
    pub extents: Vec<CaptureExtent>,
    /// The disk in the session.
    pub disk_key: String,
    /// The session's chunk size.
    pub chunk_bytes: u32,
    /// The Hub.
    pub target: CaptureTarget,
    /// Bounds.
    pub limits: CaptureLimits,
}

/// The NBD server of a disk.
#[napi(object, object_to_js = false)]
pub struct CaptureSource {
    /// Its unix socket.
    pub socket_path: String,
    /// Empty if absent.
    pub export_name: Option<String>,
}

/// A range of bytes.
#[napi(object, object_to_js = false)]
pub struct CaptureExtent {
    /// Where it begins.
    pub offset: i64,
    /// How long it is.
    pub length: i64,
}

/// The Hub's listener and session.
#[napi(object, object_to_js = false)]
pub struct CaptureTarget {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Pin.
    #[napi(js_name = "certificateSha256")]
    pub certificate_sha256: String,
    /// The session.
    pub capture_id: String,
    /// Its ticket.
    pub ticket: String,
}

/// What a capture may use; each has a default.
#[napi(object, object_to_js = false)]
pub struct CaptureLimits {
    /// NBD connections.
    pub connections: Option<u32>,
    /// Bytes of chunks in memory.
    pub memory_bytes_max: Option<i64>,
    /// zstd level.
    pub compression_level: Option<i32>,
    /// How long the Hub may be away.
    pub hub_grace_ms: Option<u32>,
}

/// See `CaptureDiskCounters` in packages/engine.
#[napi(object, object_from_js = false)]
#[derive(Clone, Copy)]
#[allow(missing_docs, reason = "described in packages/engine/src/types.ts")]
pub struct CaptureDiskCounters {
    pub logical_bytes: i64,
    pub changed_bytes: i64,
    pub planned_bytes: i64,
    pub read_bytes: i64,
    pub zero_bytes: i64,
    pub new_bytes: i64,
    pub stored_bytes: i64,
}

/// What a capture did: its last counters and how long it took.
#[napi(object, object_from_js = false)]
pub struct CaptureDiskReport {
    /// The counters at the end.
    pub counters: CaptureDiskCounters,
    /// How long it took.
    pub duration_ms: i64,
}

/// A capture that can be followed and cancelled.
#[napi]
pub struct CaptureDiskJob {
    source: NbdExport,
    options: CaptureOptions,
    counters: Arc<CaptureCounters>,
    cancel: CancellationToken,
}

/// Prepares a capture; `run` starts it.
#[napi]
pub fn capture_disk(options: CaptureDiskOptions) -> Result<CaptureDiskJob> {
    let limits = options.limits;
    let areas = areas(&options.areas, options.extents)?;
    let source = NbdExport {
        socket_path: PathBuf::from(options.source.socket_path),
        export_name: options.source.export_name.unwrap_or_default(),
        connections: limits.connections.map_or(NbdExport::CONNECTIONS, |connections| connections as usize),
    };
    let options = CaptureOptions {
        areas,
        disk_key: options.disk_key,
        chunk_bytes: options.chunk_bytes,
        target: target(options.target, limits.hub_grace_ms)?,
        memory_bytes_max: limits
            .memory_bytes_max
            .map_or(Ok(CaptureOptions::MEMORY_BYTES_MAX), |bytes| unsigned("memoryBytesMax", bytes))?,
        memory: MemoryBudget::of_process(),
        compression_level: limits.compression_level.unwrap_or(CaptureOptions::COMPRESSION_LEVEL),
    };
    Ok(CaptureDiskJob { source, options, counters: Arc::default(), cancel: CancellationToken::new() })
}

#[napi]
impl CaptureDiskJob {
    /// Runs until the disk is finished, or cancelled.
    #[napi]
    pub async fn run(&self) -> Result<CaptureDiskReport> {
        let counters = Arc::clone(&self.counters);
        let report = self.source.capture(&self.options, counters, &self.cancel).await.map_err(rejection)?;
        let duration_ms = i64::try_from(report.duration.as_millis()).unwrap_or(i64::MAX);
        Ok(CaptureDiskReport { counters: report.progress.into(), duration_ms })
    }

    /// Ends the capture soon.
    #[napi]
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// The counters now.
    #[napi]
    pub fn counters(&self) -> CaptureDiskCounters {
        self.counters.progress().into()
    }
}

impl From<CaptureProgress> for CaptureDiskCounters {
    fn from(progress: CaptureProgress) -> Self {
        Self {
            logical_bytes: number(progress.logical_bytes),
            changed_bytes: number(progress.changed_bytes),
            planned_bytes: number(progress.planned_bytes),
            read_bytes: number(progress.read_bytes),
            zero_bytes: number(progress.zero_bytes),
            new_bytes: number(progress.new_bytes),
            stored_bytes: number(progress.stored_bytes),
        }
    }
}

fn areas(kind: &str, extents: Vec<CaptureExtent>) -> Result<Areas> {
    let extents = extents.into_iter().map(|extent| {
        Ok(Extent { offset: unsigned("offset", extent.offset)?, length: unsigned("length", extent.length)? })
    });
    let extents = extents.collect::<Result<Vec<_>>>()?;
    match kind {
        "whole" => Ok(Areas::Whole),
        "allocated" => Ok(Areas::Allocated(extents)),
        "changed" => Ok(Areas::Changed(extents)),
        _ => Err(request_invalid("The areas must be whole, allocated or changed")),
    }
}

fn target(target: CaptureTarget, grace_ms: Option<u32>) -> Result<Target> {
    Ok(Target {
        certificate: target
            .certificate_sha256
            .parse()
            .map_err(|error: ParsePinError| rejection(error.into()))?,
        host: target.host,
        port: target.port,
        capture_id: target.capture_id,
        ticket: target.ticket.into(),
        grace: grace_ms.map_or(Target::GRACE, |milliseconds| Duration::from_millis(milliseconds.into())),
        patience: Target::PATIENCE,
    })
}
