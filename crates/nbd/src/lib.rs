//! Network Block Device: a codec without I/O, and an asynchronous client that reads disks through it.
//!
//! ```no_run
//! # async fn example() -> Result<(), sendense_nbd::Error> {
//! use sendense_nbd::{Address, Client, ConnectOptions};
//!
//! let client = Client::connect(ConnectOptions::new(Address::Unix("/run/disk.sock".into()))).await?;
//! let first_mebibyte = client.read(0, 1 << 20).await?;
//! let map = client.block_status(0, client.size_bytes()).await?;
//! client.close().await;
//! # drop((first_mebibyte, map));
//! # Ok(())
//! # }
//! ```
//!
//! [`protocol`] turns bytes into messages and back; it knows no socket and never panics on what a server
//! sends. [`Client`] is one export over several connections, with many requests in flight, bounded by bytes.
//!
//! The client does not reconnect: whoever owns the server knows whether what answers at the address is still
//! the same disk. [`Error::is_temporary`] says when a new client is worth a try.
//!
//! Protocol facts are from the NBD project's `doc/proto.md`; its sections are named where they are used.

mod aligned_range;
mod client;
mod connection;
mod dial;
mod error;
mod options;
pub mod protocol;
mod receive;
mod request_table;
mod tls;

pub use client::Client;
pub use error::{Error, Result};
pub use options::{Address, ClientIdentity, ConnectOptions, TlsOptions, Trust};
pub use protocol::{BlockSizes, Errno, ExportInfo, Extent, Refusal, Violation};

#[cfg(any(test, fuzzing))]
pub mod fuzzing;
