//! What time it is for the server.

use std::sync::OnceLock;
use std::time::SystemTime;

use tokio::time::Instant;

/// The clock of a server, known from the time stamp of a file that was written there a moment ago.
#[derive(Debug, Default)]
pub(crate) struct ServerClock(OnceLock<(SystemTime, Instant)>);

impl ServerClock {
    /// The time there; `None` before a file was written.
    pub(crate) fn now(&self) -> Option<SystemTime> {
        self.0.get().map(|(time, seen)| *time + seen.elapsed())
    }

    /// Takes the time stamp of a file that was written just now.
    pub(crate) fn set(&self, modified_at: SystemTime) {
        // The first one suffices.
        let _ = self.0.set((modified_at, Instant::now()));
    }
}
