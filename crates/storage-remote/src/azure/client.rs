//! Requests to one container: building, signing, sending, and what the refusals mean.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use sendense_storage::{Error, ErrorKind, Result};

use super::AzureSettings;
use super::sign::{Signed, Signer, ms_date};
use crate::call::{Call, Meaning, Outcome, parse_xml};
use crate::http::{Answer, Endpoint, HttpClient, encode};
use crate::place_probe::difference_ms;
use crate::xml::Element;

/// The version of the protocol. Since 2019-12-12 one `PUT` takes up to 5,000 MiB, and since 2015-02-21 a length of
/// zero is signed as nothing.
const VERSION: &str = "2023-11-03";

/// Azure refuses what was signed longer ago.
const SKEW_MAX: Duration = Duration::from_mins(15);

/// One container of one account.
#[derive(Debug)]
pub(super) struct Client {
    http: HttpClient,
    endpoint: Endpoint,
    /// As a path.
    container: String,
    signer: Signer,
    clock: fn() -> SystemTime,
}

impl Client {
    pub(super) fn new(settings: &AzureSettings) -> Result<Self> {
        Ok(Self {
            http: HttpClient::new(settings.ca_pem.as_deref())?,
            endpoint: Endpoint::parse(&settings.endpoint())?,
            container: format!("/{}", settings.container),
            signer: Signer::new(&settings.account, &settings.account_key)?,
            clock: settings.clock,
        })
    }

    pub(super) fn now(&self) -> SystemTime {
        (self.clock)()
    }

    /// Sends a request; refusals are no errors yet, but for those that are about who we are.
    pub(super) async fn send(&self, operation: &'static str, call: Call<'_>) -> Result<Outcome> {
        let outcome = Outcome::of(self.http.send(operation, self.sign(call)).await?, meaning);
        match self.stranger(operation, &outcome) {
            Some(error) => Err(error),
            None => Ok(outcome),
        }
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
        let Call { method, key, mut query, mut headers, body } = call;
        let slash = if key.is_empty() { "" } else { "/" };
        let path = self.endpoint.path(&format!("{}{slash}{key}", self.container));
        query.sort_unstable();
        headers.push(("x-ms-date", ms_date(self.now())));
        headers.push(("x-ms-version", VERSION.into()));
        headers.sort_unstable();
        let signed = Signed { method, path: &path, query: &query, headers: &headers, body_bytes: body.len() };
        let authorization = self.signer.authorization(&signed);
        let query: Vec<_> =
            query.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        let mut request = Request::builder().method(method).uri(self.endpoint.uri(&path, &query.join("&")));
        for (name, value) in &headers {
            request = request.header(*name, value);
        }
        request.header("authorization", authorization).body(Full::new(body))
    }

    /// Why the server does not accept who we say we are: one code stands for a wrong key and for a wrong clock.
    fn stranger(&self, operation: &'static str, outcome: &Outcome) -> Option<Error> {
        // Azurite says the second of a wrong signature, Azure of an address that its network rules keep out.
        let is_wrong_key = outcome.is_refused_with(&["AuthenticationFailed"])
            || outcome.is_refused_with(&["AuthorizationFailure"]) && outcome.message().contains("signature");
        if !is_wrong_key {
            return None;
        }
        let skew_ms = outcome.answer.date().map(|date| difference_ms(date, self.now()).unsigned_abs());
        let (kind, words) = if skew_ms.is_some_and(|skew_ms| Duration::from_millis(skew_ms) >= SKEW_MAX) {
            (ErrorKind::ClockSkewed, "the clocks of this machine and of the server are too far apart")
        } else {
            (ErrorKind::CredentialsWrong, "the server does not accept the key of the account")
        };
        Some(Error::new(kind, operation, format!("{words} ({})", outcome.message())))
    }
}

/// What the codes of Azure mean.
fn meaning(code: &str, status: u16) -> Meaning {
    let (kind, words) = match (code, status) {
        ("ContainerNotFound" | "ContainerBeingDeleted" | "ContainerDisabled" | "ResourceNotFound", _) => {
            (ErrorKind::ContainerMissing, "the account or the container does not exist")
        }
        ("BlobNotFound", _) | ("", 404) => (ErrorKind::NotFound, "it does not exist"),
        ("InvalidAuthenticationInfo" | "NoAuthenticationInformation" | "AccountIsDisabled", _)
        | ("", 401) => (ErrorKind::CredentialsWrong, "the server does not accept the account"),
        ("BlobImmutableDueToPolicy" | "BlobImmutableDueToLegalHold", _) => {
            (ErrorKind::PermissionDenied, "a policy of the container keeps it")
        }
        ("OperationTimedOut", _) | (_, 408) => {
            (ErrorKind::Timeout, "the server took too long for the request")
        }
        (_, 507) => (ErrorKind::NoSpace, "there is no room left"),
        (_, 403) => (ErrorKind::PermissionDenied, "the account lacks the permission"),
        _ => (ErrorKind::Other, "the server refuses it"),
    };
    let is_busy = matches!(status, 429 | 500 | 502 | 503 | 504) && kind == ErrorKind::Other;
    Meaning { kind, words, is_temporary: is_busy || kind.is_temporary() }
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderMap, HeaderValue};
    use sendense_storage::Secret;

    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    /// The error that an answer of this code means, when our clock is ahead of the server's.
    fn error_of(code: &'static str, status: u16, message: &str, ahead: Duration) -> Error {
        let settings = AzureSettings {
            endpoint: None,
            account: "account".into(),
            account_key: Secret::new("a2V5"),
            container: "backups".into(),
            prefix: String::new(),
            ca_pem: None,
            clock: SystemTime::now,
        };
        let mut headers = HeaderMap::new();
        headers.insert("x-ms-error-code", HeaderValue::from_static(code));
        headers.insert("date", HeaderValue::from_str(&ms_date(SystemTime::now() - ahead)).unwrap());
        let body = format!("<Error><Code>{code}</Code><Message>{message}\nRequestId:1</Message></Error>");
        let answer = Answer { status: status.try_into().unwrap(), headers, body: body.into() };
        let outcome = Outcome::of(answer, meaning);
        let client = Client::new(&settings).unwrap();
        client.stranger("read", &outcome).unwrap_or_else(|| outcome.error("read"))
    }

    #[test]
    fn a_refusal_has_the_kind_that_it_means() {
        for (code, status, message, ahead, expected) in [
            (
                "AuthenticationFailed",
                403,
                "the MAC signature is not the same",
                MINUTE,
                ErrorKind::CredentialsWrong,
            ),
            ("AuthenticationFailed", 403, "the date is too old", 20 * MINUTE, ErrorKind::ClockSkewed),
            ("AuthorizationFailure", 403, "not authorized", MINUTE, ErrorKind::PermissionDenied),
            ("AuthorizationPermissionMismatch", 403, "refused", MINUTE, ErrorKind::PermissionDenied),
            ("AccountIsDisabled", 403, "refused", MINUTE, ErrorKind::CredentialsWrong),
            ("ContainerBeingDeleted", 409, "refused", MINUTE, ErrorKind::ContainerMissing),
            ("BlobImmutableDueToPolicy", 409, "refused", MINUTE, ErrorKind::PermissionDenied),
            ("OperationTimedOut", 500, "refused", MINUTE, ErrorKind::Timeout),
            ("ServerBusy", 503, "refused", MINUTE, ErrorKind::Other),
        ] {
            let error = error_of(code, status, message, ahead);
            assert_eq!(error.kind(), expected, "{code}");
            assert_eq!(error.is_temporary(), status >= 500, "{code}");
            assert!(!error.to_string().contains("RequestId"), "{error}");
        }
    }
}
