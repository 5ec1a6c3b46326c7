//! The error of every storage.
//!
//! Rules: an implementation classifies where the error happens and keeps the cause; wrappers pass errors on as
//! they are; nobody looks at texts. An error that was retried in vain is no longer temporary.

use std::io;
use std::time::SystemTime;

use rustix::io::Errno;

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
    /// No room: file system full or the quota of the place used up.
    NoSpace,
    /// No room by our own rule: the quota that this repository was given is used up.
    QuotaExceeded,
    /// No room by our own rule: what is left is kept for finishing what is under way.
    ReserveReached,
    /// The place knows us and refuses this operation.
    PermissionDenied,
    /// The file is protected against removal: see [`Error::protected_until`].
    Protected,
    /// The place gives no answer: name not known, connection refused or broken.
    Unreachable,
    /// The place does not accept who we say we are.
    CredentialsWrong,
    /// The certificate of the place is not one that we trust.
    CertificateUntrusted,
    /// The key of the SSH server is not the one that was pinned.
    HostKeyMismatch,
    /// Our clock and that of the place are too far apart for it to accept our signatures.
    ClockSkewed,
    /// The bucket or container of the place does not exist.
    ContainerMissing,
    /// The place was to protect files and cannot: its bucket has no object lock.
    ObjectLockMissing,
    /// The stored bytes are not what they must be: the file is shorter than asked, the medium has errors.
    Damaged,
    /// No answer in time.
    Timeout,
    /// Anything else.
    Other,
}

impl ErrorKind {
    /// Whether there is no room, by the nature of the place or by our own rules.
    #[must_use]
    pub fn is_no_space(self) -> bool {
        matches!(self, Self::NoSpace | Self::QuotaExceeded | Self::ReserveReached)
    }

    /// Whether such an error usually passes by itself.
    #[must_use]
    pub fn is_temporary(self) -> bool {
        matches!(self, Self::Timeout | Self::Unreachable)
    }
}

/// What caused an error, in the words of whoever knows.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// An operation of a storage failed.
#[derive(Debug, thiserror::Error)]
#[error("Cannot {operation}{}: {message}", target_words(target.as_ref()))]
pub struct Error {
    kind: ErrorKind,
    temporary: bool,
    operation: &'static str,
    target: Option<(FileKind, FileId)>,
    message: String,
    protected_until: Option<SystemTime>,
    #[source]
    source: Option<Cause>,
}

impl Error {
    /// An error of the given kind; `operation` completes the sentence "Cannot …" (`read`, `write`, `list`).
    #[must_use]
    pub fn new(kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            temporary: kind.is_temporary(),
            operation,
            target: None,
            message: message.into(),
            protected_until: None,
            source: None,
        }
    }

    /// The refusal to remove a file before its protection ends.
    #[must_use]
    pub fn protected(kind: FileKind, id: &FileId, until: SystemTime) -> Self {
        let message = match jiff::Timestamp::try_from(until) {
            Ok(until) => format!("it is protected until {until:.0}"),
            Err(_) => "it is protected for longer than can be told".into(),
        };
        let error = Self::new(ErrorKind::Protected, "remove", message).with_file(kind, id);
        Self { protected_until: Some(until), ..error }
    }

    /// Classifies an error of the operating system.
    #[must_use]
    pub fn from_io(operation: &'static str, source: io::Error) -> Self {
        let (kind, message) = classify(&source);
        let is_interrupted = source.kind() == io::ErrorKind::Interrupted;
        let error = Self::new(kind, operation, message).with_source(source);
        if is_interrupted { error.temporary() } else { error }
    }

    /// Says what caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Cause>) -> Self {
        self.source = Some(source.into());
        self
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

    /// The moment from which on the file can be removed, where the kind is [`ErrorKind::Protected`].
    #[must_use]
    pub fn protected_until(&self) -> Option<SystemTime> {
        self.protected_until
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
    let is = |errno: Errno| source.raw_os_error() == Some(errno.raw_os_error());
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
        // A mounted share whose server is gone.
        io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::NotConnected
        | io::ErrorKind::ConnectionRefused
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::WouldBlock => (ErrorKind::Unreachable, "its server does not answer"),
        io::ErrorKind::UnexpectedEof => (ErrorKind::Damaged, "the file is too short"),
        _ if is(Errno::IO) => (ErrorKind::Damaged, "the medium reports an error"),
        _ if is(Errno::HOSTDOWN) => (ErrorKind::Unreachable, "its server does not answer"),
        _ => (ErrorKind::Other, "the operating system reports an error"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_used_up_quota_are_both_no_space() {
        for errno in [Errno::NOSPC, Errno::DQUOT] {
            let error = Error::from_io("write", errno.into());
            assert_eq!(error.kind(), ErrorKind::NoSpace);
            assert!(!error.is_temporary());
        }
    }

    #[test]
    fn a_share_whose_server_is_gone_is_worth_another_try_and_a_bad_medium_is_not() {
        for errno in [Errno::HOSTDOWN, Errno::HOSTUNREACH, Errno::AGAIN, Errno::CONNABORTED, Errno::TIMEDOUT]
        {
            assert!(Error::from_io("read", errno.into()).is_temporary(), "{errno:?}");
        }
        let medium = Error::from_io("read", Errno::IO.into());
        assert_eq!((medium.kind(), medium.is_temporary()), (ErrorKind::Damaged, false));
    }

    #[test]
    fn the_message_names_the_file() {
        let id = FileId::new([0xab; 32]);
        let error =
            Error::new(ErrorKind::NotFound, "read", "it does not exist").with_file(FileKind::Pack, &id);
        assert_eq!(error.to_string(), format!("Cannot read pack {id}: it does not exist"));
    }

    #[test]
    fn a_protected_file_says_until_when() {
        let until = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_800_000_000_250);
        let error = Error::protected(FileKind::Snapshot, &FileId::new([1; 32]), until);
        assert_eq!((error.kind(), error.protected_until()), (ErrorKind::Protected, Some(until)));
        assert!(error.to_string().ends_with(": it is protected until 2027-01-15T08:00:00Z"), "{error}");
        assert!(!error.is_temporary());
    }
}
