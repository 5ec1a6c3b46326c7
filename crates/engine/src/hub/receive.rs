//! Takes a `chunks` body apart, checks every chunk, and stores those that were missing.

use super::body_reader::BodyReader;
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
    let header = ChunksHeader::decode(&body.bytes(CHUNKS_HEADER_BYTES).await?)?;
    let mut accepted = Accepted::default();
    for _ in 0..header.frames {
        let frame = FrameHeader::decode(&body.bytes(FRAME_HEADER_BYTES).await?)?;
        let is_wanted = session.expects(disk, header.attempt, &frame)?;
        let memory = shared.frame_memory.acquire_many(frame.stored_bytes).await;
        let _held_until_stored = memory.map_err(|_| Error::Internal("The memory is gone".into()))?;
        let payload = body.bytes(frame.stored_bytes as usize).await?;
        shared.chunk_check.check(frame, payload.clone()).await?;
        if is_wanted && session.store(disk, &frame, payload).await? {
            accepted.new_bytes += u64::from(frame.plain_bytes);
            accepted.stored_bytes += u64::from(frame.stored_bytes);
        }
        accepted.accepted += 1;
    }
    body.end().await?;
    Ok(accepted)
}
