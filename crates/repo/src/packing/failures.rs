//! Packs that could not be written.

use std::sync::{Mutex, MutexGuard, PoisonError};

use sendense_storage::ErrorKind;

use crate::{Error, Result};

/// Remembers that packs were lost. A pack holds chunks of many writers, so a failure concerns all that were at
/// work when it happened; those that start later begin with a clean slate.
#[derive(Default)]
pub(super) struct Failures(Mutex<State>);

#[derive(Default)]
struct State {
    count: u64,
    message: String,
    kind: Option<ErrorKind>,
}

/// A moment in the history of failures.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FailureMark(u64);

impl Failures {
    pub(super) fn record(&self, error: &Error) {
        let mut state = self.state();
        state.count += 1;
        state.message = error.to_string();
        state.kind = match error {
            Error::Storage(error) => Some(error.kind()),
            _ => None,
        };
    }

    pub(super) fn mark(&self) -> FailureMark {
        FailureMark(self.state().count)
    }

    /// The latest failure if there was one since the mark.
    pub(super) fn since(&self, mark: FailureMark) -> Result<()> {
        let state = self.state();
        if state.count == mark.0 {
            return Ok(());
        }
        let kind = state.kind.unwrap_or(ErrorKind::Other);
        Err(Error::PackNotWritten { message: state.message.clone(), kind })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
