//! One session at a time, and a new one when it has ended.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use sendense_storage::ErrorKind;
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::failure::{Failure, Outcome};
use crate::layout::Layout;
use crate::session::Session;
use crate::ssh::Destination;

/// How long ssh may take until SFTP answers. It gives up earlier where it notices that nobody is there.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);

/// The way to one repository.
pub(crate) struct Connection {
    pub(crate) layout: Layout,
    destination: Destination,
    state: Mutex<State>,
    /// Temporary files that could not be removed because the connection had gone.
    left_behind: std::sync::Mutex<Vec<String>>,
}

#[derive(Default)]
struct State {
    session: Option<Arc<Session>>,
    failure: Option<(Instant, Failure)>,
}

impl Connection {
    pub(crate) fn new(layout: Layout, destination: Destination) -> Self {
        Self { layout, destination, state: Mutex::default(), left_behind: std::sync::Mutex::default() }
    }

    pub(crate) fn location(&self) -> String {
        self.destination.location(self.layout.root())
    }

    /// The session, a new one if the last one has ended.
    pub(crate) async fn session(&self) -> Outcome<Arc<Session>> {
        let asked_at = Instant::now();
        let mut state = self.state.lock().await;
        if let Some(session) = state.session.as_ref().filter(|session| !session.is_broken()) {
            return Ok(Arc::clone(session));
        }
        // Many may wait here. One of them tries, and its failure is that of all.
        if let Some((_, failure)) = state.failure.as_ref().filter(|(at, _)| *at >= asked_at) {
            return Err(failure.clone());
        }
        state.session = None;
        match self.connect().await {
            Ok(session) => {
                state.session = Some(Arc::clone(&session));
                Ok(session)
            }
            Err(failure) => {
                state.failure = Some((Instant::now(), failure.clone()));
                Err(failure)
            }
        }
    }

    async fn connect(&self) -> Outcome<Arc<Session>> {
        // Who ends orderly need not get to dropping what it holds, so the key is in a file no longer than it must be.
        let files = self.destination.lay_out()?;
        let session = timeout(CONNECT_LIMIT, Session::start(self.destination.dial(&files)?)).await;
        drop(files);
        let session =
            session.map_err(|_| Failure::new(ErrorKind::Unreachable, "the server does not answer"))??;
        let left_behind = std::mem::take(&mut *self.left_behind());
        for path in left_behind {
            self.discard(&session, path).await;
        }
        Ok(Arc::new(session))
    }

    /// Removes a temporary file, later if it must be.
    pub(crate) async fn discard(&self, session: &Session, path: String) {
        if session.remove(&path).await.is_err_and(|failure| failure.kind == ErrorKind::Unreachable) {
            self.left_behind().push(path);
        }
    }

    fn left_behind(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.left_behind.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
