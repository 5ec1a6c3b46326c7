//! Files on a server that speaks restic's REST protocol, ours or another one.
//!
//! Ours adds a guard against removal (`docs/design/repository-server.md`): it says its policy under `?policy`, in the
//! answer to an upload until when the file is protected, and under `?protection` the same for any file. A server that
//! does not know these protects nothing, as far as this storage can tell.

mod connection;
mod tls;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use hyper::Method;
use hyper::header::CONTENT_LENGTH;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use connection::{Answer, Call, Connection, parse_time};
use sendense_storage::{
    Capacity, Error, ErrorKind, FileEntry, FileId, FileKind, Protection, ProtectionMode, ProtectionPolicy,
    Result, Storage,
};

const PROTECTED_UNTIL: &str = "sendense-protected-until";
/// The server takes no longer file, and its listings of ten million files fit.
const ANSWER_BYTES_MAX: usize = 1 << 30;
const JSON_BYTES_MAX: usize = 64 << 10;
/// By how much two clocks may differ after a while that were compared at its beginning.
const CLOCK_TOLERANCE: Duration = Duration::from_mins(5);

/// Where the server is, and who we are to it.
pub struct RestOptions<'a> {
    /// `https://host:port/repository/`; without TLS on a loopback address only. Never holds a password.
    pub url: &'a str,
    /// Name of the credential.
    pub username: &'a str,
    /// Its password.
    pub password: &'a str,
    /// SHA-256 of the one certificate that is trusted, in DER form; `None` trusts the roots of the system.
    pub certificate_sha256: Option<[u8; 32]>,
}

/// A repository on a REST server.
pub struct RestStorage {
    connection: Connection,
    policy: Mutex<Option<Policy>>,
}

impl std::fmt::Debug for RestStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RestStorage").field("location", &self.location()).finish_non_exhaustive()
    }
}

/// What the guard promises, and its time when it said so.
#[derive(Clone, Copy, Debug)]
struct Policy {
    window: Duration,
    time: SystemTime,
    /// Our time then.
    asked_at: SystemTime,
}

impl Policy {
    /// Until when a file is protected that the guard takes now.
    fn promise(&self) -> SystemTime {
        self.time + self.asked_at.elapsed().unwrap_or_default() + self.window
    }

    /// Whether that is what it promised, as far as two clocks can tell.
    fn is_kept_by(&self, until: SystemTime) -> bool {
        until + CLOCK_TOLERANCE >= self.promise()
    }

    /// Whether the guard protects for longer now than it said.
    fn is_exceeded_by(&self, until: SystemTime) -> bool {
        until > self.promise() + CLOCK_TOLERANCE
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PolicyAnswer {
    window_seconds: u64,
    time: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProtectionAnswer {
    protected_until: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CapacityAnswer {
    total_bytes: u64,
    free_bytes: u64,
}

#[derive(Deserialize)]
struct ListedFile<'a> {
    name: &'a str,
    size: u64,
}

impl RestStorage {
    /// Connects, and asks for the policy of the guard.
    ///
    /// # Errors
    /// [`ErrorKind::Unreachable`], [`ErrorKind::CertificateUntrusted`], [`ErrorKind::CredentialsWrong`],
    /// [`ErrorKind::Other`] for an address that cannot be used.
    pub async fn open(options: RestOptions<'_>) -> Result<Self> {
        let RestOptions { url, username, password, certificate_sha256 } = options;
        let connection = Connection::new(url, username, password, certificate_sha256)?;
        let storage = Self { connection, policy: Mutex::default() };
        storage.ask_policy().await?;
        Ok(storage)
    }

    /// By how much the clock of the guard was ahead of ours when we connected, in milliseconds; `None` where no guard
    /// tells the time.
    #[must_use]
    pub fn clock_ahead_ms(&self) -> Option<i64> {
        let milliseconds = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        let Policy { time, asked_at, .. } = self.policy()?;
        Some(match time.duration_since(asked_at) {
            Ok(ahead) => milliseconds(ahead),
            Err(behind) => -milliseconds(behind.duration()),
        })
    }

    fn policy(&self) -> Option<Policy> {
        *self.policy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the guard what it promises. Whoever keeps the server may change that while we are connected.
    async fn ask_policy(&self) -> Result<Option<Policy>> {
        let policy = match self.extension::<PolicyAnswer>("?policy", "connect").await? {
            Some(answer) => {
                let time = parse_time(&answer.time).ok_or_else(|| not_understood("connect"))?;
                let window = Duration::from_secs(answer.window_seconds);
                (!window.is_zero()).then_some(Policy { window, time, asked_at: SystemTime::now() })
            }
            None => None,
        };
        *self.policy.lock().unwrap_or_else(PoisonError::into_inner) = policy;
        Ok(policy)
    }

    /// Asks for something that only our server knows; `None` from any other. A server that has trouble is not another
    /// one: what it protects would look unprotected.
    async fn extension<T: DeserializeOwned>(&self, path: &str, operation: &'static str) -> Result<Option<T>> {
        let (method, body, range) = (Method::GET, Bytes::new(), None);
        let call = Call { method, path, body, range, answer_bytes_max: JSON_BYTES_MAX, operation };
        match self.connection.ask(call).await? {
            // Others answer with what they answer to the address without the question: no object of JSON.
            Some(answer) if answer.body.starts_with(b"{") => {
                let understood = serde_json::from_slice(&answer.body);
                understood.map(Some).map_err(|error| not_understood(operation).with_source(error))
            }
            _ => Ok(None),
        }
    }

    async fn call(&self, method: Method, path: &str, body: Bytes, operation: &'static str) -> Result<Answer> {
        let answer_bytes_max = if path.contains('?') { JSON_BYTES_MAX } else { ANSWER_BYTES_MAX };
        self.connection.call(Call { method, path, body, range: None, answer_bytes_max, operation }).await
    }

    async fn call_file(
        &self,
        method: Method,
        (kind, id): (FileKind, &FileId),
        body: Bytes,
        operation: &'static str,
    ) -> Result<Answer> {
        let answer = self.call(method, &path_of(kind, id), body, operation).await;
        answer.map_err(|error| error.with_file(kind, id))
    }

    /// The protection that the server reports in the answer to an upload. Without it the file is not what it should
    /// be: kept, but not safe.
    async fn confirm_protection(&self, kind: FileKind, id: &FileId, answer: &Answer) -> Result<()> {
        let Some(policy) = self.policy().filter(|_| kind != FileKind::Lock) else { return Ok(()) };
        let until =
            answer.headers.get(PROTECTED_UNTIL).and_then(|until| until.to_str().ok()).and_then(parse_time);
        let not_protected = || {
            Error::new(ErrorKind::ObjectLockMissing, "write", "the server did not protect it")
                .with_file(kind, id)
        };
        let until = until.ok_or_else(not_protected)?;
        if policy.is_kept_by(until) && !policy.is_exceeded_by(until) {
            return Ok(());
        }
        // The window was changed: what is extended from now on shall reach as far.
        match self.ask_policy().await? {
            Some(policy) if policy.is_kept_by(until) => Ok(()),
            _ => Err(not_protected()),
        }
    }
}

#[async_trait]
impl Storage for RestStorage {
    fn location(&self) -> String {
        format!("rest:{}", self.connection.base())
    }

    async fn create(&self) -> Result<()> {
        self.call(Method::POST, "?create=true", Bytes::new(), "create").await.map(drop)
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<FileEntry>> {
        if kind == FileKind::Config {
            return match self.size(kind, &FileId::CONFIG).await {
                Ok(size_bytes) => Ok(vec![FileEntry { id: FileId::CONFIG, size_bytes }]),
                // A missing config is an empty listing, a missing place is not.
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    self.list(FileKind::Key).await.map(|_| Vec::new())
                }
                Err(error) => Err(error),
            };
        }
        let answer = self.call(Method::GET, &format!("{}/", directory(kind)), Bytes::new(), "list").await?;
        let files: Vec<ListedFile<'_>> = serde_json::from_slice(&answer.body)
            .map_err(|error| not_understood("list").with_source(error))?;
        // What is named otherwise is no file of a repository.
        Ok(files
            .iter()
            .filter_map(|file| Some(FileEntry { id: file.name.parse().ok()?, size_bytes: file.size }))
            .collect())
    }

    async fn size(&self, kind: FileKind, id: &FileId) -> Result<u64> {
        let answer = self.call_file(Method::HEAD, (kind, id), Bytes::new(), "look up").await?;
        let length = answer.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        let length = length.and_then(|length| length.parse().ok());
        length.ok_or_else(|| not_understood("look up").with_file(kind, id))
    }

    async fn read(&self, kind: FileKind, id: &FileId) -> Result<Bytes> {
        Ok(self.call_file(Method::GET, (kind, id), Bytes::new(), "read").await?.body)
    }

    async fn read_range(&self, kind: FileKind, id: &FileId, offset: u64, len: usize) -> Result<Bytes> {
        let too_short =
            || Error::new(ErrorKind::Damaged, "read", "the file is too short").with_file(kind, id);
        if len == 0 {
            let is_inside = offset <= self.size(kind, id).await?;
            return if is_inside { Ok(Bytes::new()) } else { Err(too_short()) };
        }
        let last = offset.checked_add(len as u64 - 1).ok_or_else(too_short)?;
        let call = Call {
            method: Method::GET,
            path: &path_of(kind, id),
            body: Bytes::new(),
            range: Some(format!("bytes={offset}-{last}")),
            answer_bytes_max: len,
            operation: "read",
        };
        let body = self.connection.call(call).await.map_err(|error| error.with_file(kind, id))?.body;
        if body.len() == len { Ok(body) } else { Err(too_short()) }
    }

    async fn write(&self, kind: FileKind, id: &FileId, content: Bytes) -> Result<()> {
        let answer = self.call_file(Method::POST, (kind, id), content, "write").await?;
        self.confirm_protection(kind, id, &answer).await
    }

    async fn remove(&self, kind: FileKind, id: &FileId) -> Result<()> {
        match self.call_file(Method::DELETE, (kind, id), Bytes::new(), "remove").await {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => result.map(drop),
        }
    }

    async fn capacity(&self) -> Result<Option<Capacity>> {
        let answer = self.extension::<CapacityAnswer>("?capacity", "measure").await?;
        Ok(answer.map(|CapacityAnswer { total_bytes, free_bytes }| Capacity { total_bytes, free_bytes }))
    }

    fn protection_policy(&self) -> Option<ProtectionPolicy> {
        // Whoever administers the server can lift it there; nobody can through the network.
        self.policy()
            .map(|policy| ProtectionPolicy { mode: ProtectionMode::Governance, window: policy.window })
    }

    async fn protection(&self, kind: FileKind, id: &FileId) -> Result<Option<Protection>> {
        if self.policy().is_none() {
            return Ok(None);
        }
        let operation = "look up the protection of";
        let path = format!("{}?protection", path_of(kind, id));
        let answer = self.call(Method::GET, &path, Bytes::new(), operation).await;
        protection_of(&answer.map_err(|error| error.with_file(kind, id))?, operation)
    }

    async fn extend_protection(
        &self,
        kind: FileKind,
        id: &FileId,
        until: SystemTime,
    ) -> Result<Option<Protection>> {
        if self.policy().is_none() {
            return Ok(None);
        }
        let refuse = |_| Error::new(ErrorKind::Other, "protect", "there is no such time").with_file(kind, id);
        let until = jiff::Timestamp::try_from(until).map_err(refuse)?;
        let wanted = ProtectionAnswer { protected_until: Some(until.to_string()) };
        let wanted = serde_json::to_vec(&wanted).map_err(|_| not_understood("protect"))?;
        let path = format!("{}?protection", path_of(kind, id));
        let answer = self.call(Method::PUT, &path, wanted.into(), "protect").await;
        protection_of(&answer.map_err(|error| error.with_file(kind, id))?, "protect")
    }
}

fn protection_of(answer: &Answer, operation: &'static str) -> Result<Option<Protection>> {
    let answer: ProtectionAnswer =
        serde_json::from_slice(&answer.body).map_err(|error| not_understood(operation).with_source(error))?;
    let Some(until) = answer.protected_until else { return Ok(None) };
    let until = parse_time(&until).ok_or_else(|| not_understood(operation))?;
    Ok(Some(Protection { mode: ProtectionMode::Governance, until }))
}

fn not_understood(operation: &'static str) -> Error {
    Error::new(ErrorKind::Other, operation, "the answer of the server is not understood")
}

fn directory(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Config => "config",
        FileKind::Key => "keys",
        FileKind::Lock => "locks",
        FileKind::Index => "index",
        FileKind::Snapshot => "snapshots",
        FileKind::Pack => "data",
    }
}

fn path_of(kind: FileKind, id: &FileId) -> String {
    match kind {
        FileKind::Config => "config".into(),
        _ => format!("{}/{id}", directory(kind)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers as it is told, one connection after the other.
    async fn server(answers: Vec<String>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/vault/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let _ = stream.read(&mut [0; 4096]).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        url
    }

    fn answer(status: &str, headers: &str, body: &str) -> String {
        let length = body.len();
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}")
    }

    fn policy(days: u64, time: SystemTime) -> String {
        let time = jiff::Timestamp::try_from(time).unwrap();
        answer("200 OK", "", &format!(r#"{{"windowSeconds":{},"time":"{time}"}}"#, days * 86_400))
    }

    fn taken(until: SystemTime) -> String {
        let until = jiff::Timestamp::try_from(until).unwrap();
        answer("200 OK", &format!("{PROTECTED_UNTIL}: {until}\r\n"), "")
    }

    async fn open(answers: Vec<String>) -> Result<RestStorage> {
        let url = server(answers).await;
        let options =
            RestOptions { url: &url, username: "hub", password: "secret", certificate_sha256: None };
        RestStorage::open(options).await
    }

    const DAY: Duration = Duration::from_hours(24);

    #[tokio::test]
    async fn a_server_that_knows_no_policy_protects_nothing_and_one_that_has_trouble_is_an_error() {
        for other in ["404 Not Found", "405 Method Not Allowed", "400 Bad Request"] {
            let storage = open(vec![answer(other, "", "")]).await.unwrap();
            assert!(storage.protection_policy().is_none(), "{other}");
        }
        let listing = open(vec![answer("200 OK", "", "[]")]).await.unwrap();
        assert!(listing.protection_policy().is_none());
        for trouble in ["500 Internal Server Error", "413 Payload Too Large", "418 I'm a teapot"] {
            assert_eq!(
                open(vec![answer(trouble, "", "")]).await.unwrap_err().kind(),
                ErrorKind::Other,
                "{trouble}"
            );
        }
        let garbled = open(vec![answer("200 OK", "", r#"{"window":"#)]).await;
        assert_eq!(garbled.unwrap_err().kind(), ErrorKind::Other);
        let storage = open(vec![answer("404 Not Found", "", ""), answer("500 Oh", "", "")]).await.unwrap();
        assert!(storage.capacity().await.is_err(), "a reserve must not be forgotten silently");
    }

    #[tokio::test]
    async fn a_protection_counts_from_now_on_and_not_from_when_we_connected() {
        let now = SystemTime::now();
        let (id, content) = (FileId::CONFIG, Bytes::from_static(b"x"));
        let answers = vec![policy(7, now), taken(now + 7 * DAY), taken(now + DAY), policy(7, now)];
        let storage = open(answers).await.unwrap();
        storage.write(FileKind::Pack, &id, content.clone()).await.unwrap();
        let error = storage.write(FileKind::Pack, &id, content.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ObjectLockMissing);

        // Connected ten days ago.
        let storage = open(vec![policy(7, now), taken(now + DAY), policy(7, now)]).await.unwrap();
        let ten_days_ago = Policy { window: 7 * DAY, time: now - 10 * DAY, asked_at: now - 10 * DAY };
        *storage.policy.lock().unwrap() = Some(ten_days_ago);
        assert!(storage.write(FileKind::Pack, &id, content).await.is_err());
    }

    #[tokio::test]
    async fn a_window_that_was_changed_meanwhile_is_learned() {
        let now = SystemTime::now();
        for days in [30, 2] {
            let answers = vec![policy(7, now), taken(now + days * DAY), policy(days.into(), now)];
            let storage = open(answers).await.unwrap();
            storage.write(FileKind::Pack, &FileId::CONFIG, Bytes::from_static(b"x")).await.unwrap();
            assert_eq!(storage.protection_policy().unwrap().window, days * DAY);
        }
    }
}
