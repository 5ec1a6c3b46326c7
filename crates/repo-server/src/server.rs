//! The listener.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::answer::date;
use crate::clock::{Clock, SystemClock};
use crate::credentials::{CredentialsFile, Doorkeeper};
use crate::guard::GuardRules;
use crate::hosted::Hosted;
use crate::patient_io::PatientIo;
use crate::routes;

const CONNECTIONS_MAX: usize = 512;
const UPLOADS_MAX: usize = 128;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Also how long a connection may rest between two requests.
const HEAD_TIMEOUT: Duration = Duration::from_mins(1);
const WRITE_TIMEOUT: Duration = Duration::from_mins(1);
/// How long requests may go on after the server was told to stop.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// A pause after the system refused to accept, most likely for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Takes a line for the log. No line holds a secret.
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;

/// One repository to keep.
#[derive(Clone, Debug)]
pub struct RepositoryOptions {
    /// Its folder, which must exist.
    pub folder: PathBuf,
    /// What the guard goes by.
    pub rules: GuardRules,
    /// Whether the name of a file must be the SHA-256 of its content. Anything but a test of names wants that.
    pub checks_names: bool,
}

/// What a server is made of.
pub struct ServerOptions {
    /// Address and port; port 0 takes any free one.
    pub listen: SocketAddr,
    /// `None` for plain HTTP.
    pub tls: Option<ServerConfig>,
    /// Who may come in.
    pub credentials: CredentialsFile,
    /// The repositories, by name.
    pub repositories: BTreeMap<String, RepositoryOptions>,
    /// Where the guards have the time from.
    pub clock: Arc<dyn Clock>,
    /// Where the log goes.
    pub log: Log,
}

impl ServerOptions {
    /// A server without repositories, with the clock of this machine.
    #[must_use]
    pub fn new(listen: SocketAddr, credentials: CredentialsFile, log: Log) -> Self {
        let clock = Arc::new(SystemClock::default());
        Self { listen, tls: None, credentials, repositories: BTreeMap::new(), clock, log }
    }
}

/// A server that is running. Dropping it stops it at once.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    connections: TaskTracker,
}

/// What connections share.
pub(crate) struct Shared {
    pub(crate) doorkeeper: Doorkeeper,
    pub(crate) repositories: BTreeMap<String, Arc<Hosted>>,
    pub(crate) uploads: Semaphore,
    log: Log,
    /// No new requests.
    stopping: CancellationToken,
    /// No connections.
    stopped: CancellationToken,
}

impl Shared {
    pub(crate) fn log(&self, line: &str) {
        (self.log)(line);
    }
}

impl Server {
    /// Opens all repositories and starts to listen.
    ///
    /// # Errors
    /// When a folder is missing or kept by another server, or the address cannot be bound.
    pub async fn start(options: ServerOptions) -> std::io::Result<Self> {
        let mut repositories = BTreeMap::new();
        for (name, repository) in options.repositories {
            let RepositoryOptions { folder, rules, checks_names } = repository;
            let opened = Hosted::open(&folder, rules, Arc::clone(&options.clock), checks_names).await;
            let (hosted, start) = opened.map_err(|error| {
                std::io::Error::new(
                    error.kind(),
                    format!("Cannot keep {name} in {}: {error}", folder.display()),
                )
            })?;
            if let Some(until) = start.everything_until {
                let damaged = start.damaged_records;
                let why =
                    if damaged > 0 { format!("{damaged} damaged records") } else { "no journal".into() };
                (options.log)(&format!("{name}: {why}: everything is protected until {}", date(until)));
            }
            repositories.insert(name, Arc::new(hosted));
        }
        let listener = TcpListener::bind(options.listen).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            doorkeeper: Doorkeeper::new(options.credentials),
            repositories,
            uploads: Semaphore::new(UPLOADS_MAX),
            log: options.log,
            stopping: CancellationToken::new(),
            stopped: CancellationToken::new(),
        });
        let connections = TaskTracker::new();
        let acceptor = options.tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        connections.spawn(accept_all(listener, acceptor, Arc::clone(&shared), connections.clone()));
        Ok(Self { address, shared, connections })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more requests, finishes those that are under way, for a moment, and returns when all is closed.
    pub async fn stop(&self) {
        self.shared.stopping.cancel();
        self.connections.close();
        if timeout(STOP_TIMEOUT, self.connections.wait()).await.is_err() {
            self.shared.stopped.cancel();
            self.connections.wait().await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopping.cancel();
        self.shared.stopped.cancel();
    }
}

async fn accept_all(
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    connections: TaskTracker,
) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let accept = async {
        while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let connection = serve(stream, peer, acceptor.clone(), Arc::clone(&shared), slot);
                    connections.spawn(shared.stopped.clone().run_until_cancelled_owned(connection));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            }
        }
    };
    shared.stopping.run_until_cancelled(accept).await;
}

async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    _slot: OwnedSemaphorePermit,
) {
    let _a_hint_only = stream.set_nodelay(true);
    let stream = PatientIo::new(stream, WRITE_TIMEOUT);
    match acceptor {
        None => serve_http(stream, peer, shared).await,
        Some(acceptor) => {
            if let Ok(Ok(stream)) = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                serve_http(stream, peer, shared).await;
            }
        }
    }
}

/// Serves one connection. How it ends is of interest to the peer only, who knows.
async fn serve_http(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    peer: SocketAddr,
    shared: Arc<Shared>,
) {
    let stopping = shared.stopping.clone();
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, std::convert::Infallible>(routes::answer(&shared, &peer.to_string(), request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        _ended = connection.as_mut() => return,
        () = stopping.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ended = connection.await;
}
