//! From an address to the transmission phase: connect, negotiate, secure.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::error::{Error, Result};
use crate::options::{Address, ConnectOptions};
use crate::protocol::{ExportInfo, Negotiation, Step};
use crate::tls::TlsSetup;

/// A connection that is ready for requests.
pub(crate) struct Dialed {
    pub(crate) stream: Box<dyn Stream>,
    pub(crate) info: ExportInfo,
}

/// Any stream that a connection can run on.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Opens one connection within `connect_timeout`.
pub(crate) async fn dial(options: &ConnectOptions, tls: Option<&TlsSetup>) -> Result<Dialed> {
    let limit = options.connect_timeout;
    let dialing = async {
        let stream = open(&options.address).await?;
        negotiate(stream, &options.export, tls).await
    };
    match timeout(limit, dialing).await {
        Ok(result) => result,
        Err(_) => Err(Error::ConnectTimeout { address: options.address.to_string(), limit }),
    }
}

async fn open(address: &Address) -> Result<Box<dyn Stream>> {
    let opened: std::io::Result<Box<dyn Stream>> = async {
        match address {
            Address::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?) as Box<dyn Stream>),
            Address::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                // Requests are small and urgent: they must not wait for each other.
                stream.set_nodelay(true)?;
                Ok(Box::new(stream) as Box<dyn Stream>)
            }
        }
    }
    .await;
    opened.map_err(|source| Error::Connect { address: address.to_string(), source: source.into() })
}

async fn negotiate(mut stream: Box<dyn Stream>, export: &str, tls: Option<&TlsSetup>) -> Result<Dialed> {
    let mut negotiation = Negotiation::new(export, tls.is_some());
    let mut step = negotiation.start();
    loop {
        step = match (step, tls) {
            (Step::Exchange { send, receive }, _) => {
                stream.write_all(&send).await.map_err(Error::lost)?;
                stream.flush().await.map_err(Error::lost)?;
                let mut received = vec![0; receive];
                stream.read_exact(&mut received).await.map_err(Error::lost)?;
                negotiation.advance(&received)?
            }
            (Step::StartTls, Some(tls)) => {
                stream = tls.secure(stream).await?;
                negotiation.tls_ready()
            }
            (Step::StartTls, None) => return Err(Error::TlsRequired),
            (Step::Ready(info), _) => return Ok(Dialed { stream, info }),
        };
    }
}
