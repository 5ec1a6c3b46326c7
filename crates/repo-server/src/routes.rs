//! From a request to what is done, and from that to an answer.

use std::sync::Arc;
use std::time::SystemTime;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use hyper::http::request::Parts;
use hyper::{Method, Request, StatusCode};
use sendense_storage::{FileId, FileKind, Storage};
use serde::{Deserialize, Serialize};

use crate::answer::{Answer, Problem, date, empty, json, respond};
use crate::credentials::{Access, Role};
use crate::hosted::Hosted;
use crate::incoming::{IncomingBody, bytes_max};
use crate::listing::Listing;
use crate::outgoing::{describe_file, send_file};
use crate::server::Shared;
use crate::target::{Aspect, Place, Target};

const LIST_V1: &str = "application/vnd.x.restic.rest.v1";
const LIST_V2: &str = "application/vnd.x.restic.rest.v2";
const JSON: &str = "application/json";
const JSON_BYTES_MAX: u64 = 4096;
/// In the answer to an upload: until when the file is protected.
const PROTECTED_UNTIL: &str = "sendense-protected-until";

/// What `?policy` answers.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Policy {
    version: u32,
    role: Role,
    window_seconds: u64,
    protection_seconds_max: u64,
    time: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewPolicy {
    window_seconds: u64,
}

/// What `?protection` answers and takes.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Protection {
    protected_until: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Capacity {
    total_bytes: u64,
    free_bytes: u64,
}

/// Answers a request. Removals and refusals are written to the log.
pub(crate) async fn answer(shared: &Arc<Shared>, peer: &str, request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let mut body = IncomingBody::new(body);
    let access = shared.doorkeeper.admit(head.headers.get(AUTHORIZATION)).await;
    let done = match &access {
        Some(access) => operate(shared, access, &head, &mut body).await,
        None => Err(Problem::new(StatusCode::UNAUTHORIZED, "credentials-wrong", "Name or password is wrong")),
    };
    let (method, path) = (&head.method, head.uri.path());
    let who = access.map_or_else(|| "nobody".into(), |access| format!("{} {:?}", access.role, access.name));
    match done {
        Ok(answer) => {
            if *method == Method::DELETE {
                shared.log(&format!("{peer} {who} removed {path:?}"));
            }
            answer
        }
        Err(problem) => {
            // Clients ask for files that may not be there all the time.
            if problem.status != StatusCode::NOT_FOUND {
                let Problem { code, detail, .. } = &problem;
                shared.log(&format!("{peer} {who} {method} {path:?} refused: {code}: {detail}"));
            }
            body.drain().await;
            refusal(problem)
        }
    }
}

fn refusal(problem: Problem) -> Answer {
    let is_unknown = problem.status == StatusCode::UNAUTHORIZED;
    let mut answer = problem.into_answer();
    if is_unknown {
        answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"repository\""));
    }
    answer
}

async fn operate(
    shared: &Arc<Shared>,
    access: &Access,
    head: &Parts,
    body: &mut IncomingBody,
) -> Result<Answer, Problem> {
    let target = Target::of_uri(&head.uri)?;
    // Which repositories there are is nobody's business who has none.
    let hosted =
        access.repositories.contains(&target.repository).then(|| shared.repositories.get(&target.repository));
    let hosted = Arc::clone(hosted.flatten().ok_or_else(Problem::not_found)?);
    let method = head.method.as_str();
    match (method, target.place, target.aspect) {
        ("POST", Place::Repository, Aspect::Create) => {
            let created = to_the_end(async move { hosted.storage.create().await }).await?;
            created.map(|()| empty(StatusCode::OK)).map_err(|error| Problem::of_storage(&error))
        }
        ("GET", Place::Repository, Aspect::Policy) => Ok(json(JSON, &policy(&hosted, access.role))),
        ("PUT", Place::Repository, Aspect::Policy) => {
            let wanted: NewPolicy = read_json(body).await?;
            let role = access.role;
            let kept = Arc::clone(&hosted);
            to_the_end(async move { kept.lengthen_window(role, wanted.window_seconds).await }).await??;
            Ok(json(JSON, &policy(&hosted, role)))
        }
        ("GET", Place::Repository, Aspect::Capacity) => capacity(&hosted).await,
        ("GET", Place::Listing(kind), _) => list(&hosted, kind, &head.headers).await,
        ("GET", Place::File(kind, id), Aspect::Itself) => send_file(&hosted, kind, id, &head.headers).await,
        ("HEAD", Place::File(kind, id), Aspect::Itself) => describe_file(&hosted, kind, id).await,
        ("POST", Place::File(kind, id), Aspect::Itself) => receive(shared, hosted, kind, id, body).await,
        ("DELETE", Place::File(kind, id), Aspect::Itself) => {
            let role = access.role;
            to_the_end(async move { hosted.remove(role, kind, &id).await }).await??;
            Ok(empty(StatusCode::OK))
        }
        ("GET", Place::File(kind, id), Aspect::Protection) => {
            let until = to_the_end(async move { hosted.protection(kind, &id).await }).await??;
            Ok(json(JSON, &Protection { protected_until: until.map(date) }))
        }
        ("PUT", Place::File(kind, id), Aspect::Protection) => {
            let until = read_json::<Protection>(body).await?.until()?;
            let until = to_the_end(async move { hosted.extend(kind, &id, until).await }).await??;
            Ok(json(JSON, &Protection { protected_until: until.map(date) }))
        }
        _ => {
            let detail = format!("{method} is not possible here");
            Err(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail))
        }
    }
}

/// Runs as a task of its own: a client that goes away must not leave half of it undone.
async fn to_the_end<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Result<T, Problem> {
    tokio::spawn(work)
        .await
        .map_err(|error| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string()))
}

fn policy(hosted: &Hosted, role: Role) -> Policy {
    Policy {
        version: 1,
        role,
        window_seconds: hosted.guard.window(),
        protection_seconds_max: hosted.guard.protection_max().as_secs(),
        time: date(hosted.guard.now()),
    }
}

async fn capacity(hosted: &Hosted) -> Result<Answer, Problem> {
    let capacity = hosted.storage.capacity().await.map_err(|error| Problem::of_storage(&error))?;
    let capacity = capacity.ok_or_else(Problem::not_found)?;
    Ok(json(JSON, &Capacity { total_bytes: capacity.total_bytes, free_bytes: capacity.free_bytes }))
}

async fn list(hosted: &Hosted, kind: FileKind, headers: &HeaderMap) -> Result<Answer, Problem> {
    let files = hosted.storage.list(kind).await.map_err(|error| Problem::of_storage(&error))?;
    let has_sizes = headers.get(ACCEPT).is_some_and(|accepted| accepted == LIST_V2);
    let content_type = if has_sizes { LIST_V2 } else { LIST_V1 };
    Ok(respond(StatusCode::OK, content_type, Listing::new(files, has_sizes).boxed()))
}

/// Takes a new file. Nobody sees it before all of it has arrived, its name is the hash of what arrived, and it is
/// protected.
async fn receive(
    shared: &Shared,
    hosted: Arc<Hosted>,
    kind: FileKind,
    id: FileId,
    body: &mut IncomingBody,
) -> Result<Answer, Problem> {
    body.limit(bytes_max(kind))?;
    let _place = shared.uploads.acquire().await.map_err(|_| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "closing", "The server is about to stop")
    })?;
    let mut upload = hosted.storage.upload(kind, &id).await.map_err(|error| Problem::of_storage(&error))?;
    let hash = body.write_to(&mut upload).await?;
    if hosted.checks_names && kind != FileKind::Config && hash != id {
        if hosted.has(kind, &id).await {
            let error = sendense_storage::Error::new(
                sendense_storage::ErrorKind::AlreadyExists,
                "write",
                "it exists",
            );
            return Err(Problem::of_storage(&error));
        }
        let detail = "The SHA-256 of what arrived is not the name of the file";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "hash-mismatch", detail));
    }
    let until = to_the_end(async move { hosted.finish(kind, &id, upload).await }).await??;
    let mut answer = empty(StatusCode::OK);
    if let Some(until) = until.and_then(|until| HeaderValue::from_str(&date(until)).ok()) {
        answer.headers_mut().insert(PROTECTED_UNTIL, until);
    }
    Ok(answer)
}

async fn read_json<T: serde::de::DeserializeOwned>(body: &mut IncomingBody) -> Result<T, Problem> {
    body.limit(JSON_BYTES_MAX)?;
    let text = body.all().await?;
    serde_json::from_slice(&text)
        .map_err(|_| Problem::request_invalid("The body is not the JSON that is expected"))
}

impl Protection {
    fn until(&self) -> Result<SystemTime, Problem> {
        let text = self.protected_until.as_deref().unwrap_or_default();
        let time = text.parse::<jiff::Timestamp>().ok().and_then(|time| SystemTime::try_from(time).ok());
        time.ok_or_else(|| Problem::request_invalid("protectedUntil must be a time of RFC 3339"))
    }
}
