//! From a request to an operation of a session, and from its result to an answer.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

use super::answer::{Answer, AnswerBody, await_answer, sign_interval};
use super::body_reader::BodyReader;
use super::data_plane::Shared;
use super::receive::receive_chunks;
use super::session::Session;
use super::sessions::ticket_invalid;
use crate::wire::{BINARY_TYPE, JSON_BYTES_MAX, JSON_TYPE, Malformed, OFFER_BYTES_MAX, Offer, VERSION};
use crate::{Code, Error, Result};

/// What a path asks for.
struct Target {
    capture_id: String,
    disk_key: String,
    operation: Operation,
}

#[derive(Clone, Copy)]
enum Operation {
    Open,
    Offer,
    Chunks,
    Finish,
}

/// Answers a request. The operation runs as a task of its session: a connection that breaks must not leave a chunk
/// half stored.
pub(super) async fn answer(shared: &Arc<Shared>, request: Request<Incoming>) -> Response<AnswerBody> {
    let (head, body) = request.into_parts();
    match authorise(shared, &head) {
        Ok((session, target)) => match start(shared, &session, target, body) {
            Ok(operation) => await_answer(operation, sign_interval(&head.headers)).await,
            Err(error) => Answer::problem(&error).into_response(),
        },
        Err(error) => {
            BodyReader::new(body, Vec::new(), shared.closing.clone()).drain().await;
            Answer::problem(&error).into_response()
        }
    }
}

fn authorise(shared: &Shared, head: &Parts) -> Result<(Arc<Session>, Target)> {
    let target = Target::of_path(head.uri.path())?;
    let ticket = head.headers.get(AUTHORIZATION).and_then(bearer).ok_or_else(ticket_invalid)?;
    let session = shared.sessions.authorise(ticket, &target.capture_id)?;
    if head.method == Method::POST {
        Ok((session, target))
    } else {
        Err(Error::Request(format!("{} is not a method of this path", head.method)))
    }
}

fn start(
    shared: &Arc<Shared>,
    session: &Arc<Session>,
    target: Target,
    body: Incoming,
) -> Result<JoinHandle<Answer>> {
    let body = BodyReader::new(body, session.rates(), session.ending());
    session.start(serve(Arc::clone(shared), Arc::clone(session), target, body))
}

async fn serve(shared: Arc<Shared>, session: Arc<Session>, target: Target, mut body: BodyReader) -> Answer {
    match operate(&shared, &session, &target, &mut body).await {
        Ok(answer) => answer,
        Err(error) => {
            body.drain().await;
            Answer::problem(&error)
        }
    }
}

async fn operate(
    shared: &Shared,
    session: &Session,
    target: &Target,
    body: &mut BodyReader,
) -> Result<Answer> {
    let disk = session.disk(&target.disk_key)?;
    match target.operation {
        Operation::Open => {
            let open = read_json(body).await?;
            json(&session.open(&disk, &open).await?)
        }
        Operation::Offer => {
            body.limit(OFFER_BYTES_MAX)?;
            let offer = Offer::decode(&body.rest().await?)?;
            let answer = session.offer(&disk, &offer)?;
            Ok(Answer::ok(BINARY_TYPE, answer.encode()))
        }
        Operation::Chunks => json(&receive_chunks(shared, session, &disk, body).await?),
        Operation::Finish => {
            let finish = read_json(body).await?;
            json(&disk.finish(&finish)?)
        }
    }
}

impl Target {
    fn of_path(path: &str) -> Result<Self> {
        let unknown = || Error::Request("There is nothing at this path".into());
        let rest = path.strip_prefix("/data/v").ok_or_else(unknown)?;
        let (version, rest) = rest.split_once('/').ok_or_else(unknown)?;
        if version != VERSION.to_string() {
            let detail = format!("This Hub speaks version {VERSION} of the data plane, not {version}");
            return Err(Error::protocol(Code::ProtocolMismatch, detail));
        }
        let parts: Vec<_> = rest.split('/').collect();
        let ["captures", capture_id, "disks", disk_key, operation] = parts[..] else { return Err(unknown()) };
        let operation = match operation {
            "open" => Operation::Open,
            "offer" => Operation::Offer,
            "chunks" => Operation::Chunks,
            "finish" => Operation::Finish,
            _ => return Err(unknown()),
        };
        Ok(Self { capture_id: capture_id.to_owned(), disk_key: disk_key.to_owned(), operation })
    }
}

fn bearer(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()?.strip_prefix("Bearer ")
}

async fn read_json<T: DeserializeOwned>(body: &mut BodyReader) -> Result<T> {
    body.limit(JSON_BYTES_MAX)?;
    serde_json::from_slice(&body.rest().await?).map_err(|_| Malformed::Field("body").into())
}

fn json(message: &impl serde::Serialize) -> Result<Answer> {
    let text = serde_json::to_vec(message).map_err(|error| Error::Internal(error.to_string()))?;
    Ok(Answer::ok(JSON_TYPE, text.into()))
}
