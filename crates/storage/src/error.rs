//! The error of every storage.
//!
//! Rules: an implementation classifies where the error happens and keeps the cause; wrappers pass errors on as
//! they are; nobody looks at texts. An error that was retried in vain is no longer temporary.

use std::io;

use crate::{FileId, FileKind};

/// What a storage returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, for code to decide on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The file, or the whole place, is not there.
    NotFound,
    /// A file of that name exists and has other bytes.
    AlreadyExists,
    /// No room: file system full or quota used up.
    NoSpace,
    /// The place refuses us.
    PermissionDenied,
    /// The stored bytes are not what they must be: the file is shorter than asked, the medium has errors.
    Damaged,
    /// No answer in time.
    Timeout,
    /// Anything else.
    Other,
}

/// An operation of a storage failed.
#[derive(Debug, thiserror::Error)]
#[error("Cannot {operation}{}: {message}", target_words(target.as_ref()))]
pub struct Error {
    kind: ErrorKind,
    temporary: bool,
    operation: &'static str,
    target: Option<(FileKind, FileId)>,
    message: String,
    #[source]
    source: Option<io::Error>,
}

impl Error {
    /// An error of the given kind; `operation` completes the sentence "Cannot …" (`read`, `write`, `list`).
    #[must_use]
    pub fn new(kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> Self {
        let temporary = kind == ErrorKind::Timeout;
        Self { kind, temporary, operation, target: None, message: message.into(), source: None }
    }

    /// Classifies an error of the operating system.
    #[must_use]
    pub fn from_io(operation: &'static str, source: io::Error) -> Self {
        let (kind, message) = classify(&source);
        let temporary = kind == ErrorKind::Timeout || source.kind() == io::ErrorKind::Interrupted;
        Self { kind, temporary, operation, target: None, message: message.into(), source: Some(source) }
    }

    /// Says which file it was about.
    #[must_use]
    pub fn with_file(mut self, kind: FileKind, id: &FileId) -> Self {
        self.target = Some((kind, *id));
        self
    }

    /// Says that a repetition has a chance.
    #[must_use]
    pub fn temporary(mut self) -> Self {
        self.temporary = true;
        self
    }

    /// Says that repeating was tried and did not help.
    #[must_use]
    pub fn persistent(mut self) -> Self {
        self.temporary = false;
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Whether doing the same again has a chance.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        self.temporary
    }
}

fn target_words(target: Option<&(FileKind, FileId)>) -> String {
    match target {
        None => String::new(),
        Some((FileKind::Config, _)) => " config".into(),
        Some((kind, id)) => format!(" {kind} {id}"),
    }
}

fn classify(source: &io::Error) -> (ErrorKind, &'static str) {
    match source.kind() {
        io::ErrorKind::NotFound => (ErrorKind::NotFound, "it does not exist"),
        io::ErrorKind::AlreadyExists => (ErrorKind::AlreadyExists, "it exists"),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            (ErrorKind::NoSpace, "there is no room left")
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            (ErrorKind::PermissionDenied, "the file system refuses it")
        }
        io::ErrorKind::TimedOut | io::ErrorKind::StaleNetworkFileHandle => {
            (ErrorKind::Timeout, "no answer in time")
        }
        io::ErrorKind::UnexpectedEof => (ErrorKind::Damaged, "the file is too short"),
        _ if source.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => {
            (ErrorKind::Damaged, "the medium reports an error")
        }
        _ => (ErrorKind::Other, "the operating system reports an error"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_used_up_quota_are_both_no_space() {
        for errno in [rustix::io::Errno::NOSPC, rustix::io::Errno::DQUOT] {
            let error = Error::from_io("write", errno.into());
            assert_eq!(error.kind(), ErrorKind::NoSpace);
            assert!(!error.is_temporary());
        }
    }

    #[test]
    fn the_message_names_the_file() {
        let id = FileId::new([0xab; 32]);
        let error =
            Error::new(ErrorKind::NotFound, "read", "it does not exist").with_file(FileKind::Pack, &id);
        assert_eq!(error.to_string(), format!("Cannot read pack {id}: it does not exist"));
    }
}
