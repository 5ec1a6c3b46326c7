//! Requests that wait for their replies.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::protocol::transmission::StatusRange;
use crate::read_buffer::ReadBuffer;
use crate::{Error, Result};

/// What a request is answered with.
pub(crate) enum Reply {
    Read(Bytes),
    Status(Vec<StatusRange>),
}

/// What is collected for a request until its last chunk has come.
pub(crate) enum Collected {
    Read(ReadBuffer),
    Status(Vec<StatusRange>),
}

/// One request in flight.
pub(crate) struct Pending {
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) collected: Collected,
    /// The server's error, if a chunk told one; its other chunks are still to be received.
    pub(crate) error: Option<u32>,
    pub(crate) answer: oneshot::Sender<Result<Reply>>,
    /// Its share of the bytes in flight; given back when the reply is complete or given up.
    pub(crate) _permit: Option<OwnedSemaphorePermit>,
}

/// All requests in flight of one connection. Once it has ended, no request gets in.
#[derive(Default)]
pub(crate) struct PendingRequests(Mutex<State>);

#[derive(Default)]
struct State {
    by_cookie: HashMap<u64, Pending>,
    next_cookie: u64,
    /// Why the connection has ended.
    end: Option<String>,
}

impl PendingRequests {
    /// Lets a request in and gives it its cookie.
    pub(crate) fn insert(&self, pending: Pending) -> Result<u64> {
        let mut state = self.lock();
        if let Some(reason) = &state.end {
            return Err(Error::Disconnected(reason.clone()));
        }
        let cookie = state.next_cookie;
        state.next_cookie = cookie.wrapping_add(1);
        state.by_cookie.insert(cookie, pending);
        Ok(cookie)
    }

    /// Takes a request out while one of its chunks is received.
    pub(crate) fn take(&self, cookie: u64) -> Option<Pending> {
        self.lock().by_cookie.remove(&cookie)
    }

    /// Puts it back to wait for more chunks.
    pub(crate) fn put_back(&self, cookie: u64, pending: Pending) {
        self.lock().by_cookie.insert(cookie, pending);
    }

    /// How many wait.
    pub(crate) fn count(&self) -> usize {
        self.lock().by_cookie.len()
    }

    /// Why the connection has ended, if it has.
    pub(crate) fn end_reason(&self) -> Option<String> {
        self.lock().end.clone()
    }

    /// Ends the connection for all who wait and all who come. The first reason stays.
    pub(crate) fn end(&self, make_error: impl Fn(String) -> Error, reason: &str) {
        let waiting = {
            let mut state = self.lock();
            state.end.get_or_insert_with(|| reason.to_owned());
            std::mem::take(&mut state.by_cookie)
        };
        for pending in waiting.into_values() {
            // Whoever asked may have gone away, which is fine.
            let _ = pending.answer.send(Err(make_error(reason.to_owned())));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held; if it did, the map would still be whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
