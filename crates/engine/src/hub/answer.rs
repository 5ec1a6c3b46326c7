//! Answers of the data plane, and how one that takes its time is sent.

use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Body, Frame};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::http::HeaderMap;
use hyper::{Response, StatusCode};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Interval, interval, timeout};

use crate::wire::{LATE_TYPE, LateAnswer, PATIENCE_HEADER, PROBLEM_TYPE, Problem, SIGN_OF_LIFE};
use crate::{Code, Error};

/// A sign of life is given so often while the asker is patient once.
const SIGNS_PER_PATIENCE: u32 = 3;
/// Nobody is told more often that the Hub lives.
const SIGN_INTERVAL_MIN: Duration = Duration::from_millis(50);

/// What the Hub has to say to one request.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) body: Bytes,
}

/// Body of every answer.
pub(super) type AnswerBody = Either<Full<Bytes>, LateBody>;

impl Answer {
    pub(super) fn ok(content_type: &'static str, body: Bytes) -> Self {
        Self { status: StatusCode::OK, content_type, body }
    }

    /// The answer to an error. What is a bug of ours is named so, and not described.
    pub(super) fn problem(error: &Error) -> Self {
        let code = error.code();
        let detail = if code == Code::Internal { String::new() } else { error.full_text() };
        let problem = Problem {
            page: format!("/problems/{}", code.as_str()),
            status: code.http_status(),
            detail,
            code: code.as_str().to_owned(),
        };
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&problem).unwrap_or_default().into();
        Self { status, content_type: PROBLEM_TYPE, body }
    }

    pub(super) fn into_response(self) -> Response<AnswerBody> {
        response(self.status, self.content_type, Either::Left(Full::new(self.body)))
    }
}

/// How often the asker wants a sign of life; `None` if it does not ask for any.
pub(super) fn sign_interval(headers: &HeaderMap) -> Option<Duration> {
    let patience = headers.get(PATIENCE_HEADER)?.to_str().ok()?.parse().ok()?;
    Some((Duration::from_millis(patience) / SIGNS_PER_PATIENCE).max(SIGN_INTERVAL_MIN))
}

/// Waits for an operation as long as its asker may be left in silence, and then answers that there will be an answer:
/// storage that is slow, or away for a while, must not look like a Hub that has died.
pub(super) async fn await_answer(
    mut operation: JoinHandle<Answer>,
    sign_interval: Option<Duration>,
) -> Response<AnswerBody> {
    let Some(period) = sign_interval else { return answer_of(operation.await).into_response() };
    let Ok(ended) = timeout(period, &mut operation).await else {
        let body = LateBody { operation: Some(operation), signs: interval(period) };
        return response(StatusCode::OK, LATE_TYPE, Either::Right(body));
    };
    answer_of(ended).into_response()
}

/// Signs of life, and the answer at last. The operation goes on when this is dropped.
pub(super) struct LateBody {
    /// Until it has ended.
    operation: Option<JoinHandle<Answer>>,
    signs: Interval,
}

impl Body for LateBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Self { operation, signs } = self.get_mut();
        let Some(running) = operation else { return Poll::Ready(None) };
        if let Poll::Ready(ended) = pin!(running).poll(context) {
            *operation = None;
            let Answer { status, body, .. } = answer_of(ended);
            let late = LateAnswer { status: status.as_u16(), body };
            return Poll::Ready(Some(Ok(Frame::data(late.encode()))));
        }
        signs.poll_tick(context).map(|_| Some(Ok(Frame::data(Bytes::from_static(&[SIGN_OF_LIFE])))))
    }
}

fn answer_of(ended: Result<Answer, JoinError>) -> Answer {
    ended.unwrap_or_else(|error| Answer::problem(&Error::Internal(error.to_string())))
}

fn response(status: StatusCode, content_type: &'static str, body: AnswerBody) -> Response<AnswerBody> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_come_more_often_than_patience_ends_and_not_all_the_time() {
        let interval_of = |patience: &'static str| {
            let headers = [(PATIENCE_HEADER.parse().unwrap(), HeaderValue::from_static(patience))];
            sign_interval(&headers.into_iter().collect())
        };
        assert_eq!(interval_of("60000"), Some(Duration::from_secs(20)));
        assert_eq!(interval_of("0"), Some(SIGN_INTERVAL_MIN));
        assert_eq!(interval_of("soon"), None);
        assert_eq!(sign_interval(&HeaderMap::new()), None);
    }
}
