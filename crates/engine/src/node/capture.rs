//! The Node's use case: capture one disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use sendense_disk::{BlockSource, Extent};
use tokio_util::sync::CancellationToken;

use super::budget::MemoryBudget;
use super::capture_counters::{CaptureCounters, CaptureProgress, set};
use super::chunk_pool::ChunkPool;
use super::compressor::ChunkCompressor;
use super::hub_client::{HubClient, Target};
use super::identify::Identifier;
use super::pipeline::Pipeline;
use super::plan::{Areas, Plan};
use crate::geometry::Geometry;
use crate::wire::{Finish, Open, Opened};
use crate::{Code, Error, Result};

/// With fewer chunks in memory the stages would wait for each other.
const BUFFERS_MIN: usize = 8;

/// How a disk is captured.
pub struct CaptureOptions {
    /// What to read.
    pub areas: Areas,
    /// The disk in the Hub's session.
    pub disk_key: String,
    /// The session's chunk size.
    pub chunk_bytes: u32,
    /// Where to send it.
    pub target: Target,
    /// Bytes of chunks in memory at any time; raised to 8 chunks if it is less.
    pub memory_bytes_max: usize,
    /// What it shares with the other captures of this process; it may leave less than that.
    pub memory: Arc<MemoryBudget>,
    /// zstd level.
    pub compression_level: i32,
}

impl CaptureOptions {
    /// Usual bound of the memory for chunks.
    pub const MEMORY_BYTES_MAX: usize = 96 << 20;
    /// Usual zstd level: a Node shares its core with the disk it reads.
    pub const COMPRESSION_LEVEL: i32 = 1;
}

/// What a capture did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CaptureReport {
    /// The counters at the end.
    pub progress: CaptureProgress,
    /// How long it took.
    pub duration: Duration,
}

/// Reads `source` and sends the Hub what its repository lacks. When this returns the disk is finished in the Hub's
/// session; nothing is in a restore point before the Hub commits.
///
/// # Errors
/// [`Error::Cancelled`] soon after `cancel`; otherwise what the disk, the network or the Hub failed with. After an
/// error the same disk may be captured again in the same session: what was stored is not sent again.
pub async fn capture_disk(
    source: Arc<dyn BlockSource>,
    options: &CaptureOptions,
    counters: Arc<CaptureCounters>,
    cancel: &CancellationToken,
) -> Result<CaptureReport> {
    let begin = Instant::now();
    let run = run(source, options, &counters);
    cancel.run_until_cancelled(run).await.unwrap_or(Err(Error::Cancelled))?;
    Ok(CaptureReport { progress: counters.progress(), duration: begin.elapsed() })
}

async fn run(
    source: Arc<dyn BlockSource>,
    options: &CaptureOptions,
    counters: &Arc<CaptureCounters>,
) -> Result<()> {
    let geometry = Geometry::new(source.size_bytes(), options.chunk_bytes)?;
    set(&counters.logical, geometry.size_bytes());
    let coverage = options.areas.coverage();
    let client = HubClient::new(&options.target, &options.disk_key)?;
    let opened = client.open(&Open { size_bytes: geometry.size_bytes(), coverage }).await?;
    check_chunk_size(&opened, &geometry)?;

    let plan = Plan::new(&geometry, &extents(source.as_ref(), &options.areas).await?, coverage)?;
    set(&counters.changed, plan.changed_bytes);
    set(&counters.planned, plan.planned_bytes);
    let pipeline = Arc::new(pipeline(source, client, opened, geometry, options, Arc::clone(counters)));
    pipeline.run(&plan).await?;

    let zero_read = pipeline.zero_chunks.load(Ordering::Relaxed);
    let zero_declared: u64 = plan.zero.iter().map(|run| run.count).sum();
    let read: u64 = plan.read.iter().map(|range| range.end - range.start).sum();
    let attempt = opened.attempt;
    let finish = Finish { attempt, offered_chunks: read - zero_read, zero_chunks: zero_read + zero_declared };
    pipeline.client.finish(&finish).await?;
    Ok(())
}

async fn extents(source: &dyn BlockSource, areas: &Areas) -> Result<Vec<Extent>> {
    match areas {
        Areas::Whole => source.allocated().await.map_err(Error::SourceRead),
        Areas::Allocated(extents) | Areas::Changed(extents) => Ok(extents.clone()),
    }
}

fn check_chunk_size(opened: &Opened, geometry: &Geometry) -> Result<()> {
    if opened.chunk_bytes == geometry.chunk_bytes() {
        return Ok(());
    }
    let (theirs, ours) = (opened.chunk_bytes, geometry.chunk_bytes());
    let detail = format!("The Hub's session has chunks of {theirs} bytes, this Node was told {ours}");
    Err(Error::protocol(Code::CaptureMismatch, detail))
}

fn pipeline(
    source: Arc<dyn BlockSource>,
    client: HubClient,
    opened: Opened,
    geometry: Geometry,
    options: &CaptureOptions,
    counters: Arc<CaptureCounters>,
) -> Pipeline {
    let chunk_bytes = options.chunk_bytes as usize;
    let memory_bytes_max = options.memory_bytes_max.max(BUFFERS_MIN * chunk_bytes);
    Pipeline {
        source,
        client,
        opened,
        geometry,
        identifier: Identifier::default(),
        compressor: ChunkCompressor::new(options.compression_level),
        pool: ChunkPool::new(&options.memory, chunk_bytes, memory_bytes_max),
        counters,
        offers: AtomicU64::new(1),
        zero_chunks: AtomicU64::new(0),
    }
}
