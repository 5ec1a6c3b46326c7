//! The HTTP client of the object stores.

mod endpoint;
mod fault;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::header::HeaderMap;
use hyper::{Request, StatusCode};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sendense_storage::{Error, ErrorKind, Result};

pub(crate) use endpoint::{Endpoint, encode};
use fault::{from_body, from_connection};

/// A server that does not even accept a connection for so long is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that was idle for longer may have been dropped by something in between.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// No file of a repository and no page of a listing is larger.
const ANSWER_BYTES_MAX: usize = 1 << 30;

/// A pool of connections to one server.
#[derive(Clone, Debug)]
pub(crate) struct HttpClient(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

/// A whole answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    /// A header that consists of text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// When the server sent it, by its own clock.
    pub(crate) fn date(&self) -> Option<SystemTime> {
        let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(self.header("date")?).ok()?;
        date.try_into().ok()
    }
}

impl HttpClient {
    /// A client that trusts the given authorities (PEM), or those of the machine.
    pub(crate) fn new(ca_pem: Option<&str>) -> Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::new(ErrorKind::Other, "open", "TLS cannot be set up").with_source(error))?
            .with_root_certificates(authorities(ca_pem)?)
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        tcp.set_nodelay(true);
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(connector);
        Ok(Self(client))
    }

    /// Sends a request, if it could be built, and waits for the whole answer. Only failures of the connection are
    /// errors here.
    pub(crate) async fn send(
        &self,
        operation: &'static str,
        request: Result<Request<Full<Bytes>>, hyper::http::Error>,
    ) -> Result<Answer> {
        let request = request.map_err(|error| {
            Error::new(ErrorKind::Other, operation, "its address or key cannot be sent").with_source(error)
        })?;
        let answer = self.0.request(request).await.map_err(|error| from_connection(operation, error))?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| from_body(operation, error))?.to_bytes();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }
}

fn authorities(ca_pem: Option<&str>) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    let Some(pem) = ca_pem else {
        // What cannot be read is left out: a server of such an authority is then not trusted.
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(store);
    };
    let invalid = |error: Box<dyn std::error::Error + Send + Sync>| {
        let message = "the certificates of the authorities cannot be read";
        Error::new(ErrorKind::CertificateUntrusted, "open", message).with_source(error)
    };
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        store
            .add(certificate.map_err(|error| invalid(error.into()))?)
            .map_err(|error| invalid(error.into()))?;
    }
    if store.is_empty() {
        return Err(invalid("there is none".into()));
    }
    Ok(store)
}
