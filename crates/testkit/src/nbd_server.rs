//! Real NBD servers as child processes: nbdkit and qemu-nbd on private unix sockets.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// How long a server may take until it listens.
const START_LIMIT: Duration = Duration::from_secs(10);

/// A running server. It is killed, and its socket removed, when this is dropped.
pub struct NbdServer {
    socket: PathBuf,
    child: Child,
    _folder: TempDir,
}

impl NbdServer {
    /// Starts `nbdkit` with these arguments, for example `["memory", "1M"]`, and waits until it listens.
    ///
    /// # Errors
    /// When nbdkit is not installed or ends before it listens.
    pub async fn nbdkit(arguments: &[&str]) -> io::Result<Self> {
        Self::start("nbdkit", |command, socket| {
            command.arg("--foreground").arg("--exit-with-parent").arg("--unix").arg(socket).args(arguments);
        })
        .await
    }

    /// Starts `qemu-nbd` on an image, read-only, for several clients.
    ///
    /// # Errors
    /// When qemu-nbd is not installed or ends before it listens.
    pub async fn qemu_nbd(format: &str, image: &Path) -> io::Result<Self> {
        Self::start("qemu-nbd", |command, socket| {
            command.args(["--read-only", "--persistent", "--shared=8", "--format", format]);
            command.arg("--socket").arg(socket).arg(image);
        })
        .await
    }

    /// The socket that it listens on.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Kills the server, as a crash would.
    ///
    /// # Errors
    /// When the system cannot.
    pub async fn kill(&mut self) -> io::Result<()> {
        self.child.kill().await
    }

    async fn start(program: &str, prepare: impl FnOnce(&mut Command, &Path)) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let socket = folder.path().join("nbd.sock");
        let mut command = Command::new(program);
        prepare(&mut command, &socket);
        command.stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let deadline = Instant::now() + START_LIMIT;
        while !socket.exists() {
            if let Some(status) = child.try_wait()? {
                return Err(io::Error::other(format!("{program} ended with {status} before it listened")));
            }
            if Instant::now() > deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, format!("{program} does not listen")));
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(Self { socket, child, _folder: folder })
    }
}
