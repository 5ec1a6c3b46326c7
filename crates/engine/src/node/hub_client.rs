//! The Node's requests to the data plane, and the one layer that repeats them.

use std::error::Error as StdError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use sendense_tls_pin::{CertificatePin, is_certificate_failure};
use tokio::time::{Instant, sleep};
use zeroize::Zeroizing;

use super::upload_body::UploadBody;
use crate::tls;
use crate::wire::{
    self, Accepted, Answer, BINARY_TYPE, ChunksHeader, Finish, Finished, FrameHeader, JSON_TYPE, LATE_TYPE,
    LateAnswer, Malformed, Offer, Open, Opened, PATIENCE_HEADER, Problem,
};
use crate::{Code, Error, Result};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Answers are small; a longer one is not ours.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Where a capture is sent to.
#[derive(Clone)]
pub struct Target {
    /// Name or address of the Hub.
    pub host: String,
    /// Port of its data plane.
    pub port: u16,
    /// The one certificate that is trusted.
    pub certificate: CertificatePin,
    /// The session.
    pub capture_id: String,
    /// Its ticket.
    pub ticket: Zeroizing<String>,
    /// How long the Hub may be away.
    pub grace: Duration,
    /// How long a request may go without a sign of life. One that waits for its storage gives some.
    pub patience: Duration,
}

impl Target {
    /// The usual grace: a Hub that is restarted is back by then.
    pub const GRACE: Duration = Duration::from_mins(1);
    /// The usual patience: longer than a Hub with a low rate limit pauses.
    pub const PATIENCE: Duration = Duration::from_mins(1);
}

/// A frame ready to be sent.
#[derive(Clone)]
pub(crate) struct Frame {
    pub(crate) header: FrameHeader,
    pub(crate) payload: Bytes,
}

/// Talks to the Hub about one disk. Connections are kept and shared by concurrent requests.
pub(crate) struct HubClient {
    http: Client<HttpsConnector<HttpConnector>, UploadBody>,
    authority: String,
    capture_id: String,
    disk_key: String,
    authorization: HeaderValue,
    grace: Duration,
    patience: Duration,
}

impl HubClient {
    /// # Errors
    /// [`Error::Request`] if target or disk key cannot stand in a request.
    pub(crate) fn new(target: &Target, disk_key: &str) -> Result<Self> {
        if !wire::is_name(&target.capture_id) || !wire::is_name(disk_key) {
            return Err(Error::Request("The capture id or the disk key is not a name".into()));
        }
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", *target.ticket))
            .map_err(|_| Error::Request("The ticket is not text".into()))?;
        authorization.set_sensitive(true);
        Ok(Self {
            http: connections(target.certificate)?,
            authority: authority(&target.host, target.port),
            capture_id: target.capture_id.clone(),
            disk_key: disk_key.to_owned(),
            authorization,
            grace: target.grace,
            patience: target.patience,
        })
    }

    /// Begins an attempt.
    pub(crate) async fn open(&self, open: &Open) -> Result<Opened> {
        from_json(&self.request("open", JSON_TYPE, &[to_json(open)?]).await?)
    }

    /// Asks which chunks are missing.
    pub(crate) async fn offer(&self, offer: &Offer) -> Result<Answer> {
        let answer = self.request("offer", BINARY_TYPE, &[offer.encode()]).await?;
        Ok(Answer::decode(&answer, offer.entries.len())?)
    }

    /// Sends chunks; they are stored when this returns.
    pub(crate) async fn send_chunks(&self, attempt: u32, frames: &[Frame]) -> Result<Accepted> {
        let count = u32::try_from(frames.len()).map_err(|_| Error::Internal("Too many frames".into()))?;
        let header = ChunksHeader { attempt, frames: count }.encode();
        let frames = frames.iter().flat_map(|frame| [frame.header.encode(), frame.payload.clone()]);
        let pieces: Vec<_> = std::iter::once(header).chain(frames).collect();
        from_json(&self.request("chunks", BINARY_TYPE, &pieces).await?)
    }

    /// Ends the attempt.
    pub(crate) async fn finish(&self, finish: &Finish) -> Result<Finished> {
        from_json(&self.request("finish", JSON_TYPE, &[to_json(finish)?]).await?)
    }

    /// One request of the protocol, repeated while it fails for reasons that may pass.
    async fn request(&self, operation: &str, content_type: &'static str, pieces: &[Bytes]) -> Result<Bytes> {
        let mut first_failure = None;
        let mut pause = PAUSE_MIN;
        loop {
            let moves = Moves::default();
            let source = match self.attempt(operation, content_type, pieces, &moves).await {
                Ok(answer) => return Ok(answer),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Temporary(source)) => source,
            };
            if moves.has_sign_of_life() {
                // The Hub was there a moment ago, however long before that it was away.
                (first_failure, pause) = (None, PAUSE_MIN);
            }
            let since = *first_failure.get_or_insert_with(Instant::now);
            if since.elapsed() + pause > self.grace {
                return Err(Error::HubUnreachable { seconds: self.grace.as_secs(), source: Some(source) });
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn attempt(
        &self,
        operation: &str,
        content_type: &'static str,
        pieces: &[Bytes],
        moves: &Moves,
    ) -> Result<Bytes, Failure> {
        let path = wire::disk_path(&self.capture_id, &self.disk_key, operation);
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("https://{}{path}", self.authority))
            .header(AUTHORIZATION, self.authorization.clone())
            .header(CONTENT_TYPE, content_type)
            .header(PATIENCE_HEADER, self.patience.as_millis().to_string())
            .body(UploadBody::new(pieces, Arc::clone(&moves.pieces)))
            .map_err(|error| Error::Request(format!("The Hub's address is not valid: {error}")))?;
        let exchange = async {
            let response = self.http.request(request).await.map_err(Failure::of_connection)?;
            read_answer(response, moves).await
        };
        tokio::select! {
            answer = exchange => answer,
            () = stalled(moves, self.patience) => Err(Failure::Temporary("The connection is silent".into())),
        }
    }
}

/// What an attempt has moved.
#[derive(Default)]
struct Moves {
    /// Pieces of the request and of the answer.
    pieces: Arc<AtomicU64>,
    is_late: AtomicBool,
}

impl Moves {
    /// Whether the Hub itself has said that it lives. Something before it answers too while it is away, but not so.
    fn has_sign_of_life(&self) -> bool {
        self.is_late.load(Ordering::Relaxed)
    }
}

/// Why one attempt failed.
enum Failure {
    Final(Error),
    Temporary(Box<dyn StdError + Send + Sync>),
}

impl Failure {
    /// Whatever happens to a connection may pass, except that it leads to somebody else.
    fn of_connection(error: hyper_util::client::legacy::Error) -> Self {
        if is_certificate_failure(&error) {
            Self::Final(Error::HubCertificate)
        } else {
            Self::Temporary(error.into())
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

/// The whole answer. What arrives of it is counted.
async fn read_answer(response: Response<Incoming>, moves: &Moves) -> Result<Bytes, Failure> {
    let status = response.status();
    let is_late = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == LATE_TYPE);
    let body = response.into_body().map_frame(|frame| {
        moves.pieces.fetch_add(1, Ordering::Relaxed);
        moves.is_late.store(is_late, Ordering::Relaxed);
        frame
    });
    let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(Failure::Temporary)?.to_bytes();
    let (status, body) = if is_late { late_answer(&body)? } else { (status, body) };
    if status == StatusCode::OK {
        return Ok(body);
    }
    let problem = serde_json::from_slice::<Problem>(&body).ok();
    let code = problem.as_ref().and_then(|problem| Code::from_text(&problem.code));
    match (code, status) {
        // The Hub has spoken: what could be repeated, it has repeated itself.
        (Some(code), _) => Err(Failure::Final(Error::protocol(
            code,
            problem.map(|problem| problem.detail).unwrap_or_default(),
        ))),
        (None, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT) => {
            Err(Failure::Temporary(format!("Something before the Hub answered {status}").into()))
        }
        (None, _) => Err(Failure::Final(Error::Internal(format!("The Hub answered {status}")))),
    }
}

/// The answer behind the signs of life. They may also be all that the Hub could still say.
fn late_answer(body: &Bytes) -> Result<(StatusCode, Bytes), Failure> {
    let temporary = |malformed: Malformed| Failure::Temporary(malformed.into());
    let LateAnswer { status, body } = LateAnswer::decode(body).map_err(temporary)?;
    let status = StatusCode::from_u16(status).map_err(|_| temporary(Malformed::Field("late answer")))?;
    Ok((status, body))
}

/// Returns when a request has not moved for so long.
async fn stalled(moves: &Moves, patience: Duration) {
    let mut before = u64::MAX;
    loop {
        let now = moves.pieces.load(Ordering::Relaxed);
        if now == before {
            return;
        }
        before = now;
        sleep(patience).await;
    }
}

fn connections(certificate: CertificatePin) -> Result<Client<HttpsConnector<HttpConnector>, UploadBody>> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_keepalive(Some(Duration::from_secs(30)));
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls::client_config(certificate)?)
        .https_only()
        .enable_http1()
        .wrap_connector(tcp);
    Ok(Client::builder(TokioExecutor::new()).pool_idle_timeout(Duration::from_secs(30)).build(connector))
}

/// `host:port`, with brackets around an IPv6 address.
fn authority(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

fn to_json(message: &impl serde::Serialize) -> Result<Bytes> {
    let text = serde_json::to_vec(message).map_err(|error| Error::Internal(error.to_string()))?;
    Ok(text.into())
}

fn from_json<T: serde::de::DeserializeOwned>(answer: &[u8]) -> Result<T> {
    serde_json::from_slice(answer).map_err(|_| Malformed::Field("answer").into())
}
