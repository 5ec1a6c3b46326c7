//! A Node that says whatever a test wants, byte by byte.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use sendense_engine::wire::{ChunksHeader, Codec, FrameHeader, Offer, Open, disk_path};
use sendense_engine::{CaptureSession, CertificatePin, ChunkId, DataPlane};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// An answer: status and body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The code of a problem; empty if it is none.
    pub(crate) fn code(&self) -> String {
        let problem = serde_json::from_slice::<serde_json::Value>(&self.body).unwrap_or_default();
        problem["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// Talks to the session `job-7`, disk `2000`, unless told otherwise.
pub(crate) struct RawNode {
    port: u16,
    certificate: CertificatePin,
    pub(crate) ticket: String,
}

impl RawNode {
    pub(crate) fn of(hub: &DataPlane, session: &CaptureSession) -> Self {
        Self { port: hub.port(), certificate: hub.certificate(), ticket: session.ticket().to_owned() }
    }

    pub(crate) async fn open(&self, open: &Open) -> Answer {
        self.post("open", &serde_json::to_vec(open).unwrap()).await
    }

    pub(crate) async fn offer(&self, offer: &Offer) -> Answer {
        self.post("offer", &offer.encode()).await
    }

    pub(crate) async fn post(&self, operation: &str, body: &[u8]) -> Answer {
        self.post_to(&disk_path("job-7", "2000", operation), body).await
    }

    pub(crate) async fn post_to(&self, path: &str, body: &[u8]) -> Answer {
        let mut stream = self.begin(path, body.len()).await;
        // A Hub that refuses may close before it has read everything.
        let _sent = stream.write_all(body).await;
        read_answer(stream).await
    }

    /// Sends the head of a request that announces `length` bytes.
    pub(crate) async fn begin(&self, path: &str, length: usize) -> TlsStream<TcpStream> {
        let mut stream = connect(self.port, self.certificate).await;
        let ticket = &self.ticket;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: hub\r\nauthorization: Bearer {ticket}\r\ncontent-length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }
}

/// Reads one answer; the Hub says its length.
pub(crate) async fn read_answer(mut stream: TlsStream<TcpStream>) -> Answer {
    let mut text = Vec::new();
    loop {
        let split = text.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(split) = split {
            let head = String::from_utf8(text[..split].to_vec()).unwrap().to_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.expect("a length").parse().unwrap();
            if text.len() >= split + 4 + length {
                let status = head.split(' ').nth(1).unwrap().parse().unwrap();
                return Answer { status, body: text[split + 4..split + 4 + length].to_vec() };
            }
        }
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return Answer { status: 0, body: text },
            Ok(read) => text.extend_from_slice(&buffer[..read]),
        }
    }
}

/// A `chunks` body of these frames.
pub(crate) fn chunks_body(attempt: u32, frames: &[(FrameHeader, &[u8])]) -> Vec<u8> {
    let mut body = ChunksHeader { attempt, frames: u32::try_from(frames.len()).unwrap() }.encode().to_vec();
    for (header, payload) in frames {
        body.extend_from_slice(&header.encode());
        body.extend_from_slice(payload);
    }
    body
}

/// The frame of a chunk that is sent as it is.
pub(crate) fn raw_frame(plain: &[u8]) -> FrameHeader {
    let length = u32::try_from(plain.len()).unwrap();
    FrameHeader { id: ChunkId::of(plain), plain_bytes: length, stored_bytes: length, codec: Codec::Raw }
}

async fn connect(port: u16, certificate: CertificatePin) -> TlsStream<TcpStream> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(certificate.verifier(provider))
        .with_no_client_auth();
    let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let name = ServerName::try_from("hub.example").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await.unwrap()
}
