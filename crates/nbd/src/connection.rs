//! One connection: a task of its own sends requests, receives replies and watches the clock.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::dial::{Dialed, Stream};
use crate::error::{Error, Result};
use crate::protocol::{Command, Extent, REQUEST_BYTES, ReadAnswer, Request, StatusAnswer};
use crate::receive::receive;
use crate::request_table::{Charge, ReadWork, RequestTable, StatusWork, Work};

/// How long a good-bye may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// A connection in the transmission phase. Dropping it ends it without a word.
#[derive(Debug)]
pub(crate) struct Connection {
    /// Requests are small and their number is bounded by the budget in bytes, so the queue is not. Callers
    /// never write to the stream themselves: one that leaves in the middle would tear a request apart.
    requests: mpsc::UnboundedSender<Request>,
    table: Arc<RequestTable>,
    allocation_context_id: Option<u32>,
    task: JoinHandle<()>,
}

impl Connection {
    pub(crate) fn start(dialed: Dialed, request_timeout: Duration) -> Self {
        let Dialed { stream, info } = dialed;
        let (requests, queue) = mpsc::unbounded_channel();
        let table = Arc::new(RequestTable::default());
        let run = run(stream, queue, Arc::clone(&table), info.has_structured_replies, request_timeout);
        let task = tokio::spawn(run);
        Self { requests, table, allocation_context_id: info.allocation_context_id, task }
    }

    /// Bytes that the server still owes on this connection.
    pub(crate) fn owed_bytes(&self) -> u64 {
        self.table.owed_bytes()
    }

    /// Why the connection has ended, if it has.
    pub(crate) fn end_reason(&self) -> Option<Error> {
        self.table.end_reason()
    }

    /// Reads `length` bytes into a buffer that is empty and has room for them.
    pub(crate) async fn read(
        &self,
        offset: u64,
        length: u32,
        buffer: BytesMut,
        charge: Charge,
    ) -> Result<BytesMut> {
        let answer = ReadAnswer::new(offset, length as usize);
        let (reply, received) = oneshot::channel();
        let work = Work::Read(ReadWork { answer, buffer, failure: None, reply });
        self.ask(work, offset, length, charge)?;
        received.await.unwrap_or_else(|_| Err(self.ended()))
    }

    /// Asks for the block status of the range; the answer may end before it does.
    pub(crate) async fn block_status(&self, offset: u64, length: u32, charge: Charge) -> Result<Vec<Extent>> {
        let context_id = self.allocation_context_id.ok_or(Error::NoBlockStatus)?;
        let answer = StatusAnswer::new(offset, length.into(), context_id);
        let (reply, received) = oneshot::channel();
        let work = Work::Status(StatusWork { answer, failure: None, reply });
        self.ask(work, offset, length, charge)?;
        received.await.unwrap_or_else(|_| Err(self.ended()))
    }

    /// Says good-bye and waits until the stream is closed. No request may be waiting.
    pub(crate) async fn close(&self) {
        let disconnect = Request { command: Command::Disconnect, cookie: 0, offset: 0, length: 0 };
        // The server may be gone already, or take no bytes any more; a reader has nothing to lose.
        let _ = self.requests.send(disconnect);
        let _ = timeout(CLOSE_LIMIT, self.requests.closed()).await;
    }

    fn ask(&self, work: Work, offset: u64, length: u32, charge: Charge) -> Result<()> {
        let command = work.command();
        let cookie = self.table.insert(work, charge)?;
        // If the task is about to end it drops the request from the table, and the caller learns the reason.
        let _ = self.requests.send(Request { command, cookie, offset, length });
        Ok(())
    }

    fn ended(&self) -> Error {
        self.table.end_reason().unwrap_or_else(Error::hung_up)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(
    stream: Box<dyn Stream>,
    queue: mpsc::UnboundedReceiver<Request>,
    table: Arc<RequestTable>,
    has_structured_replies: bool,
    request_timeout: Duration,
) {
    let (reader, writer) = tokio::io::split(stream);
    let mut receiving = pin!(receive(reader, &table, has_structured_replies));
    let mut sending = pin!(send(writer, queue));
    let mut watching = pin!(watch(&table, request_timeout));
    let error = tokio::select! {
        error = &mut receiving => error,
        error = &mut sending => error,
        error = &mut watching => error,
    };
    // Before the futures go: one of them may hold a request, whose caller then asks for the reason.
    table.end(error);
}

/// Sends what is queued, many requests with one system call, until the good-bye or an error; returns why.
async fn send(mut writer: impl AsyncWrite + Unpin, mut queue: mpsc::UnboundedReceiver<Request>) -> Error {
    const BATCH: usize = 64;
    let mut requests = Vec::with_capacity(BATCH);
    let mut bytes = BytesMut::with_capacity(BATCH * REQUEST_BYTES);
    loop {
        requests.clear();
        bytes.clear();
        if queue.recv_many(&mut requests, BATCH).await == 0 {
            return Error::Closed;
        }
        let is_last = requests.iter().any(|request| request.command == Command::Disconnect);
        for request in &requests {
            request.encode(&mut bytes);
        }
        let sent = async {
            writer.write_all(&bytes).await?;
            writer.flush().await
        };
        if let Err(error) = sent.await {
            return Error::lost(error);
        }
        if is_last {
            // A failure to say good-bye twice changes nothing.
            let _ = writer.shutdown().await;
            return Error::Closed;
        }
    }
}

/// Ends the connection when a request waits for too long; a hung server would hold its caller forever.
async fn watch(table: &RequestTable, limit: Duration) -> Error {
    let period = (limit / 8).clamp(Duration::from_millis(10), Duration::from_secs(1));
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !table.is_late(limit) {
        ticks.tick().await;
    }
    Error::RequestTimeout { limit }
}
