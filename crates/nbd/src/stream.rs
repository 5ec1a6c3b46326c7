//! The byte stream to a server.

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::options::Address;
use crate::{Error, Result};

/// Any stream that a connection can run on.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(crate) async fn open(address: &Address) -> Result<Box<dyn Stream>> {
    let opened = match address {
        Address::Unix(path) => {
            UnixStream::connect(path).await.map(|stream| Box::new(stream) as Box<dyn Stream>)
        }
        Address::Tcp { host, port } => match TcpStream::connect((host.as_str(), *port)).await {
            // Requests are small and urgent: they must not wait for each other.
            Ok(stream) => stream.set_nodelay(true).map(|()| Box::new(stream) as Box<dyn Stream>),
            Err(error) => Err(error),
        },
    };
    opened.map_err(|source| Error::Connect { address: address.to_string(), source })
}
