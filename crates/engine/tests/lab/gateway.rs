//! What stands before a Hub that is away, and says so in its place.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sendense_engine::CertificatePin;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

const ANSWER: &[u8] =
    b"HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\ncontent-length: 11\r\n\r\nBad Gateway";

/// Answers 502 to everything, for as long as the test runs.
pub(crate) struct Gateway {
    pub(crate) port: u16,
    pub(crate) certificate: CertificatePin,
}

pub(crate) async fn start() -> Gateway {
    let (certificate_pem, key_pem) = super::certificate();
    let certificate = CertificateDer::from_pem_slice(certificate_pem.as_bytes()).unwrap();
    let pin = CertificatePin::of(&certificate);
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(answer(acceptor.clone(), stream));
        }
    });
    Gateway { port, certificate: pin }
}

/// One answer, and the end: a request of a test arrives in one piece or two.
async fn answer(acceptor: TlsAcceptor, stream: TcpStream) {
    let mut stream = acceptor.accept(stream).await.unwrap();
    let mut buffer = [0; 16 << 10];
    if stream.read(&mut buffer).await.is_ok() {
        // The Node may have gone meanwhile.
        let _ = stream.write_all(ANSWER).await;
        let _ = stream.shutdown().await;
    }
}
