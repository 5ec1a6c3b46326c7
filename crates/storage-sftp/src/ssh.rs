//! The system's OpenSSH client: how it is started, and what its words mean.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sendense_storage::{ErrorKind, Secret};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::failure::{Failure, Outcome, excerpt};
use crate::key_folder;

/// What the host key is known by, whatever the server is called.
const ALIAS: &str = "repository";
const PRIVATE_KEY: &str = "key";
const KNOWN_HOSTS: &str = "known_hosts";

/// Nothing of the user's own configuration counts, nothing is asked, and no other key than ours is offered.
const SETTINGS: [&str; 18] = [
    "BatchMode=yes",
    "StrictHostKeyChecking=yes",
    "UserKnownHostsFile=known_hosts",
    "GlobalKnownHostsFile=/dev/null",
    "HostKeyAlias=repository",
    "UpdateHostKeys=no",
    "IdentitiesOnly=yes",
    "IdentityAgent=none",
    "PreferredAuthentications=publickey",
    "PasswordAuthentication=no",
    "KbdInteractiveAuthentication=no",
    "ClearAllForwardings=yes",
    "ForwardAgent=no",
    "ConnectTimeout=10",
    "ConnectionAttempts=1",
    "ServerAliveInterval=10",
    "ServerAliveCountMax=3",
    "LogLevel=ERROR",
];

/// Where to connect, and what ssh needs for it.
#[derive(Debug)]
pub(crate) struct Destination {
    host: String,
    port: u16,
    username: String,
    private_key: Secret,
    host_key: String,
}

impl Destination {
    pub(crate) fn new(
        host: &str,
        port: u16,
        username: &str,
        private_key: &Secret,
        host_key: &str,
    ) -> Outcome<Self> {
        let refuse = |why: &str| Err(Failure::new(ErrorKind::Other, why));
        if !is_host(host) {
            return refuse("the name of the host is not one");
        }
        let is_name = |letter: char| !letter.is_whitespace() && !letter.is_control();
        if username.is_empty() || username.starts_with('-') || !username.chars().all(is_name) {
            return refuse("the user name is not one");
        }
        let Some(host_key) = parse_host_key(host_key) else {
            return refuse("the host key is not written as in known_hosts: its type, then its base64");
        };
        let private_key = private_key.clone();
        Ok(Self { host: host.into(), port, username: username.into(), private_key, host_key })
    }

    pub(crate) fn location(&self, path: &str) -> String {
        format!("sftp://{}@{}:{}/{path}", self.username, self.host, self.port)
    }

    /// A private folder with the files that ssh needs until it is let in. They are removed when it is dropped.
    pub(crate) fn lay_out(&self) -> Outcome<TempDir> {
        let write = || {
            let folder = key_folder::make()?;
            // OpenSSH wants the line of the end to be a line.
            put(&folder, PRIVATE_KEY, &[self.private_key.expose().trim_ascii(), b"\n"])?;
            put(&folder, KNOWN_HOSTS, &[format!("{ALIAS} {}\n", self.host_key).as_bytes()])?;
            Ok(folder)
        };
        write().map_err(|error: io::Error| {
            Failure::new(ErrorKind::Other, format!("there is no private place for the key: {error}"))
        })
    }

    /// Starts ssh with the files of [`Self::lay_out`]. It is killed when the child is dropped.
    pub(crate) fn dial(&self, files: &TempDir) -> Outcome<Child> {
        let mut command = Command::new("ssh");
        command.args(["-F", "/dev/null"]);
        for setting in SETTINGS {
            command.args(["-o", setting]);
        }
        command.args(["-i", PRIVATE_KEY, "-l", &self.username, "-p", &self.port.to_string()]);
        command.args(["-s", "--", &self.host, "sftp"]);
        command.env_clear().env("LC_ALL", "C");
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        // No name of a folder needs quoting where it runs in that folder.
        command.current_dir(files.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Who stops us at a terminal lets us finish what we write.
        command.process_group(0).kill_on_drop(true);
        command.spawn().map_err(|error| {
            Failure::new(ErrorKind::Other, format!("the program ssh (OpenSSH) cannot be started: {error}"))
        })
    }
}

fn put(folder: &TempDir, name: &str, parts: &[&[u8]]) -> io::Result<()> {
    let path = folder.path().join(name);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    parts.iter().try_for_each(|part| file.write_all(part))
}

fn is_host(host: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    !host.is_empty() && !host.starts_with('-') && host.bytes().all(is_letter)
}

/// Type and key, without a comment.
fn parse_host_key(text: &str) -> Option<String> {
    let mut words = text.split_whitespace();
    let (algorithm, key) = (words.next()?, words.next()?);
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-@.".contains(&byte);
    let is_algorithm = algorithm.bytes().all(is_letter) && !algorithm.starts_with('@');
    let is_key =
        STANDARD.decode(key).is_ok_and(|key| key.len() > 4 && key[4..].starts_with(algorithm.as_bytes()));
    (is_algorithm && is_key && text.trim().lines().count() == 1).then(|| format!("{algorithm} {key}"))
}

const HOST_KEY_WORDS: [&str; 2] = ["Host key verification failed", "HOST IDENTIFICATION HAS CHANGED"];
const CREDENTIALS_WORDS: [&str; 2] = ["Permission denied (", "Too many authentication failures"];
const UNREACHABLE_WORDS: [&str; 11] = [
    "Could not resolve hostname",
    "Connection refused",
    "timed out",
    "Timeout, server",
    "No route to host",
    "Host is down",
    "etwork is unreachable",
    "Connection closed by",
    "Connection reset by",
    "Broken pipe",
    "kex_exchange_identification",
];

/// What kept ssh from connecting. It has one exit status for everything, so its words decide; they are the same in
/// every locale.
pub(crate) fn classify(words: &[u8]) -> Failure {
    if words.trim_ascii().is_empty() {
        return Failure::new(ErrorKind::Unreachable, "the connection broke off before SFTP answered");
    }
    let text = String::from_utf8_lossy(words);
    let says = |any: &[&str]| any.iter().any(|word| text.contains(word));
    let (kind, message) = if says(&HOST_KEY_WORDS) {
        (ErrorKind::HostKeyMismatch, "the host key of the server is not the one that is trusted")
    } else if says(&CREDENTIALS_WORDS) {
        (ErrorKind::CredentialsWrong, "the server does not accept the user or its key")
    } else if says(&UNREACHABLE_WORDS) {
        (ErrorKind::Unreachable, "there is no connection")
    } else {
        (ErrorKind::Other, "ssh did not get through to SFTP")
    };
    // The banner about a changed host key tells how to trust it, which is not for here.
    if kind == ErrorKind::HostKeyMismatch {
        return Failure::new(kind, message);
    }
    Failure::new(kind, format!("{message}: {}", excerpt(words)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const HOST_KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGaZ0k1Yc0mDHLQrYXh0lG8mBq3hG2yI8y0J4m1sKx3F";

    fn refusal(host: &str, username: &str, host_key: &str) -> bool {
        Destination::new(host, 22, username, &Secret::new("secret"), host_key).is_err()
    }

    #[test]
    fn nothing_that_ssh_would_take_for_an_option_or_a_second_line_is_passed_on() {
        assert!(!refusal("backup.example", "hub", HOST_KEY));
        assert!(!refusal("fe80::1", "hub", &format!("{HOST_KEY} root@backup\n")));
        for host in ["", "-oProxyCommand=x", "a b", "ssh://a", "hub@a", "a\n"] {
            assert!(refusal(host, "hub", HOST_KEY), "{host:?}");
        }
        for username in ["", "-v", "a b", "a\nb"] {
            assert!(refusal("a", username, HOST_KEY), "{username:?}");
        }
        for host_key in
            ["", "ssh-ed25519", "ssh-ed25519 !", "ssh-rsa AAAA", &format!("{HOST_KEY}\n* {HOST_KEY}")]
        {
            assert!(refusal("a", "hub", host_key), "{host_key:?}");
        }
    }

    #[test]
    fn the_key_is_private_wherever_it_is() {
        let destination = Destination::new("a", 22, "hub", &Secret::new("secret"), HOST_KEY).unwrap();
        assert!(!format!("{destination:?}").contains("secret"));
        let files = destination.lay_out().unwrap();
        let folder = files.path().to_owned();
        let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(folder.clone()), mode(folder.join(PRIVATE_KEY))), (0o700, 0o600));
        drop(files);
        assert!(!folder.exists());
    }
}
