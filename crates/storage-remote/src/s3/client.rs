//! Requests to one bucket: building, signing, sending, and what the refusals mean.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use sendense_storage::{Error, ErrorKind, Result};
use sha2::{Digest, Sha256};

use super::S3Settings;
use super::sign::{Signed, Signer, amz_date};
use crate::http::{Answer, Endpoint, HttpClient, encode};
use crate::xml::Element;

/// The SHA-256 of nothing.
const EMPTY_HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// One request, before it is signed.
#[derive(Debug, Default)]
pub(super) struct Call<'a> {
    pub(super) method: &'static str,
    /// Empty for the bucket itself.
    pub(super) key: &'a str,
    /// Not encoded, in any order.
    pub(super) query: Vec<(&'static str, &'a str)>,
    /// With names in lower case.
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
}

/// An answer, successful or not.
pub(super) struct Outcome {
    pub(super) answer: Answer,
    /// The error code of S3 where it is a refusal; empty if the body has none.
    pub(super) refusal: Option<String>,
    message: String,
}

/// One bucket of one server.
#[derive(Debug)]
pub(super) struct Client {
    http: HttpClient,
    /// With the bucket, where that is part of the host.
    endpoint: Endpoint,
    /// The bucket as part of the path, or nothing.
    bucket_path: String,
    signer: Signer,
    clock: fn() -> SystemTime,
}

impl Client {
    pub(super) fn new(settings: &S3Settings) -> Result<Self> {
        let endpoint = Endpoint::parse(&settings.endpoint)?;
        let bucket = &settings.bucket;
        let (endpoint, bucket_path) = if settings.virtual_hosted {
            (endpoint.below_host(bucket), String::new())
        } else {
            (endpoint, format!("/{bucket}"))
        };
        let signer = Signer {
            access_key_id: settings.access_key_id.clone(),
            secret_access_key: settings.secret_access_key.clone(),
            region: settings.region.clone(),
        };
        let http = HttpClient::new(settings.ca_pem.as_deref())?;
        Ok(Self { http, endpoint, bucket_path, signer, clock: settings.clock })
    }

    pub(super) fn now(&self) -> SystemTime {
        (self.clock)()
    }

    /// Sends a request; refusals are no errors yet.
    pub(super) async fn send(&self, operation: &'static str, call: Call<'_>) -> Result<Outcome> {
        let request = self.sign(call).map_err(|error| {
            Error::new(ErrorKind::Other, operation, "its address or key cannot be sent").with_source(error)
        })?;
        let answer = self.http.send(operation, request).await?;
        let is_success = answer.status.is_success();
        let error = (!is_success).then(|| Element::parse(&answer.body)).flatten();
        let text = |name| error.as_ref().and_then(|error| error.text_of(name)).unwrap_or_default().to_owned();
        let (code, message) = (text("Code"), text("Message"));
        Ok(Outcome { answer, refusal: (!is_success).then_some(code), message })
    }

    /// Sends a request; a refusal is an error.
    pub(super) async fn ask(&self, operation: &'static str, call: Call<'_>) -> Result<Answer> {
        self.send(operation, call).await?.accepted(operation)
    }

    /// The same, for an answer in XML.
    pub(super) async fn ask_xml(&self, operation: &'static str, call: Call<'_>) -> Result<Element> {
        parse_xml(operation, &self.ask(operation, call).await?)
    }

    fn sign(&self, call: Call<'_>) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let Call { method, key, query, mut headers, body } = call;
        let path =
            if key.is_empty() { self.bucket_path.clone() } else { format!("{}/{key}", self.bucket_path) };
        let path = self.endpoint.path(if path.is_empty() { "/" } else { &path });
        let mut query: Vec<_> =
            query.into_iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        query.sort_unstable();
        let query = query.join("&");
        let now = self.now();
        let hash = if body.is_empty() { EMPTY_HASH.into() } else { self.add_checksum(&body, &mut headers) };
        headers.push(("host", self.endpoint.authority().into()));
        headers.push(("x-amz-content-sha256", hash.clone()));
        headers.push(("x-amz-date", amz_date(now)));
        headers.sort_unstable();
        let signed: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let signed = Signed { method, path: &path, query: &query, headers: &signed, body_hash: &hash };
        let authorization = self.signer.authorization(&signed, now);
        let mut request = Request::builder().method(method).uri(self.endpoint.uri(&path, &query));
        for (name, value) in &headers {
            request = request.header(*name, value);
        }
        request.header("authorization", authorization).body(Full::new(body))
    }

    /// The server compares the body with this before it stores it; with object lock it insists on such a header.
    #[allow(clippy::unused_self, reason = "a part of signing")]
    fn add_checksum(&self, body: &[u8], headers: &mut Vec<(&'static str, String)>) -> String {
        let hash = Sha256::digest(body);
        headers.push(("x-amz-checksum-sha256", BASE64.encode(hash)));
        hex::encode(hash)
    }
}

pub(super) fn parse_xml(operation: &'static str, answer: &Answer) -> Result<Element> {
    Element::parse(&answer.body).ok_or_else(|| {
        Error::new(ErrorKind::Other, operation, "the answer of the server is not whole").temporary()
    })
}

impl Outcome {
    pub(super) fn is_refused_with(&self, codes: &[&str]) -> bool {
        self.refusal.as_deref().is_some_and(|code| codes.contains(&code))
    }

    /// The answer, or the error that the refusal means.
    pub(super) fn accepted(self, operation: &'static str) -> Result<Answer> {
        if self.refusal.is_some() { Err(self.error(operation)) } else { Ok(self.answer) }
    }

    /// What a refusal means.
    pub(super) fn error(&self, operation: &'static str) -> Error {
        let code = self.refusal.as_deref().unwrap_or_default();
        let status = self.answer.status.as_u16();
        let (kind, words) = meaning(code, status);
        let detail = match (code, self.message.as_str()) {
            ("", _) => format!("{words} (status {status})"),
            (code, "") => format!("{words} ({code})"),
            (code, message) => format!("{words} ({code}: {message})"),
        };
        let error = Error::new(kind, operation, detail);
        let is_busy = matches!(status, 429 | 500 | 502 | 503 | 504)
            || matches!(code, "SlowDown" | "OperationAborted" | "ConditionalRequestConflict" | "BadDigest");
        if is_busy && kind == ErrorKind::Other { error.temporary() } else { error }
    }
}

fn meaning(code: &str, status: u16) -> (ErrorKind, &'static str) {
    match (code, status) {
        ("NoSuchBucket", _) => (ErrorKind::ContainerMissing, "the bucket does not exist"),
        ("NoSuchKey" | "NoSuchVersion", _) | ("" | "NotFound", 404) => {
            (ErrorKind::NotFound, "it does not exist")
        }
        (
            "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "InvalidToken"
            | "ExpiredToken"
            | "InvalidSecurity"
            | "AuthorizationHeaderMalformed",
            _,
        )
        | ("", 401) => (ErrorKind::CredentialsWrong, "the server does not accept the access key"),
        ("RequestTimeTooSkewed" | "RequestExpired", _) => {
            (ErrorKind::ClockSkewed, "the clocks of this machine and of the server are too far apart")
        }
        ("RequestTimeout", _) | (_, 408) => {
            (ErrorKind::Timeout, "the server waited too long for the request")
        }
        ("QuotaExceeded" | "XMinioStorageFull" | "InsufficientStorage", _) | (_, 507) => {
            (ErrorKind::NoSpace, "there is no room left")
        }
        (_, 403) | ("MethodNotAllowed", _) => {
            (ErrorKind::PermissionDenied, "the access key lacks the permission")
        }
        _ => (ErrorKind::Other, "the server refuses it"),
    }
}
