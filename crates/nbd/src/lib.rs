//! Network Block Device: a codec without I/O, and an asynchronous client that reads disks through it.
//!
//! [`protocol`] turns bytes into messages and back; it knows no socket and never panics on what a server sends.
//! [`Client`] is one export over several connections, with many requests in flight, bounded by bytes.
//!
//! The client does not reconnect: a read that fails because its server went away says so
//! ([`Error::is_temporary`]), and whoever owns the server decides whether to start it again.
//!
//! Protocol facts are from the NBD project's `doc/proto.md`; sections are named where they are used.

mod client;
mod connection;
mod error;
mod handshake;
mod options;
mod pending;
pub mod protocol;
mod read_buffer;
mod stream;
mod tls;

pub use client::{Client, Extent};
pub use error::{Error, Result};
pub use handshake::ExportInfo;
pub use options::{Address, ClientIdentity, ConnectOptions, TlsOptions, Trust};
