//! One request, one answer, and what an answer means when it is no.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, RANGE};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::tls;
use sendense_storage::{Error, ErrorKind, FileId, FileKind, Result};
use sendense_tls_pin::is_certificate_failure;

pub(crate) const LIST_V2: &str = "application/vnd.x.restic.rest.v2";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The server closes a connection that rests for a minute.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
const PROBLEM_BYTES_MAX: usize = 64 << 10;

/// Connections to one repository, with the credential for it.
pub(crate) struct Connection {
    http: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// Scheme, host and path, with a slash at the end.
    base: String,
    authorization: HeaderValue,
}

/// What an answer of success holds.
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// A request on its way.
pub(crate) struct Call<'a> {
    pub(crate) method: Method,
    /// Below the repository; begins without a slash.
    pub(crate) path: &'a str,
    pub(crate) body: Bytes,
    pub(crate) range: Option<String>,
    /// A longer answer is not read.
    pub(crate) answer_bytes_max: usize,
    /// Completes "Cannot …".
    pub(crate) operation: &'static str,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Problem {
    code: String,
    detail: String,
    protected_until: Option<String>,
}

impl Connection {
    pub(crate) fn new(url: &str, username: &str, password: &str, pin: Option<[u8; 32]>) -> Result<Self> {
        let refuse = |why: &str| Error::new(ErrorKind::Other, "connect", why);
        let uri: Uri = url.parse().map_err(|_| refuse("the address is not a URL"))?;
        let host = uri.host().ok_or_else(|| refuse("the address names no host"))?;
        if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(refuse("name and password do not belong into the address"));
        }
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") if is_loopback(host) => {}
            _ => return Err(refuse("the address must begin with https://")),
        }
        if uri.query().is_some() || !uri.path().bytes().all(|byte| byte.is_ascii_graphic() && byte != b'%') {
            return Err(refuse("the address has characters that no path of a repository has"));
        }
        let pair = Zeroizing::new(format!("{username}:{password}"));
        let basic = Zeroizing::new(format!("Basic {}", STANDARD.encode(&*pair)));
        let mut authorization =
            HeaderValue::from_str(&basic).map_err(|_| refuse("the password is not text"))?;
        authorization.set_sensitive(true);
        let slash = if url.ends_with('/') { "" } else { "/" };
        Ok(Self { http: client(pin)?, base: format!("{url}{slash}"), authorization })
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Sends a request and reads the answer. Whatever is not success is an error.
    pub(crate) async fn call(&self, call: Call<'_>) -> Result<Answer> {
        let operation = call.operation;
        let answer = self.send(call).await?;
        answer.map_err(|(status, problem)| of_answer(operation, status, &problem))
    }

    /// Asks something that not every server knows: `None` from one that does not. Trouble is an error as ever.
    pub(crate) async fn ask(&self, call: Call<'_>) -> Result<Option<Answer>> {
        let operation = call.operation;
        match self.send(call).await? {
            Ok(answer) => Ok(Some(answer)),
            Err((StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED, _)) => {
                Ok(None)
            }
            Err((status, problem)) => Err(of_answer(operation, status, &problem)),
        }
    }

    async fn send(&self, call: Call<'_>) -> Result<Result<Answer, (StatusCode, Problem)>> {
        let operation = call.operation;
        let mut request = Request::builder()
            .method(call.method)
            .uri(format!("{}{}", self.base, call.path))
            .header(AUTHORIZATION, &self.authorization)
            .header(ACCEPT, LIST_V2);
        if let Some(range) = call.range {
            request = request.header(RANGE, range);
        }
        let request = request.body(Full::new(call.body)).map_err(|error| {
            Error::new(ErrorKind::Other, operation, "the address is not valid").with_source(error)
        })?;
        let response = self.http.request(request).await.map_err(|error| of_connection(operation, error))?;
        let (head, body) = response.into_parts();
        let is_success = matches!(head.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT);
        let bytes_max = if is_success { call.answer_bytes_max } else { PROBLEM_BYTES_MAX };
        let body = Limited::new(body, bytes_max).collect().await;
        if is_success {
            let body = body.map_err(|error| {
                let broken = "the connection broke off in the middle of the answer";
                Error::new(ErrorKind::Unreachable, operation, broken).with_source(error)
            })?;
            return Ok(Ok(Answer { headers: head.headers, body: body.to_bytes() }));
        }
        let text = body.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        Ok(Err((head.status, serde_json::from_slice(&text).unwrap_or_default())))
    }
}

fn client(pin: Option<[u8; 32]>) -> Result<Client<HttpsConnector<HttpConnector>, Full<Bytes>>> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_keepalive(Some(Duration::from_secs(30)));
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls::client_config(pin)?)
        .https_or_http()
        .enable_http1()
        .wrap_connector(tcp);
    Ok(Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(IDLE_TIMEOUT)
        .build(connector))
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn of_connection(operation: &'static str, error: hyper_util::client::legacy::Error) -> Error {
    if is_certificate_failure(&error) {
        let untrusted = "the certificate of the server is not the one that is trusted";
        Error::new(ErrorKind::CertificateUntrusted, operation, untrusted).with_source(error)
    } else {
        let unreachable =
            if error.is_connect() { "there is no connection" } else { "the connection broke off" };
        Error::new(ErrorKind::Unreachable, operation, unreachable).with_source(error)
    }
}

fn of_answer(operation: &'static str, status: StatusCode, problem: &Problem) -> Error {
    let kind = match (status.as_u16(), problem.code.as_str()) {
        (409, "protected") => {
            if let Some(until) = problem.protected_until.as_deref().and_then(parse_time) {
                return Error::protected(FileKind::Config, &FileId::CONFIG, until);
            }
            ErrorKind::Protected
        }
        (409, "file-exists") => ErrorKind::AlreadyExists,
        (401, _) => ErrorKind::CredentialsWrong,
        (403, _) => ErrorKind::PermissionDenied,
        (404, _) => ErrorKind::NotFound,
        (416, _) | (500, "damaged") => ErrorKind::Damaged,
        (507, _) => ErrorKind::NoSpace,
        (408 | 429 | 502 | 503 | 504, _) => ErrorKind::Timeout,
        _ => ErrorKind::Other,
    };
    let words = if problem.detail.is_empty() { String::new() } else { format!(": {}", problem.detail) };
    let error = Error::new(kind, operation, format!("the server answered {status}{words}"));
    // What was changed on its way can be sent again.
    if problem.code == "hash-mismatch" { error.temporary() } else { error }
}

pub(crate) fn parse_time(text: &str) -> Option<SystemTime> {
    text.parse::<jiff::Timestamp>().ok().and_then(|time| SystemTime::try_from(time).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(url: &str) -> Option<String> {
        Connection::new(url, "hub", "secret", Some([0; 32])).err().map(|error| error.to_string())
    }

    #[test]
    fn a_password_is_sent_over_tls_or_loopback_only_and_never_stands_in_the_address() {
        for url in ["https://backup.example/vault", "http://127.0.0.1:8420/vault/", "http://[::1]:1/v"] {
            assert_eq!(refusal(url), None, "{url}");
        }
        for url in [
            "http://backup.example/vault",
            "http://127.0.0.1.example/vault",
            "https://hub:secret@backup.example/vault",
            "ftp://backup.example/vault",
            "backup.example",
            "https://backup.example/vault?x=1",
            "https://backup.example/%2e%2e/vault",
        ] {
            let words = refusal(url).expect(url);
            assert!(!words.contains("secret"), "{words}");
        }
    }

    #[test]
    fn a_refusal_says_until_when() {
        let problem = Problem {
            code: "protected".into(),
            protected_until: Some("2027-01-15T08:00:00Z".into()),
            ..Problem::default()
        };
        let error = of_answer("remove", StatusCode::CONFLICT, &problem);
        assert_eq!(error.kind(), ErrorKind::Protected);
        let until = SystemTime::UNIX_EPOCH + Duration::from_hours(500_000);
        assert_eq!(error.protected_until(), Some(until));
    }
}
