//! OpenSSH's server, with nothing but SFTP.

use std::fs;
use std::io;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process;

use tokio::process::Command;

use super::ServerProcess;

/// Who the server is when the tests run as root: as root it would need a user and a folder of the system.
const NOBODY: u32 = 65_534;

/// An SSH server with one user, who has one key.
#[derive(Debug)]
pub struct Sshd {
    process: ServerProcess,
}

impl Sshd {
    /// Starts a server.
    ///
    /// # Errors
    /// When OpenSSH is not installed or does not start.
    pub async fn start() -> io::Result<Self> {
        Self::start_with("").await
    }

    /// Starts a server that does not know how to make a file durable, as many that are not OpenSSH do not.
    ///
    /// # Errors
    /// When OpenSSH is not installed or does not start.
    pub async fn start_without_fsync() -> io::Result<Self> {
        Self::start_with("-P fsync").await
    }

    async fn start_with(sftp_options: &str) -> io::Result<Self> {
        let program = program()?;
        let process = ServerProcess::start(|folder, port| {
            fs::create_dir(folder.join("files"))?;
            for key in ["host-key", "user-key", "other-key"] {
                run(process::Command::new("ssh-keygen")
                    .args(["-q", "-N", "", "-t", "ed25519", "-f"])
                    .arg(folder.join(key)))?;
            }
            // Copied by a process of its own: a program that we had open to write could not be started.
            run(process::Command::new("cp").arg(&program).arg(folder.join("sshd")))?;
            let at = folder.display();
            // Without PAM, nobody counts as locked where the system makes nobody up.
            let configuration = format!(
                "ListenAddress 127.0.0.1:{port}\nHostKey {at}/host-key\nAuthorizedKeysFile {at}/user-key.pub\n\
                 PidFile none\nStrictModes no\nUsePAM yes\nPasswordAuthentication no\n\
                 KbdInteractiveAuthentication no\nMaxStartups 100\nSubsystem sftp internal-sftp {sftp_options}\n"
            );
            fs::write(folder.join("sshd_config"), configuration)?;
            let mut command = Command::new(folder.join("sshd"));
            command.args(["-D", "-e", "-f"]).arg(folder.join("sshd_config"));
            if is_root()? {
                give(folder)?;
                command.uid(NOBODY).gid(NOBODY);
            }
            Ok(command)
        });
        Ok(Self { process: process.await? })
    }

    /// Its port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.process.port()
    }

    /// The name of its user.
    ///
    /// # Errors
    /// When the system does not know it.
    pub fn username(&self) -> io::Result<String> {
        let mut command = process::Command::new("id");
        command.arg("-un");
        if is_root()? {
            command.arg(NOBODY.to_string());
        }
        Ok(run(&mut command)?.trim().to_owned())
    }

    /// A folder for files, which the user may do everything in.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        self.process.folder().join("files")
    }

    /// The file of the private key of the user.
    #[must_use]
    pub fn private_key(&self) -> PathBuf {
        self.process.folder().join("user-key")
    }

    /// The file of a private key that the server does not accept.
    #[must_use]
    pub fn other_private_key(&self) -> PathBuf {
        self.process.folder().join("other-key")
    }

    /// The host key, as in `known_hosts`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn host_key(&self) -> io::Result<String> {
        fs::read_to_string(self.process.folder().join("host-key.pub"))
    }

    /// A key that is not that of the host.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn other_host_key(&self) -> io::Result<String> {
        fs::read_to_string(self.process.folder().join("other-key.pub"))
    }

    /// Kills what serves the connections, so that they break off. New ones are served. Returns how many processes
    /// that were.
    pub fn cut_connections(&self) -> usize {
        let children = self.process.id().map(descendants).unwrap_or_default();
        for child in &children {
            // It may have ended meanwhile.
            let _ = run(process::Command::new("kill").args(["-KILL", &child.to_string()]));
        }
        children.len()
    }

    /// Kills the server, so that nobody listens any more.
    ///
    /// # Errors
    /// When the system cannot.
    pub async fn kill(&mut self) -> io::Result<()> {
        self.cut_connections();
        self.process.kill().await
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.cut_connections();
    }
}

fn program() -> io::Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&path).collect();
    folders.push("/usr/sbin".into());
    let program = folders.iter().map(|folder| folder.join("sshd")).find(|program| program.is_file());
    let hint = "sshd is not there: install it with infra/bootstrap.sh --checks";
    program.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, hint))
}

fn is_root() -> io::Result<bool> {
    Ok(run(process::Command::new("id").arg("-u"))?.trim() == "0")
}

fn give(folder: &Path) -> io::Result<()> {
    chown(folder, Some(NOBODY), Some(NOBODY))?;
    for entry in fs::read_dir(folder)? {
        chown(entry?.path(), Some(NOBODY), Some(NOBODY))?;
    }
    Ok(())
}

fn run(command: &mut process::Command) -> io::Result<String> {
    let done = command.output()?;
    let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if done.status.success() {
        return Ok(words(&done.stdout));
    }
    Err(io::Error::other(format!("{command:?}: {}", words(&done.stderr))))
}

/// The processes below this one, those above before those below.
fn descendants(process: u32) -> Vec<u32> {
    let mut found = vec![process];
    let mut at = 0;
    while let Some(process) = found.get(at) {
        // One that has ended has no children any more.
        let children =
            fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
        found.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
        at += 1;
    }
    found.split_off(1)
}
