//! What goes back to the client: problems (RFC 9457), JSON, files.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::SystemTime;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use sendense_storage::ErrorKind;
use serde::Serialize;
use tokio::sync::mpsc::Receiver;

/// An answer.
pub(crate) type Answer = Response<BoxBody<Bytes, std::io::Error>>;

/// Why a request is not done.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) detail: String,
    pub(crate) protected_until: Option<SystemTime>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ProblemBody<'a> {
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    protected_until: Option<String>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), protected_until: None }
    }

    pub(crate) fn request_invalid(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "request-invalid", detail)
    }

    /// There is nothing, or nothing that this credential may see.
    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not-found", "There is nothing here")
    }

    pub(crate) fn protected(until: SystemTime) -> Self {
        let detail = format!("The file is protected until {}", date(until));
        let problem = Self::new(StatusCode::CONFLICT, "protected", detail);
        Self { protected_until: Some(until), ..problem }
    }

    /// The disk, or something near it. The detail is for the log of the server and for whoever asked: both know the
    /// file anyway.
    pub(crate) fn of_storage(error: &sendense_storage::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Self::not_found(),
            ErrorKind::AlreadyExists => Self::new(
                StatusCode::CONFLICT,
                "file-exists",
                "A file of this name exists with other content, and files are never replaced",
            ),
            ErrorKind::NoSpace => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "no-space", "There is no room left on the server")
            }
            ErrorKind::Damaged => {
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "damaged", "The disk cannot read it")
            }
            ErrorKind::Timeout => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "storage-slow", "The disk gave no answer in time")
            }
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "storage-failed", "The disk cannot do it"),
        }
    }

    pub(crate) fn of_journal(error: &std::io::Error) -> Self {
        Self::of_storage(&sendense_storage::Error::from_io("protect", copy_of(error)))
    }

    pub(crate) fn into_answer(self) -> Answer {
        let body = ProblemBody {
            title: self.status.canonical_reason().unwrap_or_default(),
            status: self.status.as_u16(),
            code: self.code,
            detail: &self.detail,
            protected_until: self.protected_until.map(date),
        };
        let text = serde_json::to_vec(&body).unwrap_or_default();
        respond(self.status, "application/problem+json", Full::new(text.into()).map_err(never).boxed())
    }
}

/// The same error once more, for somebody else.
pub(crate) fn copy_of(error: &std::io::Error) -> std::io::Error {
    match error.raw_os_error() {
        Some(code) => std::io::Error::from_raw_os_error(code),
        None => std::io::Error::new(error.kind(), error.to_string()),
    }
}

/// A time in UTC, in whole seconds: `2026-12-24T18:00:00Z`. Parts of a second are rounded up.
pub(crate) fn date(time: SystemTime) -> String {
    let seconds = i64::try_from(crate::clock::to_seconds(time)).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX).to_string()
}

pub(crate) fn empty(status: StatusCode) -> Answer {
    let mut answer = Response::new(Empty::new().map_err(never).boxed());
    *answer.status_mut() = status;
    answer
}

pub(crate) fn json(content_type: &'static str, value: &impl Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(text) => respond(StatusCode::OK, content_type, Full::new(text.into()).map_err(never).boxed()),
        Err(error) => {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string()).into_answer()
        }
    }
}

pub(crate) fn respond(
    status: StatusCode,
    content_type: &'static str,
    body: BoxBody<Bytes, std::io::Error>,
) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

fn never(never: std::convert::Infallible) -> std::io::Error {
    match never {}
}

/// A body of known length whose pieces another task reads from the disk, a few ahead of the network.
pub(crate) struct Pieces {
    pub(crate) received: Receiver<std::io::Result<Bytes>>,
    pub(crate) left: u64,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        self.received.poll_recv(context).map(|piece| {
            let piece = piece?;
            if let Ok(piece) = &piece {
                self.left = self.left.saturating_sub(piece.len() as u64);
            }
            Some(piece.map(Frame::data))
        })
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
