//! Reads a request body in the pieces that the protocol asks for, within bounds of size and patience.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::rate_limit::RateLimit;
use crate::{Code, Error, Result};

/// How long a body may be silent.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// What is read and thrown away after an error, so that the peer reads the answer instead of a broken connection.
const DRAIN_BYTES_MAX: usize = 32 << 20;
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// A request body.
pub(crate) struct BodyReader {
    body: Incoming,
    buffered: Bytes,
    /// Bytes that may still arrive; set by [`Self::limit`].
    left: usize,
    rates: Vec<Arc<RateLimit>>,
    /// Ends the reading when the session or the listener ends.
    closing: CancellationToken,
}

impl BodyReader {
    pub(crate) fn new(body: Incoming, rates: Vec<Arc<RateLimit>>, closing: CancellationToken) -> Self {
        Self { body, buffered: Bytes::new(), left: 0, rates, closing }
    }

    /// Allows a body of `bytes_max`, and refuses one that announces more.
    pub(crate) fn limit(&mut self, bytes_max: usize) -> Result<()> {
        self.left = bytes_max;
        match self.body.size_hint().exact() {
            Some(announced) if announced > bytes_max as u64 => Err(too_large()),
            _ => Ok(()),
        }
    }

    /// The next `length` bytes; without a copy if they arrived in one piece.
    pub(crate) async fn bytes(&mut self, length: usize) -> Result<Bytes> {
        if self.buffered.is_empty() && length > 0 {
            self.more().await?;
        }
        if self.buffered.len() >= length {
            return Ok(self.buffered.split_to(length));
        }
        let mut gathered = BytesMut::with_capacity(length);
        loop {
            let piece = self.buffered.split_to(self.buffered.len().min(length - gathered.len()));
            gathered.extend_from_slice(&piece);
            if gathered.len() == length {
                return Ok(gathered.freeze());
            }
            self.more().await?;
        }
    }

    /// Everything up to the end, at most what [`Self::limit`] allows.
    pub(crate) async fn rest(&mut self) -> Result<Bytes> {
        let mut gathered = BytesMut::from(std::mem::take(&mut self.buffered));
        while let Some(piece) = self.next().await? {
            gathered.extend_from_slice(&piece);
        }
        Ok(gathered.freeze())
    }

    /// Fails unless the body ends here.
    pub(crate) async fn end(&mut self) -> Result<()> {
        if self.buffered.is_empty() && self.next().await?.is_none() {
            return Ok(());
        }
        Err(malformed("The body goes on after its last frame"))
    }

    /// Reads on after an error, for a moment.
    pub(crate) async fn drain(mut self) {
        let drain = async {
            let mut left = DRAIN_BYTES_MAX;
            while let Some(Ok(frame)) = self.body.frame().await {
                let length = frame.data_ref().map_or(0, Bytes::len);
                if length > left {
                    return;
                }
                left -= length;
            }
        };
        let _ended_or_not = timeout(DRAIN_TIME_MAX, drain).await;
    }

    async fn more(&mut self) -> Result<()> {
        self.buffered = self.next().await?.ok_or_else(|| malformed("The body ends too early"))?;
        Ok(())
    }

    /// The next piece that is not empty; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let frame = tokio::select! {
                () = self.closing.cancelled() => return Err(ended()),
                frame = timeout(SILENCE_MAX, self.body.frame()) => frame,
            };
            let frame = frame.map_err(|_| malformed("The body was silent for too long"))?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|_| malformed("The body broke off"))?;
            let Ok(data) = frame.into_data() else { continue };
            self.left = self.left.checked_sub(data.len()).ok_or_else(too_large)?;
            for rate in &self.rates {
                rate.take(data.len()).await;
            }
            if !data.is_empty() {
                return Ok(Some(data));
            }
        }
    }
}

fn too_large() -> Error {
    Error::protocol(Code::FrameTooLarge, "The body is larger than allowed")
}

fn malformed(detail: &str) -> Error {
    Error::protocol(Code::ChunkMalformed, detail)
}

fn ended() -> Error {
    Error::protocol(Code::TicketInvalid, "The session has ended")
}
