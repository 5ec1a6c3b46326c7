//! Bodies of requests: bounded in size, patience and memory.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Body, Incoming};
use sendense_storage::{FileId, FileKind, LocalUpload};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout, timeout_at};

use crate::answer::Problem;

/// How long a body may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// A body may take this long, and a second more for each [`BYTES_PER_SECOND_MIN`] that have arrived.
const BODY_TIME: Duration = Duration::from_mins(1);
const BYTES_PER_SECOND_MIN: u64 = 16 << 10;
/// What goes to the disk at a time.
const PIECE_BYTES: usize = 256 << 10;
/// What is read and thrown away after an error, so that the client reads the answer instead of a broken connection.
const DRAIN_BYTES_MAX: u64 = 32 << 20;
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// The largest file of a kind. The largest packs and indexes that restic makes are half as long.
pub(crate) fn bytes_max(kind: FileKind) -> u64 {
    match kind {
        FileKind::Pack | FileKind::Index => 256 << 20,
        FileKind::Snapshot => 16 << 20,
        FileKind::Config | FileKind::Key | FileKind::Lock => 1 << 20,
    }
}

/// A body that is being read.
pub(crate) struct IncomingBody {
    body: Incoming,
    left: u64,
    arrived: u64,
    begun: Instant,
}

impl IncomingBody {
    /// Nothing is read before the limit is known.
    pub(crate) fn new(body: Incoming) -> Self {
        Self { body, left: 0, arrived: 0, begun: Instant::now() }
    }

    /// Allows so many bytes, and refuses a body that announces more.
    pub(crate) fn limit(&mut self, bytes_max: u64) -> Result<(), Problem> {
        self.left = bytes_max;
        match self.body.size_hint().exact() {
            Some(announced) if announced > bytes_max => Err(too_large()),
            _ => Ok(()),
        }
    }

    /// All of a small body.
    pub(crate) async fn all(&mut self) -> Result<Bytes, Problem> {
        let mut all = BytesMut::new();
        while let Some(piece) = self.next().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }

    /// Writes the body to an upload; the SHA-256 of what arrived.
    pub(crate) async fn write_to(&mut self, upload: &mut LocalUpload) -> Result<FileId, Problem> {
        let mut hash = Sha256::new();
        let mut gathered = BytesMut::with_capacity(PIECE_BYTES);
        loop {
            let piece = self.next().await?;
            let is_end = piece.is_none();
            gathered.extend_from_slice(&piece.unwrap_or_default());
            if gathered.len() >= PIECE_BYTES || (is_end && !gathered.is_empty()) {
                let piece = gathered.split().freeze();
                hash.update(&piece);
                upload.append(piece).await.map_err(|error| Problem::of_storage(&error))?;
            }
            if is_end {
                return Ok(FileId::new(hash.finalize().into()));
            }
        }
    }

    /// Reads on after an error, for a moment.
    pub(crate) async fn drain(mut self) {
        let drain = async {
            let mut left = DRAIN_BYTES_MAX;
            while let Some(Ok(frame)) = self.body.frame().await {
                let length = frame.data_ref().map_or(0, |data| data.len() as u64);
                match left.checked_sub(length) {
                    Some(still) => left = still,
                    None => return,
                }
            }
        };
        let _ended_or_not = timeout(DRAIN_TIME_MAX, drain).await;
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let earned = Duration::from_secs(self.arrived / BYTES_PER_SECOND_MIN);
            let patience = (self.begun + BODY_TIME + earned).min(Instant::now() + SILENCE_MAX);
            let Some(frame) = timeout_at(patience, self.body.frame()).await.map_err(|_| too_slow())? else {
                return Ok(None);
            };
            let Ok(data) = frame.map_err(|_| broken_off())?.into_data() else { continue };
            self.arrived += data.len() as u64;
            self.left = self.left.checked_sub(data.len() as u64).ok_or_else(too_large)?;
            if !data.is_empty() {
                return Ok(Some(data));
            }
        }
    }
}

fn too_large() -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The file is larger than any of its kind may be")
}

fn too_slow() -> Problem {
    Problem::new(StatusCode::REQUEST_TIMEOUT, "too-slow", "The body arrives too slowly")
}

fn broken_off() -> Problem {
    Problem::request_invalid("The body broke off")
}
