//! The Hub's listener.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use sendense_tls_pin::CertificatePin;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::chunk_check::ChunkCheck;
use super::routes;
use super::sessions::Sessions;
use crate::tls;
use crate::{Error, Result};

const CONNECTIONS_MAX: usize = 512;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const FRAME_MEMORY_BYTES_MAX: usize = 64 << 20;
/// A pause after the system refused to accept, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where to listen, and as whom.
pub struct ListenOptions {
    /// Address to bind.
    pub host: IpAddr,
    /// 0 for any free port.
    pub port: u16,
    /// Certificate chain, end entity first.
    pub certificate_pem: String,
    /// The key of the first certificate.
    pub private_key_pem: zeroize::Zeroizing<String>,
}

/// A running listener. Sessions of any number of repositories register with it.
pub struct DataPlane {
    address: SocketAddr,
    certificate: CertificatePin,
    shared: Arc<Shared>,
    connections: TaskTracker,
}

/// What connections share.
pub(super) struct Shared {
    pub(super) sessions: Arc<Sessions>,
    pub(super) chunk_check: ChunkCheck,
    /// Bytes of frames that may be in memory while they are received and checked.
    pub(super) frame_memory: Semaphore,
    pub(super) closing: CancellationToken,
}

impl DataPlane {
    /// Starts to listen.
    ///
    /// # Errors
    /// [`Error::Request`] if the address cannot be bound or the certificate cannot be used.
    pub async fn listen(options: ListenOptions) -> Result<Self> {
        let (config, certificate) = tls::server_config(&options.certificate_pem, &options.private_key_pem)?;
        let refuse =
            |error| Error::Request(format!("Cannot listen on {}:{}: {error}", options.host, options.port));
        let listener = TcpListener::bind((options.host, options.port)).await.map_err(refuse)?;
        let address = listener.local_addr().map_err(refuse)?;
        let shared = Arc::new(Shared {
            sessions: Arc::default(),
            chunk_check: ChunkCheck::new(),
            frame_memory: Semaphore::new(FRAME_MEMORY_BYTES_MAX),
            closing: CancellationToken::new(),
        });
        let connections = TaskTracker::new();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        connections.spawn(accept_all(listener, acceptor, Arc::clone(&shared), connections.clone()));
        Ok(Self { address, certificate, shared, connections })
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What Nodes pin.
    #[must_use]
    pub fn certificate(&self) -> CertificatePin {
        self.certificate
    }

    /// Stops listening and drops all connections; returns when none is left. Sessions stay as they are.
    pub async fn close(&self) {
        self.shared.closing.cancel();
        self.connections.close();
        self.connections.wait().await;
    }

    pub(super) fn sessions(&self) -> &Arc<Sessions> {
        &self.shared.sessions
    }
}

impl Drop for DataPlane {
    fn drop(&mut self) {
        self.shared.closing.cancel();
    }
}

async fn accept_all(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    shared: Arc<Shared>,
    connections: TaskTracker,
) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let accept = async {
        while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _)) => {
                    connections.spawn(serve_until_closed(
                        stream,
                        acceptor.clone(),
                        Arc::clone(&shared),
                        slot,
                    ));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    };
    shared.closing.run_until_cancelled(accept).await;
}

async fn serve_until_closed(
    stream: TcpStream,
    acceptor: TlsAcceptor,
    shared: Arc<Shared>,
    _slot: OwnedSemaphorePermit,
) {
    let closing = shared.closing.clone();
    closing.run_until_cancelled(serve(stream, acceptor, shared)).await;
}

/// Serves one connection. How it ends is of interest to the peer only, who knows.
async fn serve(stream: TcpStream, acceptor: TlsAcceptor, shared: Arc<Shared>) {
    let _a_hint_only = stream.set_nodelay(true);
    let Ok(Ok(stream)) = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await else { return };
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, std::convert::Infallible>(routes::answer(&shared, request).await) }
    });
    let _ended = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
