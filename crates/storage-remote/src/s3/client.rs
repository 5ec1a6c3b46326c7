//! Requests to one bucket: building, signing, sending, and what the refusals mean.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use sendense_storage::{ErrorKind, Result};
use sha2::{Digest, Sha256};

use super::S3Settings;
use super::sign::{Signed, Signer, amz_date};
use crate::call::{Call, Meaning, Outcome, parse_xml};
use crate::http::{Answer, Endpoint, HttpClient, encode};
use crate::xml::Element;

/// The SHA-256 of nothing.
const EMPTY_HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

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
        Ok(Outcome::of(self.http.send(operation, self.sign(call)).await?, meaning))
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

/// What the codes of S3 mean.
fn meaning(code: &str, status: u16) -> Meaning {
    let (kind, words) = kind_and_words(code, status);
    let is_busy = matches!(status, 429 | 500 | 502 | 503 | 504)
        || matches!(code, "SlowDown" | "OperationAborted" | "ConditionalRequestConflict" | "BadDigest");
    Meaning { kind, words, is_temporary: is_busy && kind == ErrorKind::Other }
}

fn kind_and_words(code: &str, status: u16) -> (ErrorKind, &'static str) {
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
