//! Takes a `chunks` body apart, checks every chunk, and stores those that were missing.

use bytes::Bytes;
use tokio::sync::SemaphorePermit;

use super::body_reader::BodyReader;
use super::chunk_check::Claim;
use super::data_plane::Shared;
use super::session::Session;
use super::session_disk::SessionDisk;
use crate::wire::{
    Accepted, CHUNKS_HEADER_BYTES, ChunksHeader, FRAME_HEADER_BYTES, FrameHeader, upload_bytes_max,
};
use crate::{Error, Result};

/// Receives one upload. When it fails, what came before the failure is stored all the same, and the claims of the
/// disk are given up, so that the next offers are asked again.
pub(super) async fn receive_chunks(
    shared: &Shared,
    session: &Session,
    disk: &SessionDisk,
    body: &mut BodyReader,
) -> Result<Accepted> {
    let received = receive_frames(shared, session, disk, body).await;
    if received.is_err() {
        disk.intake().release_claims();
    }
    received
}

async fn receive_frames(
    shared: &Shared,
    session: &Session,
    disk: &SessionDisk,
    body: &mut BodyReader,
) -> Result<Accepted> {
    body.limit(upload_bytes_max(session.chunk_bytes()))?;
    let ChunksHeader { attempt, frames } = ChunksHeader::decode(&body.bytes(CHUNKS_HEADER_BYTES).await?)?;
    let mut frames = Frames { shared, session, disk, body, attempt, left: frames, announced: None };
    let mut accepted = Accepted::default();
    while let Some(first) = frames.next().await? {
        let (second, failure) = match frames.next_if_free().await {
            Ok(second) => (second, None),
            Err(failure) => (None, Some(failure)),
        };
        let checked = shared.chunk_check.check(first.claim(), second.as_ref().map(Frame::claim)).await?;
        for (frame, checked) in std::iter::once(first).chain(second).zip(checked) {
            checked?;
            let Frame { header, is_wanted, payload, _held_until_stored } = frame;
            if is_wanted && session.store(disk, &header, payload).await? {
                accepted.new_bytes += u64::from(header.plain_bytes);
                accepted.stored_bytes += u64::from(header.stored_bytes);
            }
            accepted.accepted += 1;
        }
        failure.map_or(Ok(()), Err)?;
    }
    body.end().await?;
    Ok(accepted)
}

/// The frames of an upload.
struct Frames<'a> {
    shared: &'a Shared,
    session: &'a Session,
    disk: &'a SessionDisk,
    body: &'a mut BodyReader,
    attempt: u32,
    /// Those whose header has not been read.
    left: u32,
    /// One whose header has been read, and whether it is wanted.
    announced: Option<(FrameHeader, bool)>,
}

struct Frame<'a> {
    header: FrameHeader,
    is_wanted: bool,
    payload: Bytes,
    _held_until_stored: SemaphorePermit<'a>,
}

impl Frame<'_> {
    fn claim(&self) -> Claim {
        (self.header, self.payload.clone())
    }
}

impl<'a> Frames<'a> {
    /// The next frame, as soon as there is memory for it. The caller holds none meanwhile.
    async fn next(&mut self) -> Result<Option<Frame<'a>>> {
        let Some((header, is_wanted)) = self.announcement().await? else { return Ok(None) };
        let memory = self.shared.frame_memory.acquire_many(header.stored_bytes).await;
        let memory = memory.map_err(|_| Error::Internal("The memory is gone".into()))?;
        self.arrive(header, is_wanted, memory).await.map(Some)
    }

    /// The next frame, unless it would have to wait for memory.
    async fn next_if_free(&mut self) -> Result<Option<Frame<'a>>> {
        let Some((header, is_wanted)) = self.announcement().await? else { return Ok(None) };
        if let Ok(memory) = self.shared.frame_memory.try_acquire_many(header.stored_bytes) {
            return self.arrive(header, is_wanted, memory).await.map(Some);
        }
        self.announced = Some((header, is_wanted));
        Ok(None)
    }

    async fn announcement(&mut self) -> Result<Option<(FrameHeader, bool)>> {
        if self.announced.is_some() || self.left == 0 {
            return Ok(self.announced.take());
        }
        self.left -= 1;
        let header = FrameHeader::decode(&self.body.bytes(FRAME_HEADER_BYTES).await?)?;
        let is_wanted = self.session.expects(self.disk, self.attempt, &header)?;
        Ok(Some((header, is_wanted)))
    }

    async fn arrive(
        &mut self,
        header: FrameHeader,
        is_wanted: bool,
        memory: SemaphorePermit<'a>,
    ) -> Result<Frame<'a>> {
        let payload = self.body.bytes(header.stored_bytes as usize).await?;
        Ok(Frame { header, is_wanted, payload, _held_until_stored: memory })
    }
}
