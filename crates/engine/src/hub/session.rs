//! What requests see of a session.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use sendense_repo::{EncodedChunk, Payload, Repository, Writer};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::base_content::load_base;
use super::rate_limit::RateLimit;
use super::session_disk::SessionDisk;
use super::sessions::ticket_invalid;
use super::ticket::Ticket;
use crate::wire::{Answer, Codec, FrameHeader, OFFER_ENTRIES_MAX, Offer, Open, Opened, upload_bytes_max};
use crate::{ChunkId, Code, Error, Result};

/// The part of a session that its requests share with its owner, [`super::CaptureSession`].
pub(crate) struct Session {
    pub(super) id: String,
    pub(super) ticket: Ticket,
    pub(super) chunk_bytes: u32,
    pub(super) rates: Vec<Arc<RateLimit>>,
    pub(super) writer: Writer,
    pub(super) repository: Arc<Repository>,
    pub(super) disks: Mutex<BTreeMap<String, Arc<SessionDisk>>>,
    /// Set when the session ends: no request is taken any more, and bodies are not read to their end.
    pub(super) ending: CancellationToken,
    /// What requests do. It goes on when a connection breaks, so that no chunk is left half stored.
    pub(super) operations: TaskTracker,
    pub(super) last_request_at: Mutex<Instant>,
}

impl Session {
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    pub(crate) fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    pub(super) fn chunk_bytes(&self) -> u32 {
        self.chunk_bytes
    }

    /// All limits that its Node has to keep.
    pub(super) fn rates(&self) -> Vec<Arc<RateLimit>> {
        self.rates.clone()
    }

    /// Cancelled when the session ends.
    pub(super) fn ending(&self) -> CancellationToken {
        self.ending.clone()
    }

    /// Starts an operation, which runs to its end whatever becomes of the connection.
    pub(super) fn start<T: Send + 'static>(
        self: &Arc<Self>,
        operation: impl Future<Output = T> + Send + 'static,
    ) -> Result<JoinHandle<T>> {
        if self.ending.is_cancelled() {
            return Err(ticket_invalid());
        }
        self.touch();
        let session = Arc::clone(self);
        Ok(self.operations.spawn(async move {
            let result = operation.await;
            session.touch();
            result
        }))
    }

    /// A disk that was begun.
    pub(super) fn disk(&self, key: &str) -> Result<Arc<SessionDisk>> {
        let unknown =
            || Error::protocol(Code::CaptureUnknown, format!("Capture {} has no disk {key}", self.id));
        self.disks().get(key).cloned().ok_or_else(unknown)
    }

    /// Begins an attempt.
    pub(super) async fn open(&self, disk: &SessionDisk, open: &Open) -> Result<Opened> {
        disk.intake().check_open(open)?;
        let content = match disk.take_base_content() {
            Some(content) => content,
            None => self.initial_content(disk).await?,
        };
        Ok(Opened {
            attempt: disk.intake().open(open, content)?,
            chunk_bytes: self.chunk_bytes,
            offer_entries_max: OFFER_ENTRIES_MAX,
            upload_bytes_max: upload_bytes_max(self.chunk_bytes),
        })
    }

    async fn initial_content(&self, disk: &SessionDisk) -> Result<Vec<ChunkId>> {
        match &disk.base {
            Some(base) => load_base(&self.repository, base, &disk.geometry).await,
            None => Ok(disk.intake().content_of_zeros()),
        }
    }

    /// Notes an offer, and says which chunks are missing.
    pub(super) fn offer(&self, disk: &SessionDisk, offer: &Offer) -> Result<Answer> {
        disk.intake().offer(offer, |id| self.writer.plain_bytes_of(id))
    }

    /// Whether a frame shall be stored, or only checked.
    pub(super) fn expects(&self, disk: &SessionDisk, attempt: u32, frame: &FrameHeader) -> Result<bool> {
        disk.intake().expects(attempt, frame, |id| self.writer.plain_bytes_of(id))
    }

    /// Stores a chunk that was checked; `true` if it was missing until now.
    pub(super) async fn store(
        &self,
        disk: &SessionDisk,
        frame: &FrameHeader,
        payload: Bytes,
    ) -> Result<bool> {
        let payload = match frame.codec {
            Codec::Raw => Payload::Plain(payload),
            Codec::Zstd => Payload::Zstd(payload),
        };
        self.writer.add(EncodedChunk { id: frame.id, plain_bytes: frame.plain_bytes, payload }).await?;
        Ok(disk.stored(&frame.id, frame.plain_bytes, frame.stored_bytes))
    }

    pub(super) fn disks(&self) -> MutexGuard<'_, BTreeMap<String, Arc<SessionDisk>>> {
        self.disks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn last_request_at(&self) -> Instant {
        *self.last_request_at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn touch(&self) {
        *self.last_request_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}
