//! What can go wrong with a connection to an NBD server.
//!
//! Rules: the codec answers with [`Violation`] (the bytes are wrong), the server's own refusals are
//! [`Error::Refused`] and [`Error::Server`], everything else names the step that failed. `Display` never
//! repeats the source. Errors can be cloned because one dead connection fails every request that waits.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use crate::protocol::{Errno, Refusal, Violation};

/// Shorthand for results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every error of this crate.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The options contradict themselves; nothing was sent.
    #[error("The options of the NBD client are wrong: {reason}")]
    Options {
        /// What is wrong with them.
        reason: String,
    },
    /// No connection could be opened.
    #[error("Could not connect to the NBD server at {address}")]
    Connect {
        /// The address as text.
        address: String,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// Connecting and negotiating together took longer than `connect_timeout`.
    #[error("The NBD server at {address} did not finish the handshake within {limit:?}")]
    ConnectTimeout {
        /// The address as text.
        address: String,
        /// The limit that was exceeded.
        limit: Duration,
    },
    /// A certificate or key file cannot be used.
    #[error("The TLS file {} cannot be used: {reason}", path.display())]
    TlsFile {
        /// The file.
        path: PathBuf,
        /// Why; never contains key material.
        reason: String,
    },
    /// The TLS handshake failed, for example because the certificate is not trusted.
    #[error("The TLS handshake with the NBD server failed")]
    Tls {
        /// What the TLS layer said.
        source: Arc<io::Error>,
    },
    /// The server speaks only TLS and no [`crate::TlsOptions`] were given.
    #[error("The NBD server requires TLS and none is configured")]
    TlsRequired,
    /// The server refused an option of the handshake.
    #[error("The NBD server refused {option}: {refusal}{}", said(message))]
    Refused {
        /// The option by its name in the protocol document.
        option: &'static str,
        /// The server's reason.
        refusal: Refusal,
        /// The server's words, possibly empty.
        message: String,
    },
    /// The server sent bytes that the protocol does not allow. The connection is dead.
    #[error(transparent)]
    Protocol(#[from] Violation),
    /// Two connections to the same export described it differently.
    #[error("The NBD server describes the export differently on another connection")]
    ConnectionsDiffer,
    /// The server answered a request with an error. The connection stays usable.
    #[error("The NBD server failed to {command} {length} bytes at offset {offset}: {errno}{}", said(message))]
    Server {
        /// What was asked for, as a verb.
        command: &'static str,
        /// The server's error number.
        errno: Errno,
        /// Where it failed: the exact offset where the server named one, else the start of the request.
        offset: u64,
        /// Length of the request in bytes.
        length: u64,
        /// The server's words, possibly empty.
        message: String,
    },
    /// A range that is not within the export; nothing was sent.
    #[error("{length} bytes at offset {offset} are not within an export of {size_bytes} bytes")]
    OutOfRange {
        /// First byte asked for.
        offset: u64,
        /// Number of bytes asked for.
        length: u64,
        /// Size of the export.
        size_bytes: u64,
    },
    /// The server offers no `base:allocation` context; see [`crate::ExportInfo::has_block_status`].
    #[error("The NBD server does not report the block status of this export")]
    NoBlockStatus,
    /// A request had no complete reply within `request_timeout`. The connection is dead.
    #[error("The NBD server did not answer a request within {limit:?}")]
    RequestTimeout {
        /// The limit that was exceeded.
        limit: Duration,
    },
    /// The peer went away. Every request that waited gets this error.
    #[error("The connection to the NBD server was lost")]
    Disconnected {
        /// What the operating system said; `None` when the server closed the connection.
        source: Option<Arc<io::Error>>,
    },
    /// The client was closed by its owner.
    #[error("The NBD client is closed")]
    Closed,
}

impl Error {
    /// Whether the same request may succeed on a **new** connection.
    ///
    /// `EIO` counts as temporary: behind a network disk it is as often a lost session as a bad block.
    /// Whoever retries bounds the number of attempts.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Connect { source, .. } | Self::Tls { source } => is_passing(source.kind()),
            Self::ConnectTimeout { .. } | Self::RequestTimeout { .. } | Self::Disconnected { .. } => true,
            Self::Refused { refusal, .. } => *refusal == Refusal::ShuttingDown,
            Self::Server { errno, .. } => errno.is_temporary(),
            Self::Options { .. }
            | Self::TlsFile { .. }
            | Self::TlsRequired
            | Self::Protocol(_)
            | Self::ConnectionsDiffer
            | Self::OutOfRange { .. }
            | Self::NoBlockStatus
            | Self::Closed => false,
        }
    }

    /// The server closed the connection without a word.
    pub(crate) const fn hung_up() -> Self {
        Self::Disconnected { source: None }
    }

    /// Once a connection is open, every failure of its stream is its end; so is an end amid a message.
    pub(crate) fn lost(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::hung_up(),
            _ => Self::Disconnected { source: Some(Arc::new(error)) },
        }
    }
}

/// Failures of connecting that a restart of the server or the network can mend. A socket file that is not
/// there belongs to them: a server makes it when it starts.
const fn is_passing(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        kind,
        Kind::NotFound
            | Kind::ConnectionRefused
            | Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::BrokenPipe
            | Kind::NotConnected
            | Kind::TimedOut
            | Kind::Interrupted
            | Kind::UnexpectedEof
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
    )
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(" (\"{message}\")") }
}
