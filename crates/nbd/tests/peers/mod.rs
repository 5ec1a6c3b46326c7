//! What the tests talk to: options for real servers, the bytes they serve, and a server that lies on purpose.
#![allow(dead_code, unreachable_pub, reason = "Each test file uses a part of it.")]

use std::future::Future;
use std::path::PathBuf;

use sendense_nbd::{Address, Client, ConnectOptions, Error};
use sendense_testkit::nbd_server::NbdServer;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

pub const MIB: usize = 1 << 20;

pub fn options(server: &NbdServer) -> ConnectOptions {
    ConnectOptions::new(match server.port() {
        Some(port) => Address::Tcp { host: "127.0.0.1".into(), port },
        None => Address::Unix(server.socket()),
    })
}

pub async fn connect(server: &NbdServer) -> Client {
    Client::connect(options(server)).await.unwrap()
}

/// The error with which a client cannot be made.
pub async fn refusal(options: ConnectOptions) -> Error {
    Client::connect(options).await.map(|_| ()).unwrap_err()
}

/// The bytes of nbdkit's pattern plugin: each 8 bytes are their own offset.
pub fn pattern(offset: u64, length: usize) -> Vec<u8> {
    let first = offset / 8;
    let words = (first..first + length as u64 / 8 + 2).flat_map(|word| (word * 8).to_be_bytes());
    words.skip((offset % 8) as usize).take(length).collect()
}

/// A server on a unix socket that says what a test wants. Every client gets its own run of the story.
pub struct Liar {
    folder: TempDir,
    task: JoinHandle<()>,
}

impl Liar {
    /// The story gets the stream after accept; when it returns the stream is closed.
    pub fn telling<F: Future<Output = ()> + Send + 'static>(
        story: impl Fn(UnixStream) -> F + Send + 'static,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("nbd.sock")).unwrap();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(story(stream));
            }
        });
        Self { folder, task }
    }

    /// A server that negotiates properly an export of 1 MiB and then answers each request with the bytes that
    /// `answer` makes of it; `None` closes the connection.
    pub fn answering(answer: impl Fn(Asked) -> Option<Vec<u8>> + Clone + Send + Sync + 'static) -> Self {
        Self::telling(move |mut stream| {
            let answer = answer.clone();
            async move {
                negotiate(&mut stream, Export::default()).await;
                while let Some(asked) = next_request(&mut stream).await {
                    match answer(asked) {
                        Some(bytes) => stream.write_all(&bytes).await.unwrap_or(()),
                        None => return,
                    }
                }
            }
        })
    }

    pub fn options(&self) -> ConnectOptions {
        ConnectOptions::new(Address::Unix(self.socket()))
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("nbd.sock")
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How a [`Liar`] describes its export.
#[derive(Clone, Copy)]
pub struct Export {
    pub size_bytes: u64,
    pub has_structured_replies: bool,
    /// Payload of `NBD_INFO_BLOCK_SIZE`.
    pub block_sizes: [u32; 3],
}

impl Default for Export {
    fn default() -> Self {
        Self { size_bytes: 1 << 20, has_structured_replies: true, block_sizes: [1, 4096, 1 << 25] }
    }
}

pub const GREETING: [u8; 18] = *b"NBDMAGICIHAVEOPT\0\x03";

/// An option reply as it goes over the wire.
pub fn option_reply(option: u32, kind: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = 0x0003_e889_0455_65a9_u64.to_be_bytes().to_vec();
    bytes.extend(option.to_be_bytes());
    bytes.extend(kind.to_be_bytes());
    bytes.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The server's side of the handshake, up to the transmission phase.
pub async fn negotiate(stream: &mut UnixStream, export: Export) {
    stream.write_all(&GREETING).await.unwrap();
    stream.read_u32().await.unwrap();
    loop {
        let Ok(_magic) = stream.read_u64().await else { return };
        let option = stream.read_u32().await.unwrap();
        let length = stream.read_u32().await.unwrap();
        let mut data = vec![0; length as usize];
        stream.read_exact(&mut data).await.unwrap();
        let answer = match option {
            8 if export.has_structured_replies => option_reply(8, 1, &[]),
            10 => [option_reply(10, 4, b"\0\0\0\x2abase:allocation"), option_reply(10, 1, &[])].concat(),
            7 => go_reply(export),
            other => option_reply(other, 0x8000_0001, &[]),
        };
        stream.write_all(&answer).await.unwrap();
        if option == 7 {
            return;
        }
    }
}

fn go_reply(export: Export) -> Vec<u8> {
    let mut size = vec![0, 0];
    size.extend(export.size_bytes.to_be_bytes());
    size.extend(0x0003_u16.to_be_bytes());
    let mut blocks = vec![0, 3];
    blocks.extend(export.block_sizes.iter().flat_map(|size| size.to_be_bytes()));
    [option_reply(7, 3, &size), option_reply(7, 3, &blocks), option_reply(7, 1, &[])].concat()
}

/// A request as the server sees it.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    pub command: u16,
    pub cookie: u64,
    pub offset: u64,
    pub length: u32,
}

pub async fn next_request(stream: &mut UnixStream) -> Option<Asked> {
    assert_eq!(stream.read_u32().await.ok()?, 0x2560_9513, "a request has its magic number");
    stream.read_u16().await.ok()?;
    Some(Asked {
        command: stream.read_u16().await.ok()?,
        cookie: stream.read_u64().await.ok()?,
        offset: stream.read_u64().await.ok()?,
        length: stream.read_u32().await.ok()?,
    })
}

/// A chunk of a structured reply.
pub fn chunk(is_last: bool, kind: u16, cookie: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = 0x668e_33ef_u32.to_be_bytes().to_vec();
    bytes.extend(u16::from(is_last).to_be_bytes());
    bytes.extend(kind.to_be_bytes());
    bytes.extend(cookie.to_be_bytes());
    bytes.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A chunk with data.
pub fn data(is_last: bool, cookie: u64, offset: u64, bytes: &[u8]) -> Vec<u8> {
    chunk(is_last, 1, cookie, &[&offset.to_be_bytes()[..], bytes].concat())
}

/// A chunk that describes zeroes.
pub fn hole(is_last: bool, cookie: u64, offset: u64, length: u32) -> Vec<u8> {
    chunk(is_last, 2, cookie, &[&offset.to_be_bytes()[..], &length.to_be_bytes()].concat())
}

/// A simple reply.
pub fn simple(error: u32, cookie: u64, bytes: &[u8]) -> Vec<u8> {
    let mut reply = 0x6744_6698_u32.to_be_bytes().to_vec();
    reply.extend(error.to_be_bytes());
    reply.extend(cookie.to_be_bytes());
    reply.extend(bytes);
    reply
}
