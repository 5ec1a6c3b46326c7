//! One connection: requests go out under a lock, a task receives the replies and hands them to who waits.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{Mutex, OwnedSemaphorePermit, oneshot};
use tokio::task::JoinHandle;

use crate::handshake::Negotiated;
use crate::pending::{Collected, Pending, PendingRequests, Reply};
use crate::protocol::transmission::{
    ChunkHead, ChunkKind, Command, SIMPLE_REPLY_MAGIC, SIMPLE_REPLY_REST_LEN, STRUCTURED_REPLY_MAGIC,
    STRUCTURED_REPLY_REST_LEN, decode_block_status, decode_chunk_head, decode_error, decode_hole,
    decode_simple_reply, encode_request, error_name,
};
use crate::read_buffer::ReadBuffer;
use crate::stream::Stream;
use crate::{Error, Result};

/// A connection in the transmission phase. Dropping it ends it.
pub(crate) struct Connection {
    writer: Mutex<WriteHalf<Box<dyn Stream>>>,
    pending: Arc<PendingRequests>,
    receiver: JoinHandle<()>,
    request_timeout: Duration,
}

impl Connection {
    pub(crate) fn new(negotiated: Negotiated, request_timeout: Duration) -> Self {
        let (reader, writer) = tokio::io::split(negotiated.stream);
        let pending = Arc::new(PendingRequests::default());
        let receiver = tokio::spawn(receive_all(reader, Arc::clone(&pending), negotiated.context));
        Self { writer: Mutex::new(writer), pending, receiver, request_timeout }
    }

    /// How many requests wait for their replies.
    pub(crate) fn load(&self) -> usize {
        self.pending.count()
    }

    /// Whether requests can still be sent.
    pub(crate) fn is_open(&self) -> bool {
        self.pending.end_reason().is_none()
    }

    /// Sends one request and waits for its reply. `permit` is held until the reply is complete.
    pub(crate) async fn request(
        &self,
        command: Command,
        offset: u64,
        length: u32,
        permit: Option<OwnedSemaphorePermit>,
    ) -> Result<Reply> {
        let (answer, reply) = oneshot::channel();
        let collected = match command {
            Command::BlockStatus => Collected::Status(Vec::new()),
            Command::Read | Command::Disconnect => Collected::Read(ReadBuffer::new(offset, length as usize)),
        };
        let pending =
            Pending { offset, length: u64::from(length), collected, error: None, answer, _permit: permit };
        let cookie = self.pending.insert(pending)?;
        let whole = async {
            self.send(&encode_request(command, cookie, offset, length)).await?;
            reply.await.unwrap_or_else(|_| Err(self.ended()))
        };
        match tokio::time::timeout(self.request_timeout, whole).await {
            Ok(result) => result,
            Err(_) => Err(self.time_out()),
        }
    }

    /// Says good-bye and ends the connection.
    pub(crate) async fn close(&self) {
        // The server may be gone already; there is nothing to lose.
        let _ = self.send(&encode_request(Command::Disconnect, 0, 0, 0)).await;
        let _ = self.writer.lock().await.shutdown().await;
        self.pending.end(Error::Disconnected, "it was closed");
    }

    async fn send(&self, request: &[u8]) -> Result<()> {
        let mut writer = self.writer.lock().await;
        let sent = async {
            writer.write_all(request).await?;
            writer.flush().await
        };
        let result = sent.await;
        result.map_err(|error| {
            self.pending.end(Error::Disconnected, &error.to_string());
            self.ended()
        })
    }

    fn ended(&self) -> Error {
        Error::Disconnected(self.pending.end_reason().unwrap_or_else(|| "the reply was lost".into()))
    }

    /// A reply that comes later would belong to nobody, so the connection is given up.
    fn time_out(&self) -> Error {
        let seconds = self.request_timeout.as_secs();
        self.receiver.abort();
        self.pending.end(|_| Error::Timeout { seconds }, "a request got no reply in time");
        Error::Timeout { seconds }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.receiver.abort();
    }
}

async fn receive_all(
    mut reader: ReadHalf<Box<dyn Stream>>,
    pending: Arc<PendingRequests>,
    context: Option<u32>,
) {
    let error = loop {
        if let Err(error) = receive_one(&mut reader, &pending, context).await {
            break error;
        }
    };
    match error {
        Error::Protocol(reason) => pending.end(Error::Protocol, &reason),
        error => pending.end(Error::Disconnected, &error.to_string()),
    }
}

async fn receive_one(
    reader: &mut (impl AsyncRead + Unpin),
    pending: &PendingRequests,
    context: Option<u32>,
) -> Result<()> {
    match reader.read_u32().await? {
        SIMPLE_REPLY_MAGIC => {
            let mut rest = [0; SIMPLE_REPLY_REST_LEN];
            reader.read_exact(&mut rest).await?;
            let reply = decode_simple_reply(&rest)?;
            // Structured replies were agreed on, so a simple one can only tell an error.
            if reply.error == 0 {
                return Err(Error::Protocol("a read was answered without structure".into()));
            }
            let mut request = take(pending, reply.cookie)?;
            request.error = Some(reply.error);
            finish(request);
            Ok(())
        }
        STRUCTURED_REPLY_MAGIC => {
            let mut rest = [0; STRUCTURED_REPLY_REST_LEN];
            reader.read_exact(&mut rest).await?;
            let head = decode_chunk_head(&rest)?;
            let mut request = take(pending, head.cookie)?;
            // If this fails the request is dropped here, and who waits learns the reason from the connection's end.
            receive_chunk(reader, &head, &mut request, context).await?;
            if head.is_last {
                finish(request);
            } else {
                pending.put_back(head.cookie, request);
            }
            Ok(())
        }
        magic => Err(Error::Protocol(format!("a reply begins with {magic:#010x}"))),
    }
}

fn take(pending: &PendingRequests, cookie: u64) -> Result<Pending> {
    pending
        .take(cookie)
        .ok_or_else(|| Error::Protocol(format!("a reply is for {cookie}, which nobody waits for")))
}

async fn receive_chunk(
    reader: &mut (impl AsyncRead + Unpin),
    head: &ChunkHead,
    request: &mut Pending,
    context: Option<u32>,
) -> Result<()> {
    if head.kind == ChunkKind::OffsetData {
        let offset = reader.read_u64().await?;
        return match &mut request.collected {
            Collected::Read(buffer) => buffer.receive(reader, offset, head.length as usize - 8).await,
            Collected::Status(_) => Err(Error::Protocol("a block status was answered with data".into())),
        };
    }
    let mut data = vec![0; head.length as usize];
    reader.read_exact(&mut data).await?;
    match (head.kind, &mut request.collected) {
        (ChunkKind::OffsetHole, Collected::Read(buffer)) => {
            let (offset, length) = decode_hole(&data)?;
            buffer.hole(offset, length as usize)?;
        }
        (ChunkKind::BlockStatus, Collected::Status(all)) => {
            let (id, ranges) = decode_block_status(&data)?;
            if Some(id) == context {
                all.extend(ranges);
            }
        }
        (ChunkKind::Error | ChunkKind::ErrorOffset, _) => request.error = Some(decode_error(&data)?),
        (ChunkKind::None, _) => {}
        (kind, _) => return Err(Error::Protocol(format!("a request was answered with {kind:?}"))),
    }
    Ok(())
}

fn finish(request: Pending) {
    let Pending { offset, length, collected, error, answer, .. } = request;
    let result = match (error, collected) {
        (Some(number), _) => Err(Error::Read { offset, length, name: error_name(number) }),
        (None, Collected::Read(buffer)) => buffer.finish().map(Reply::Read).map_err(Error::from),
        (None, Collected::Status(ranges)) => Ok(Reply::Status(ranges)),
    };
    // Whoever asked may have gone away, which is fine.
    let _ = answer.send(result);
}
