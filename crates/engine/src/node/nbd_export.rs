//! The disk of a snapshot behind a local NBD server.

use std::path::PathBuf;
use std::sync::Arc;

use sendense_disk::NbdSource;
use sendense_nbd::{Address, Client, ConnectOptions};
use tokio_util::sync::CancellationToken;

use super::capture::{CaptureOptions, CaptureReport, capture_disk};
use super::capture_counters::CaptureCounters;
use crate::{Error, Result};

/// An export that nobody writes to while it is read.
#[derive(Debug, Clone)]
pub struct NbdExport {
    /// The server's unix socket.
    pub socket_path: PathBuf,
    /// Empty for the server's default.
    pub export_name: String,
    /// Connections wanted.
    pub connections: usize,
}

impl NbdExport {
    /// Connections that hide the latency of a remote disk without using up a host's sessions.
    pub const CONNECTIONS: usize = 4;

    /// Connects and captures the disk, as [`capture_disk`] does.
    ///
    /// # Errors
    /// [`Error::SourceOpen`] if the export cannot be opened, and those of [`capture_disk`].
    pub async fn capture(
        &self,
        options: &CaptureOptions,
        counters: Arc<CaptureCounters>,
        cancel: &CancellationToken,
    ) -> Result<CaptureReport> {
        let client = Client::connect(self.connect_options(options));
        let client = cancel.run_until_cancelled(client).await.ok_or(Error::Cancelled)?;
        let source = Arc::new(NbdSource::new(client.map_err(Error::SourceOpen)?));
        let captured = capture_disk(Arc::clone(&source) as _, options, counters, cancel).await;
        // A server that is told goodbye writes no complaint to its log. Readers that are being cancelled may still
        // hold the source; then its connections end with them.
        if let Some(source) = Arc::into_inner(source) {
            source.into_client().close().await;
        }
        captured
    }

    fn connect_options(&self, options: &CaptureOptions) -> ConnectOptions {
        let defaults = ConnectOptions::new(Address::Unix(self.socket_path.clone()));
        ConnectOptions {
            export: self.export_name.clone(),
            connections: self.connections,
            force_multi_conn: true,
            request_bytes_max: options.chunk_bytes as usize,
            ..defaults
        }
    }
}
