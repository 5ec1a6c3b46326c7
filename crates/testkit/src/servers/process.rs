//! A child process that listens on a port.

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// How long a server may take until it listens.
const START_LIMIT: Duration = Duration::from_mins(1);

/// How often a port that someone else was faster to take is replaced by another one.
const PORT_ATTEMPTS: usize = 5;

/// A running server with a folder of its own. It is killed, and the folder removed, when this is dropped.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    folder: TempDir,
    port: u16,
}

impl ServerProcess {
    /// Starts what `command` makes of a folder and a port, and waits until it listens there.
    ///
    /// # Errors
    /// When the program is not installed or ends before it listens; then with its words.
    pub async fn start(command: impl Fn(&Path, u16) -> io::Result<Command>) -> io::Result<Self> {
        for _ in 1..PORT_ATTEMPTS {
            let folder = tempfile::tempdir()?;
            let port = free_port()?;
            let command = command(folder.path(), port)?;
            match Self::start_on(command, folder, port).await {
                Err(error) if error.to_string().contains("in use") => {}
                started => return started,
            }
        }
        Err(io::Error::from(io::ErrorKind::AddrInUse))
    }

    async fn start_on(mut command: Command, folder: TempDir, port: u16) -> io::Result<Self> {
        let log = folder.path().join("log");
        let program = command.as_std().get_program().to_string_lossy().into_owned();
        let output = std::fs::File::create(&log)?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let named = |error: io::Error| {
            let hint = "install it with infra/bootstrap.sh --checks";
            io::Error::new(error.kind(), format!("{program}: {error} ({hint})"))
        };
        let mut child = command.kill_on_drop(true).spawn().map_err(named)?;
        let deadline = Instant::now() + START_LIMIT;
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
            if let Some(status) = child.try_wait()? {
                let words = std::fs::read_to_string(&log)?;
                return Err(io::Error::other(format!("{program} ended with {status}: {words}")));
            }
            if Instant::now() > deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, format!("{program} does not listen")));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(Self { child, folder, port })
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process; `None` when it has ended.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Its private folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Kills the server, as a crash would.
    ///
    /// # Errors
    /// When the system cannot.
    pub async fn kill(&mut self) -> io::Result<()> {
        self.child.kill().await
    }
}

/// Runs a program to its end and returns what it prints.
pub(super) async fn run(mut command: Command) -> io::Result<String> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let done = command.stdin(Stdio::null()).kill_on_drop(true).output().await?;
    let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if done.status.success() {
        return Ok(words(&done.stdout));
    }
    Err(io::Error::other(format!("{program} failed: {}{}", words(&done.stdout), words(&done.stderr))))
}

/// Most servers cannot choose a port themselves and tell which, so one is chosen for them; another process may be
/// faster.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
