//! What the tests of the server share: servers, a clock with hands, raw requests, restic.

#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a server that cannot be started is a failed test"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sendense_repo_server::{
    Clock, Credential, CredentialsFile, GuardRules, RepositoryOptions, Role, Server, ServerOptions,
};
use sha2::{Digest, Sha256};

pub(crate) const WRITER: (&str, &str) = ("hub", "the writer's own password");
pub(crate) const KEEPER: (&str, &str) = ("keeper", "the keeper's own password");
pub(crate) const DAY: Duration = Duration::from_hours(24);

/// A clock whose hands a test moves.
#[derive(Debug, Default)]
pub(crate) struct TestClock(Mutex<Duration>);

impl TestClock {
    pub(crate) fn pass(&self, time: Duration) {
        *self.0.lock().unwrap() += time;
    }
}

impl Clock for TestClock {
    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_hours(500_000) + self.steady()
    }

    fn steady(&self) -> Duration {
        *self.0.lock().unwrap()
    }
}

pub(crate) fn credentials() -> CredentialsFile {
    [(WRITER, Role::Writer), (KEEPER, Role::Keeper)]
        .map(|((name, password), role)| {
            (name.to_owned(), Credential::new(role, vec!["vault".into()], password).unwrap())
        })
        .into()
}

/// A server in this process.
pub(crate) struct InProcess {
    pub(crate) server: Server,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) log: Arc<Mutex<Vec<String>>>,
    pub(crate) folder: tempfile::TempDir,
}

/// What is different from the usual.
pub(crate) struct Unusual {
    pub(crate) window: Duration,
    pub(crate) checks_names: bool,
    pub(crate) tls: Option<(String, String)>,
}

impl Default for Unusual {
    fn default() -> Self {
        Self { window: 30 * DAY, checks_names: true, tls: None }
    }
}

impl InProcess {
    pub(crate) async fn start(unusual: Unusual) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(TestClock::default());
        let log = Arc::<Mutex<Vec<String>>>::default();
        let lines = Arc::clone(&log);
        let log_line = move |line: &str| lines.lock().unwrap().push(line.to_owned());
        let mut options =
            ServerOptions::new("127.0.0.1:0".parse().unwrap(), credentials(), Arc::new(log_line));
        options.clock = Arc::<TestClock>::clone(&clock);
        options.tls = unusual
            .tls
            .map(|(certificate, key)| sendense_repo_server::tls_config(&certificate, &key).unwrap());
        let rules = GuardRules { window: unusual.window, protection_max: 3653 * DAY };
        let repository =
            RepositoryOptions { folder: folder.path().into(), rules, checks_names: unusual.checks_names };
        options.repositories.insert("vault".into(), repository);
        let server = Server::start(options).await.unwrap();
        Self { server, clock, log, folder }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/vault/", self.server.address())
    }
}

/// The program, as a process of its own.
pub(crate) struct Program {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) home: Arc<tempfile::TempDir>,
}

impl Program {
    /// Makes credentials with the program itself, and serves an empty repository with a window of 30 days.
    pub(crate) fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("vault")).unwrap();
        for (role, (name, password)) in [("writer", WRITER), ("keeper", KEEPER)] {
            add_credential(&home.path().join("credentials.json"), role, name, password);
        }
        let config = serde_json::json!({
            "listen": "127.0.0.1:0",
            "credentials": home.path().join("credentials.json"),
            "repositories": { "vault": { "folder": home.path().join("vault"), "windowDays": 30 } },
        });
        std::fs::write(home.path().join("config.json"), config.to_string()).unwrap();
        Self::start_in(Arc::new(home))
    }

    pub(crate) fn start_in(home: Arc<tempfile::TempDir>) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sendense-repository-server"))
            .args(["serve", "--config"])
            .arg(home.path().join("config.json"))
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
        let address = address.expect("the server says where it listens").parse().unwrap();
        // Somebody must take its log.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address, home }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/vault/", self.address)
    }

    pub(crate) fn vault(&self) -> PathBuf {
        self.home.path().join("vault")
    }

    pub(crate) fn kill(mut self) -> Arc<tempfile::TempDir> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        Arc::clone(&self.home)
    }

    /// Asks it to stop, as systemd does.
    pub(crate) fn terminate(mut self) -> std::process::ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn add_credential(file: &Path, role: &str, name: &str, password: &str) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_sendense-repository-server"))
        .args(["credentials", "add", name, "--file"])
        .arg(file)
        .args(["--role", role, "--repository", "vault"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{password}").unwrap();
    assert!(child.wait().unwrap().success());
}

/// An answer, taken apart.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// Sends one request as it is, however wrong, and reads the answer.
pub(crate) fn send(
    address: SocketAddr,
    credential: (&str, &str),
    request_line: &str,
    headers: &[&str],
    body: &[u8],
) -> Answer {
    try_send(address, credential, request_line, headers, body).expect("an answer")
}

/// The same, for a server that may die meanwhile.
pub(crate) fn try_send(
    address: SocketAddr,
    (name, password): (&str, &str),
    request_line: &str,
    headers: &[&str],
    body: &[u8],
) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    let basic = STANDARD.encode(format!("{name}:{password}"));
    let mut head = format!(
        "{request_line} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Basic {basic}\r\n"
    );
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    if !headers.iter().any(|header| header.starts_with("Content-Length") || header.starts_with("Transfer")) {
        head = format!("{head}Content-Length: {}\r\n", body.len());
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).ok()?;
    // A server that has refused already may close before it has all.
    let _ = stream.write_all(body);
    let mut all = Vec::new();
    let _ = stream.read_to_end(&mut all);
    let end = all.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&all[..end]).to_ascii_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let is_chunked = head.contains("transfer-encoding: chunked");
    let body = if is_chunked { join_chunks(&all[end..]) } else { all[end..].to_vec() };
    Some(Answer { status, head, body })
}

/// The content of a body that came in chunks.
fn join_chunks(mut body: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(line) = body.windows(2).position(|window| window == b"\r\n") {
        let length = std::str::from_utf8(&body[..line]).unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        if length == 0 {
            break;
        }
        all.extend_from_slice(&body[line + 2..line + 2 + length]);
        body = &body[line + 2 + length + 2..];
    }
    all
}

pub(crate) fn name_of(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

/// restic on the repository of a server, with a credential.
pub(crate) struct Restic {
    repository: String,
    private: tempfile::TempDir,
}

impl Restic {
    pub(crate) fn new(address: SocketAddr, (name, password): (&str, &str)) -> Self {
        let private = tempfile::tempdir().unwrap();
        std::fs::write(private.path().join("password"), "of the repository").unwrap();
        let password = password.replace(' ', "%20").replace('\'', "%27");
        Self { repository: format!("rest:http://{name}:{password}@{address}/vault/"), private }
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("restic");
        command
            .args(arguments)
            .env("RESTIC_REPOSITORY", &self.repository)
            .env("RESTIC_PASSWORD_FILE", self.private.path().join("password"))
            .env("RESTIC_CACHE_DIR", self.private.path().join("cache"));
        command
    }

    /// Runs a command that must succeed; returns what it printed.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output: Output =
            self.command(arguments).output().expect("these tests need restic (Debian package `restic`)");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "restic {arguments:?}: {errors}{text}");
        text
    }

    /// Runs a command that is refused. restic tries again for minutes, which nobody needs to wait for.
    pub(crate) fn run_in_vain(&self, arguments: &[&str]) {
        let mut child = self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(4);
        while Instant::now() < deadline {
            if let Some(status) = child.try_wait().unwrap() {
                assert!(!status.success(), "restic {arguments:?} succeeded");
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    pub(crate) fn check(&self) {
        let report = self.run(&["check", "--read-data"]);
        assert!(report.contains("no errors were found"), "{report}");
    }

    pub(crate) fn snapshots(&self) -> Vec<String> {
        let list: serde_json::Value = serde_json::from_str(&self.run(&["snapshots", "--json"])).unwrap();
        let list = list.as_array().cloned().unwrap_or_default();
        list.iter().map(|snapshot| snapshot["id"].as_str().unwrap().to_owned()).collect()
    }
}

/// Bytes that depend on the seed alone and do not compress.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32).to_le_bytes()[0]
    };
    (0..len).map(step).collect()
}

/// Every file of a folder with its bytes, by its path; what the guard keeps is left out.
pub(crate) fn content_of(folder: &Path) -> std::collections::BTreeMap<PathBuf, Vec<u8>> {
    let mut files = std::collections::BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("guard") {
                folders.push(path);
            } else if path.is_file() {
                files.insert(path.strip_prefix(folder).unwrap().to_owned(), std::fs::read(&path).unwrap());
            }
        }
    }
    files
}
