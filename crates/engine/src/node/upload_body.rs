//! A request body made of pieces that are already in memory: nothing is copied together.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// The pieces of one request, in order. Cloning the pieces for a repeated request is cheap.
pub(super) struct UploadBody {
    pieces: VecDeque<Bytes>,
    left_bytes: u64,
    /// Counts the pieces that were taken to be sent: tells a slow request from a dead one.
    moved: Arc<AtomicU64>,
}

impl UploadBody {
    pub(super) fn new(pieces: &[Bytes], moved: Arc<AtomicU64>) -> Self {
        let left_bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self { pieces: pieces.iter().cloned().collect(), left_bytes, moved }
    }
}

impl Body for UploadBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(piece) = self.pieces.pop_front() else { return Poll::Ready(None) };
        self.left_bytes -= piece.len() as u64;
        self.moved.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left_bytes)
    }
}
