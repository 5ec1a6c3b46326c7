//! Real NBD servers as child processes: nbdkit and qemu-nbd, on private unix sockets or free ports.

use std::ffi::OsStr;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// How long a server may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(10);

/// How often a port that someone else was faster to take is replaced by another one.
const PORT_ATTEMPTS: usize = 5;

/// A running server. It is killed, and its folder removed, when this is dropped.
///
/// It also ends with the thread that started it, so start it on the test's own thread.
pub struct NbdServer {
    child: Child,
    folder: TempDir,
    port: Option<u16>,
}

impl NbdServer {
    /// Starts `nbdkit` with these arguments, for example `["memory", "1M"]`, on a unix socket.
    ///
    /// # Errors
    /// When nbdkit is not installed or ends before it listens; then with its words.
    pub async fn nbdkit<A: AsRef<OsStr>>(arguments: &[A]) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = nbdkit(folder.path());
        command.arg("--unix").arg(socket_in(folder.path())).args(arguments);
        Self::start(command, folder, None).await
    }

    /// Starts `nbdkit` with these arguments on a free port of the loopback interface.
    ///
    /// # Errors
    /// As [`NbdServer::nbdkit`].
    pub async fn nbdkit_tcp<A: AsRef<OsStr>>(arguments: &[A]) -> io::Result<Self> {
        let mut attempts = 0;
        loop {
            let folder = tempfile::tempdir()?;
            let port = free_port()?;
            let mut command = nbdkit(folder.path());
            command.arg("--ipaddr=127.0.0.1").arg(format!("--port={port}")).args(arguments);
            attempts += 1;
            match Self::start(command, folder, Some(port)).await {
                Err(error) if attempts < PORT_ATTEMPTS && error.to_string().contains("in use") => {}
                result => return result,
            }
        }
    }

    /// Starts `qemu-nbd` on an image, read-only, for up to eight clients, on a unix socket.
    ///
    /// # Errors
    /// When qemu-nbd is not installed or ends before it listens; then with its words.
    pub async fn qemu_nbd(format: &str, image: &Path) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new("qemu-nbd");
        command.args(["--read-only", "--persistent", "--shared=8", "--format", format]);
        command.arg("--pid-file").arg(pid_file_in(folder.path()));
        command.arg("--socket").arg(socket_in(folder.path())).arg(image);
        Self::start(command, folder, None).await
    }

    /// The socket that a server without a port listens on.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        socket_in(self.folder.path())
    }

    /// The port of [`NbdServer::nbdkit_tcp`], on 127.0.0.1.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// Kills the server, as a crash would.
    ///
    /// # Errors
    /// When the system cannot.
    pub async fn kill(&mut self) -> io::Result<()> {
        self.child.kill().await
    }

    /// Waits until the server ends by itself.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// A server writes its process id when it listens, not before.
    async fn start(mut command: Command, folder: TempDir, port: Option<u16>) -> io::Result<Self> {
        let log = folder.path().join("log");
        let program = command.as_std().get_program().to_string_lossy().into_owned();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(std::fs::File::create(&log)?);
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{program}: {error}"));
        let mut child = command.kill_on_drop(true).spawn().map_err(named)?;
        let deadline = Instant::now() + START_LIMIT;
        while !pid_file_in(folder.path()).exists() {
            if let Some(status) = child.try_wait()? {
                let words = std::fs::read_to_string(&log)?;
                return Err(io::Error::other(format!("{program} ended with {status}: {words}")));
            }
            if Instant::now() > deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, format!("{program} does not listen")));
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(Self { child, folder, port })
    }
}

fn nbdkit(folder: &Path) -> Command {
    let mut command = Command::new("nbdkit");
    command.arg("--foreground").arg("--exit-with-parent").arg("--pidfile").arg(pid_file_in(folder));
    command
}

fn socket_in(folder: &Path) -> PathBuf {
    folder.join("nbd.sock")
}

fn pid_file_in(folder: &Path) -> PathBuf {
    folder.join("pid")
}

/// nbdkit cannot choose a port itself and tell which, so one is chosen for it; another process may be faster.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
