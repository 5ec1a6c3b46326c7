//! What went wrong below an operation, until the operation gives it its name.

use sendense_storage::{Error, ErrorKind};

/// An error that does not know yet what it was an error of.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) kind: ErrorKind,
    message: String,
}

pub(crate) type Outcome<T> = Result<T, Failure>;

const WORDS_MAX: usize = 300;

impl Failure {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// The server says something that the protocol does not have there.
    pub(crate) fn not_understood() -> Self {
        Self::new(ErrorKind::Other, "the answer of the server is not understood")
    }

    /// A status that is not success.
    pub(crate) fn of_status(code: u32, words: &[u8]) -> Self {
        let (kind, message) = match code {
            2 => (ErrorKind::NotFound, "it does not exist"),
            3 => (ErrorKind::PermissionDenied, "the server refuses it"),
            6 | 7 => (ErrorKind::Unreachable, "the server has lost its connection"),
            8 => (ErrorKind::Other, "the server cannot do this"),
            _ => return Self::new(ErrorKind::Other, format!("the server answered: {}", excerpt(words))),
        };
        Self::new(kind, message)
    }

    pub(crate) fn into_error(self, operation: &'static str) -> Error {
        Error::new(self.kind, operation, self.message)
    }
}

/// What somebody else said, on one line and not too long.
pub(crate) fn excerpt(words: &[u8]) -> String {
    let text = String::from_utf8_lossy(words);
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let line = lines.join("; ").replace(|letter: char| letter.is_control(), " ");
    line.chars().take(WORDS_MAX).collect()
}
