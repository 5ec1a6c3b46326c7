//! The one error of this crate.

use std::io;

/// What the client can fail with.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why an operation failed. The words never repeat the source.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server could not be reached.
    #[error("the NBD server at {address} cannot be reached")]
    Connect {
        /// Where it should have been.
        address: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The server refused what was asked for during the handshake.
    #[error("the NBD server refused {option}: {reason}")]
    Refused {
        /// The option of the handshake.
        option: &'static str,
        /// The server's words, or the name of its error.
        reason: String,
    },
    /// The connection could not be secured.
    #[error("the TLS connection to the NBD server failed: {0}")]
    Tls(String),
    /// The server broke the protocol. The connection is not used any more.
    #[error("the NBD server broke the protocol: {0}")]
    Protocol(String),
    /// The connection ended with requests in flight.
    #[error("the connection to the NBD server ended: {0}")]
    Disconnected(String),
    /// No answer came in time. The connection is not used any more.
    #[error("the NBD server did not answer within {seconds} s")]
    Timeout {
        /// How long was waited.
        seconds: u64,
    },
    /// The server could not read there.
    #[error("the NBD server cannot read {length} bytes at {offset}: {name}")]
    Read {
        /// First byte of the request.
        offset: u64,
        /// Bytes of the request.
        length: u64,
        /// Name of the server's error, such as `EIO`.
        name: &'static str,
    },
    /// The range is not within the export.
    #[error("{length} bytes at {offset} are not in an export of {size_bytes} bytes")]
    OutOfRange {
        /// First byte of the request.
        offset: u64,
        /// Bytes of the request.
        length: u64,
        /// Bytes of the export.
        size_bytes: u64,
    },
    /// The options make no sense.
    #[error("the options of the NBD client are wrong: {reason}")]
    Options {
        /// What is wrong with them.
        reason: String,
    },
}

impl Error {
    /// Whether the same operation may succeed on a new connection, with nobody changing anything.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Disconnected(_) | Self::Timeout { .. } => true,
            Self::Read { name, .. } => *name == "ESHUTDOWN",
            Self::Refused { .. }
            | Self::Tls(_)
            | Self::Protocol(_)
            | Self::OutOfRange { .. }
            | Self::Options { .. } => false,
        }
    }
}

impl From<crate::protocol::Malformed> for Error {
    fn from(malformed: crate::protocol::Malformed) -> Self {
        Self::Protocol(malformed.0)
    }
}

/// Once a connection is open, every failure of its stream is its end.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Disconnected(error.to_string())
    }
}
