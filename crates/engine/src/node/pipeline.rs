//! From chunk numbers to stored chunks: read, hash, offer, compress, send.
//!
//! ```text
//! read and hash: one task per chunk, started while there is memory
//!   └─ channel ─► batches: a few in flight, each offers, compresses what is missing, and sends it
//! ```
//!
//! A chunk holds one buffer from before it is read until the Hub has it, is known to have it, or it turns out to be
//! zero. Nothing waits for a buffer while it holds one, so the stages cannot block each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::future::try_join_all;
use sendense_disk::BlockSource;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;

use super::batcher::{Batch, Hashed, HashedChunk};
use super::capture_counters::{CaptureCounters, add};
use super::chunk_pool::{ChunkBuffer, ChunkPool};
use super::compressor::ChunkCompressor;
use super::hub_client::{Frame, HubClient};
use super::identify::Identifier;
use super::plan::Plan;
use crate::geometry::Geometry;
use crate::wire::{
    CHUNKS_HEADER_BYTES, Entry, FRAME_HEADER_BYTES, OFFER_ENTRIES_MAX, Offer, Opened, ZeroRun,
};
use crate::{Error, Result};

/// Reads at any time. More would only wait in the source, and be waited for when the capture is cancelled.
const READS_MAX: usize = 48;
/// Batches on their way to the Hub at any time.
const BATCHES_MAX: usize = 6;
/// An upload is sent when it has grown to this size.
const UPLOAD_BYTES: usize = 6 << 20;

/// One attempt to capture one disk.
pub(super) struct Pipeline {
    pub(super) source: Arc<dyn BlockSource>,
    pub(super) client: HubClient,
    pub(super) opened: Opened,
    pub(super) geometry: Geometry,
    pub(super) identifier: Identifier,
    pub(super) compressor: ChunkCompressor,
    /// Chunks at the same time.
    pub(super) pool: Arc<ChunkPool>,
    pub(super) counters: Arc<CaptureCounters>,
    /// Numbers the offers.
    pub(super) offers: AtomicU64,
    /// Chunks found to be zero by reading.
    pub(super) zero_chunks: AtomicU64,
}

impl Pipeline {
    /// Runs until every chunk of the plan is with the Hub. Dropping the future stops all of it.
    pub(super) async fn run(self: &Arc<Self>, plan: &Plan) -> Result<()> {
        let (sender, receiver) = mpsc::channel(OFFER_ENTRIES_MAX);
        let read = Arc::clone(self).read_all(plan.read.iter().cloned().flatten(), sender);
        tokio::try_join!(read, Arc::clone(self).send_all(receiver), self.declare_zeros(&plan.zero))?;
        Ok(())
    }

    async fn read_all(
        self: Arc<Self>,
        indexes: impl Iterator<Item = u64>,
        hashed: mpsc::Sender<Hashed>,
    ) -> Result<()> {
        let mut tasks = JoinSet::new();
        let reads = Arc::new(Semaphore::new(READS_MAX));
        for index in indexes {
            let buffer = self.pool.take().await;
            // The semaphore is never closed.
            let turn = Arc::clone(&reads).acquire_owned().await.map_err(|_| Error::Cancelled)?;
            tasks.spawn(Arc::clone(&self).read_and_hash(index, buffer, turn, hashed.clone()));
            while let Some(done) = tasks.try_join_next() {
                joined(done)?;
            }
        }
        drop(hashed);
        while let Some(done) = tasks.join_next().await {
            joined(done)?;
        }
        Ok(())
    }

    async fn read_and_hash(
        self: Arc<Self>,
        index: u64,
        mut buffer: ChunkBuffer,
        turn: OwnedSemaphorePermit,
        hashed: mpsc::Sender<Hashed>,
    ) -> Result<()> {
        let length = self.geometry.chunk_bytes_at(index).ok_or_else(|| bug("a plan beyond the disk"))?;
        let offset = index * u64::from(self.geometry.chunk_bytes());
        let read = self.source.read_into(offset, length as usize, buffer.bytes_mut());
        read.await.map_err(Error::SourceRead)?;
        drop(turn);
        if buffer.as_ref().len() != length as usize {
            return Err(bug("a read of another length"));
        }
        add(&self.counters.read, u64::from(length));
        let (id, plain) = self.identifier.identify(buffer).await?;
        let result = if let Some(id) = id {
            Hashed::Data(HashedChunk { entry: Entry { index, id }, plain })
        } else {
            add(&self.counters.zero, u64::from(length));
            self.zero_chunks.fetch_add(1, Ordering::Relaxed);
            Hashed::Zero { index }
        };
        // The receiver goes only when the whole capture does.
        hashed.send(result).await.map_err(|_| Error::Cancelled)
    }

    async fn send_all(self: Arc<Self>, mut hashed: mpsc::Receiver<Hashed>) -> Result<()> {
        let mut batches = JoinSet::new();
        while let Some(batch) = Batch::next(&mut hashed, self.batch_chunks_max()).await {
            while batches.len() >= BATCHES_MAX {
                batches.join_next().await.map_or(Ok(()), joined)?;
            }
            batches.spawn(Arc::clone(&self).send_batch(batch));
        }
        while let Some(done) = batches.join_next().await {
            joined(done)?;
        }
        Ok(())
    }

    /// A batch may hold its part of the buffers only, so that several are in flight and reading goes on.
    fn batch_chunks_max(&self) -> usize {
        let part = self.pool.buffers() / (BATCHES_MAX + 2);
        part.clamp(1, self.opened.offer_entries_max.min(256))
    }

    async fn send_batch(self: Arc<Self>, mut batch: Batch) -> Result<()> {
        let offer = self.offer_of(batch.entries(), batch.zero_runs());
        let answer = self.client.offer(&offer).await?;
        // Collected at once, because what is not wanted gives its buffer back here.
        let wanted: Vec<_> =
            batch.chunks.into_iter().zip(answer.0).filter(|(_, is_wanted)| *is_wanted).collect();
        let frames = wanted.into_iter().map(|(chunk, _)| self.compressor.frame(chunk.entry.id, chunk.plain));
        for upload in uploads(try_join_all(frames).await?, self.opened.upload_bytes_max) {
            let accepted = self.client.send_chunks(self.opened.attempt, &upload).await?;
            drop(upload);
            add(&self.counters.new, accepted.new_bytes);
            add(&self.counters.stored, accepted.stored_bytes);
        }
        Ok(())
    }

    async fn declare_zeros(&self, zero: &[ZeroRun]) -> Result<()> {
        for runs in zero.chunks(OFFER_ENTRIES_MAX) {
            self.client.offer(&self.offer_of(Vec::new(), runs.to_vec())).await?;
        }
        Ok(())
    }

    fn offer_of(&self, entries: Vec<Entry>, zero_runs: Vec<ZeroRun>) -> Offer {
        let number = self.offers.fetch_add(1, Ordering::Relaxed);
        Offer { attempt: self.opened.attempt, number, entries, zero_runs }
    }
}

/// Divides frames into uploads of about [`UPLOAD_BYTES`], never more than the Hub takes.
fn uploads(frames: Vec<Frame>, bytes_max: usize) -> Vec<Vec<Frame>> {
    let target = UPLOAD_BYTES.min(bytes_max);
    let mut uploads: Vec<Vec<Frame>> = Vec::new();
    let mut size = usize::MAX;
    for frame in frames {
        let length = FRAME_HEADER_BYTES + frame.payload.len();
        match uploads.last_mut() {
            Some(upload) if size + length <= target => {
                upload.push(frame);
                size += length;
            }
            _ => {
                uploads.push(vec![frame]);
                size = CHUNKS_HEADER_BYTES + length;
            }
        }
    }
    uploads
}

fn joined(done: Result<Result<()>, tokio::task::JoinError>) -> Result<()> {
    done.map_err(|error| Error::Internal(format!("A task of the capture failed: {error}")))?
}

fn bug(what: &str) -> Error {
    Error::Internal(format!("The capture met {what}"))
}
