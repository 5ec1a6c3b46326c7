//! Azurite: a server of Azure Blob Storage in memory.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::task::JoinHandle;

use super::ServerProcess;
use super::process::run;
use crate::tls_files::TlsFiles;

/// A server with one storage account. Its key is for tests only.
#[derive(Debug)]
pub struct Azurite {
    process: ServerProcess,
    scheme: &'static str,
}

impl Azurite {
    /// The storage account.
    pub const ACCOUNT: &str = "owner";
    /// Its key, which stands for `owner-key`.
    pub const ACCOUNT_KEY: &str = "b3duZXIta2V5";

    /// Starts a server without containers.
    ///
    /// # Errors
    /// When Azurite is not installed or does not start.
    pub async fn start() -> io::Result<Self> {
        Self::start_with("http", None).await
    }

    /// The same behind TLS, with the server certificate of `files`.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_tls(files: &TlsFiles) -> io::Result<Self> {
        Self::start_with("https", Some(files)).await
    }

    async fn start_with(scheme: &'static str, tls: Option<&TlsFiles>) -> io::Result<Self> {
        let process = ServerProcess::start(|folder, port| {
            let mut command = Command::new("azurite-blob");
            command.env("AZURITE_ACCOUNTS", format!("{}:{}", Self::ACCOUNT, Self::ACCOUNT_KEY));
            command.args([
                "--silent",
                "--disableTelemetry",
                "--skipApiVersionCheck",
                "--inMemoryPersistence",
            ]);
            command.args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()]).current_dir(folder);
            if let Some(files) = tls {
                command.arg("--cert").arg(files.folder().join("server-cert.pem"));
                command.arg("--key").arg(files.folder().join("server-key.pem"));
            }
            Ok(command)
        });
        Ok(Self { process: process.await?, scheme })
    }

    /// Its address, with the account.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("{}://127.0.0.1:{}/{}", self.scheme, self.process.port(), Self::ACCOUNT)
    }

    /// Makes a container, by a client that is not ours.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn create_container(&self, name: &str) -> io::Result<()> {
        let account = Self::ACCOUNT;
        let mut date = Command::new("date");
        date.env("LC_ALL", "C").args(["--utc", "+%a, %d %b %Y %H:%M:%S GMT"]);
        let date = run(date).await?;
        let headers = format!("x-ms-date:{}\nx-ms-version:2023-11-03", date.trim());
        let text = format!("PUT{}{headers}\n/{account}/{account}/{name}\nrestype:container", "\n".repeat(12));
        let key = BASE64.decode(Self::ACCOUNT_KEY).map_err(io::Error::other)?;
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(io::Error::other)?;
        mac.update(text.as_bytes());
        let signature = BASE64.encode(mac.finalize().into_bytes());
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--fail-with-body", "--insecure", "--request", "PUT"]);
        for header in headers.lines() {
            command.args(["--header", header]);
        }
        command.args(["--header", &format!("authorization: SharedKey {account}:{signature}")]);
        command.args(["--data-binary", "", "--header", "content-type:"]);
        command.arg(format!("{}/{name}?restype=container", self.endpoint()));
        run(command).await.map(|_| ())
    }

    /// A proxy whose every tunnel leads to this server, whatever host was asked for: for clients that make up the
    /// host from the name of the account. Ends when it is dropped.
    ///
    /// # Errors
    /// When there is no port to be had.
    pub async fn proxy(&self) -> io::Result<ConnectProxy> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let (port, target) = (listener.local_addr()?.port(), self.process.port());
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // A client whose tunnel fails sees it.
                tokio::spawn(tunnel(client, target));
            }
        });
        Ok(ConnectProxy { port, task })
    }
}

/// An HTTP proxy that knows only `CONNECT`.
#[derive(Debug)]
pub struct ConnectProxy {
    port: u16,
    task: JoinHandle<()>,
}

impl ConnectProxy {
    /// For the variable `HTTPS_PROXY`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for ConnectProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn tunnel(client: TcpStream, port: u16) -> io::Result<()> {
    let mut client = BufReader::new(client);
    let mut line = String::new();
    // The head of the request, up to the empty line.
    while client.read_line(&mut line).await? > 2 {
        line.clear();
    }
    let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    copy_bidirectional(&mut client, &mut server).await.map(|_| ())
}
