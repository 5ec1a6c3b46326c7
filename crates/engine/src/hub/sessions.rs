//! The sessions that a listener serves.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::session::Session;
use super::ticket::{TicketDigest, digest_of};
use crate::{Code, Error, Result};

/// Sessions by the hash of their ticket.
#[derive(Default)]
pub(crate) struct Sessions {
    by_ticket: Mutex<HashMap<TicketDigest, Arc<Session>>>,
}

impl Sessions {
    pub(crate) fn insert(&self, digest: TicketDigest, session: Arc<Session>) {
        self.lock().insert(digest, session);
    }

    pub(crate) fn remove(&self, digest: &TicketDigest) {
        self.lock().remove(digest);
    }

    /// The session of a shown ticket, if it is the one of `capture_id`.
    pub(crate) fn authorise(&self, ticket: &str, capture_id: &str) -> Result<Arc<Session>> {
        let session = self.lock().get(&digest_of(ticket)).cloned();
        let session = session.filter(|session| !session.ticket().is_expired()).ok_or_else(ticket_invalid)?;
        if session.id() == capture_id {
            Ok(session)
        } else {
            Err(Error::protocol(Code::CaptureUnknown, format!("No capture {capture_id}")))
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TicketDigest, Arc<Session>>> {
        self.by_ticket.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same words whatever is wrong with it.
pub(crate) fn ticket_invalid() -> Error {
    Error::protocol(
        Code::TicketInvalid,
        "The ticket is missing, unknown, expired, or of a session that has ended",
    )
}
