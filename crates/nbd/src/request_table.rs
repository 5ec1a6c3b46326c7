//! The requests of one connection that wait for their replies.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::error::{Error, Result};
use crate::protocol::{Command, Extent, ReadAnswer, ServerFailure, StatusAnswer};

/// All requests of a connection that wait. Once it has ended, none gets in, and all that waited are dropped:
/// whoever waited finds the reason in [`RequestTable::end_reason`].
#[derive(Debug, Default)]
pub(crate) struct RequestTable(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    next_cookie: u64,
    /// Cookies ascend with time, so the first request is the oldest.
    waiting: BTreeMap<u64, Waiting>,
    /// Bytes that the server still owes.
    owed_bytes: u64,
    end: Option<Error>,
}

#[derive(Debug)]
struct Waiting {
    /// `None` while a piece of the reply is being received.
    work: Option<Work>,
    since: Instant,
    charge: Charge,
}

/// What a request takes from the budget while it waits.
#[derive(Debug)]
pub(crate) struct Charge {
    /// Bytes that the server owes.
    pub(crate) bytes: u64,
    /// Its share of the bytes in flight, given back when the reply is complete, not when the caller leaves.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

/// What is collected for a request until its last piece has come.
#[derive(Debug)]
pub(crate) enum Work {
    Read(ReadWork),
    Status(StatusWork),
}

#[derive(Debug)]
pub(crate) struct ReadWork {
    pub(crate) answer: ReadAnswer,
    /// Has room for the whole answer from the beginning.
    pub(crate) buffer: BytesMut,
    pub(crate) failure: Option<ServerFailure>,
    pub(crate) reply: oneshot::Sender<Result<BytesMut>>,
}

#[derive(Debug)]
pub(crate) struct StatusWork {
    pub(crate) answer: StatusAnswer,
    pub(crate) failure: Option<ServerFailure>,
    pub(crate) reply: oneshot::Sender<Result<Vec<Extent>>>,
}

impl RequestTable {
    /// Lets a request wait and returns its cookie.
    pub(crate) fn insert(&self, work: Work, charge: Charge) -> Result<u64> {
        let mut state = self.lock();
        if let Some(error) = &state.end {
            return Err(error.clone());
        }
        let cookie = state.next_cookie;
        state.next_cookie = cookie.wrapping_add(1);
        state.owed_bytes += charge.bytes;
        state.waiting.insert(cookie, Waiting { work: Some(work), since: Instant::now(), charge });
        Ok(cookie)
    }

    /// Takes the work of a request out while a piece of its reply is received; the request keeps waiting.
    pub(crate) fn take(&self, cookie: u64) -> Option<Work> {
        self.lock().waiting.get_mut(&cookie)?.work.take()
    }

    /// Puts it back to wait for more pieces.
    pub(crate) fn put_back(&self, cookie: u64, work: Work) {
        if let Some(waiting) = self.lock().waiting.get_mut(&cookie) {
            waiting.work = Some(work);
        }
    }

    /// The reply is complete: the request waits no more and its charge is free.
    pub(crate) fn remove(&self, cookie: u64) {
        let mut state = self.lock();
        if let Some(Waiting { charge: Charge { bytes, permit }, .. }) = state.waiting.remove(&cookie) {
            state.owed_bytes -= bytes;
            drop(permit);
        }
    }

    /// Bytes that the server still owes.
    pub(crate) fn owed_bytes(&self) -> u64 {
        self.lock().owed_bytes
    }

    /// Whether some request waits for longer than `limit`.
    pub(crate) fn is_late(&self, limit: Duration) -> bool {
        self.lock().waiting.first_key_value().is_some_and(|(_, oldest)| oldest.since.elapsed() > limit)
    }

    /// Ends the connection for all who wait and all who come. The first reason stays.
    pub(crate) fn end(&self, error: Error) {
        let dropped_outside_of_the_lock = {
            let mut state = self.lock();
            state.end.get_or_insert(error);
            state.owed_bytes = 0;
            std::mem::take(&mut state.waiting)
        };
        drop(dropped_outside_of_the_lock);
    }

    /// Why the connection has ended, if it has.
    pub(crate) fn end_reason(&self) -> Option<Error> {
        self.lock().end.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held; if it did, the maps would still be whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work {
    /// Notes an error that the server reported; pieces that follow are still received.
    pub(crate) fn fail(&mut self, failure: ServerFailure) {
        let slot = match self {
            Self::Read(work) => &mut work.failure,
            Self::Status(work) => &mut work.failure,
        };
        // The first error is the cause of those that follow.
        slot.get_or_insert(failure);
    }

    pub(crate) const fn command(&self) -> Command {
        match self {
            Self::Read(_) => Command::Read,
            Self::Status(_) => Command::BlockStatus,
        }
    }

    /// Hands the answer to whoever asked. A violation is also returned, because it ends the connection.
    pub(crate) fn complete(self) -> Result<()> {
        match self {
            Self::Read(ReadWork { answer, buffer, failure, reply }) => {
                let result = match failure {
                    Some(failure) => {
                        Err(server_error(Command::Read, answer.offset(), answer.length() as u64, failure))
                    }
                    None => answer.finish().map(|()| buffer).map_err(Error::from),
                };
                hand_over(reply, result)
            }
            Self::Status(StatusWork { answer, failure, reply }) => {
                let result = match failure {
                    Some(failure) => {
                        Err(server_error(Command::BlockStatus, answer.offset(), answer.length(), failure))
                    }
                    None => answer.finish().map_err(Error::from),
                };
                hand_over(reply, result)
            }
        }
    }
}

fn hand_over<T>(reply: oneshot::Sender<Result<T>>, result: Result<T>) -> Result<()> {
    let violation = match &result {
        Err(error @ Error::Protocol(_)) => Err(error.clone()),
        _ => Ok(()),
    };
    // Whoever asked may have gone away, which is fine.
    let _ = reply.send(result);
    violation
}

fn server_error(command: Command, start: u64, length: u64, failure: ServerFailure) -> Error {
    let ServerFailure { errno, offset, message } = failure;
    // An offset that is not in the request says nothing and is not worth losing the error number for.
    let offset = offset.filter(|offset| (start..start + length).contains(offset)).unwrap_or(start);
    Error::Server { command: command.verb(), errno, offset, length, message }
}
