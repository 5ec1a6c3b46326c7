//! Keeps repositories for somebody who is not to be trusted for ever.
//!
//! The server speaks restic's REST protocol over HTTP or TLS and keeps each repository in a folder. Whoever holds
//! the credential of a **writer** adds files and reads them, and can neither remove nor replace any. A **keeper** can
//! also remove, but not before the **guard** allows it, which has its own clock, its own configuration and its own
//! journal on this machine. So a Hub that was taken over cannot take its restore points with it.
//!
//! `docs/design/repository-server.md` describes the protocol, the journal and the threats.

mod answer;
mod clock;
mod config;
mod credentials;
mod guard;
mod hosted;
mod incoming;
mod listing;
mod outgoing;
mod patient_io;
mod routes;
mod server;
mod target;
mod tls;

pub use clock::{Clock, SystemClock};
pub use config::{Config, ConfigError, RepositoryConfig, TlsFiles};
pub use credentials::{Credential, CredentialsFile, Role, UnfitPassword};
pub use guard::GuardRules;
pub use server::{Log, RepositoryOptions, Server, ServerOptions};
pub use tls::{TlsError, fingerprint, tls_config};
