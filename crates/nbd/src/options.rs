//! How to reach an export and how hard to use it.

use std::{fmt, path::PathBuf, time::Duration};

use crate::error::{Error, Result};

/// Smallest sensible budget: less cannot hold one request of any server.
pub(crate) const IN_FLIGHT_BYTES_MIN: usize = 64 << 10;

/// Everything [`crate::Client::connect`] needs. [`ConnectOptions::new`] has the defaults.
#[derive(Debug, Clone)]
pub struct ConnectOptions {
    /// Where the server listens.
    pub address: Address,
    /// Name of the export; empty for the server's default.
    pub export: String,
    /// `None` speaks plain NBD. `Some` never falls back to it.
    pub tls: Option<TlsOptions>,
    /// Connections wanted. More than one are opened only if the server announces `CAN_MULTI_CONN` or
    /// `force_multi_conn` is set; [`crate::Client::connections`] tells how many there are.
    pub connections: usize,
    /// The caller states that nobody writes to the export while it is read, so that several connections
    /// see the same bytes even though the server does not promise it (VDDK announces `false`).
    pub force_multi_conn: bool,
    /// Bytes of replies outstanding over all connections; requests beyond it wait.
    pub max_in_flight_bytes: usize,
    /// Longer reads are split. The server's own maximum wins if it is smaller.
    pub request_bytes_max: usize,
    /// Limit for connecting and negotiating one connection. Opening a remote disk belongs to it.
    pub connect_timeout: Duration,
    /// Limit from sending a request to the end of its reply. One late request ends its connection.
    pub request_timeout: Duration,
}

impl ConnectOptions {
    /// One plain connection to the default export, 32 MiB in flight, requests of at most 2 MiB,
    /// 60 s to connect, 120 s for a request.
    #[must_use]
    pub const fn new(address: Address) -> Self {
        Self {
            address,
            export: String::new(),
            tls: None,
            connections: 1,
            force_multi_conn: false,
            max_in_flight_bytes: 32 << 20,
            request_bytes_max: 2 << 20,
            connect_timeout: Duration::from_mins(1),
            request_timeout: Duration::from_mins(2),
        }
    }

    pub(crate) fn check(&self) -> Result<()> {
        let wrong = |reason: String| Err(Error::Options { reason });
        if self.connections == 0 {
            return wrong("at least one connection is needed".into());
        }
        if self.max_in_flight_bytes < IN_FLIGHT_BYTES_MIN || u32::try_from(self.max_in_flight_bytes).is_err()
        {
            return wrong(format!(
                "{} bytes in flight are not between {IN_FLIGHT_BYTES_MIN} and 4 GiB",
                self.max_in_flight_bytes
            ));
        }
        if self.request_bytes_max == 0 {
            return wrong("requests need a length".into());
        }
        if self.export.len() > crate::protocol::STRING_BYTES_MAX {
            return wrong(format!("an export name of {} bytes is too long", self.export.len()));
        }
        Ok(())
    }
}

/// Where an NBD server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A unix socket.
    Unix(PathBuf),
    /// A TCP port. IPv6 addresses are written without brackets.
    Tcp {
        /// Host name or address.
        host: String,
        /// Usually 10809.
        port: u16,
    },
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

/// TLS by `NBD_OPT_STARTTLS`. A server that refuses it is an error, never a fallback to clear text.
#[derive(Debug, Clone)]
pub struct TlsOptions {
    /// What makes the server's certificate good.
    pub trust: Trust,
    /// Name that the certificate must carry; `None` takes the host of the address. Needed for unix
    /// sockets unless the certificate is pinned.
    pub server_name: Option<String>,
    /// What this client shows to a server that asks for a certificate.
    pub identity: Option<ClientIdentity>,
}

/// What makes a server's certificate good.
#[derive(Debug, Clone)]
pub enum Trust {
    /// It chains to a certificate in this PEM file and carries the right name.
    CaFile(PathBuf),
    /// The SHA-256 of the end-entity certificate in DER form is this one. Name and dates do not matter.
    PinnedSha256([u8; 32]),
}

/// Certificate chain and private key of the client, as PEM files.
#[derive(Debug, Clone)]
pub struct ClientIdentity {
    /// The chain, end-entity first.
    pub certificate_file: PathBuf,
    /// The key (PKCS #8, PKCS #1 or SEC1).
    pub key_file: PathBuf,
}
