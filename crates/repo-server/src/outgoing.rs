//! Files on their way to a client, in pieces: memory does not grow with the file.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderValue, RANGE};
use sendense_storage::{FileId, FileKind, Storage};
use tokio::sync::mpsc::{Sender, channel};

use crate::answer::{Answer, Pieces, Problem, empty, respond};
use crate::hosted::Hosted;

const FILE_TYPE: &str = "application/octet-stream";
const PIECE_BYTES: u64 = 512 << 10;
/// Pieces that wait for the network.
const PIECES_AHEAD: usize = 2;
/// A client that takes nothing for so long is gone.
const SILENCE_MAX: Duration = Duration::from_mins(1);

/// Answers `GET` of a file, with the range that the client asks for.
pub(crate) async fn send_file(
    hosted: &Arc<Hosted>,
    kind: FileKind,
    id: FileId,
    headers: &HeaderMap,
) -> Result<Answer, Problem> {
    let size = hosted.storage.size(kind, &id).await.map_err(|error| Problem::of_storage(&error))?;
    let range = headers.get(RANGE).map(|value| parse_range(value, size));
    let (status, first, end) = match range {
        None => (StatusCode::OK, 0, size),
        Some(Some((first, end))) => (StatusCode::PARTIAL_CONTENT, first, end),
        Some(None) => {
            let detail = format!("The file has {size} bytes, which the range does not fit");
            return Err(Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "range-invalid", detail));
        }
    };
    let (sender, received) = channel(PIECES_AHEAD);
    tokio::spawn(read_pieces(Arc::clone(hosted), kind, id, first, end, sender));
    let mut answer = respond(status, FILE_TYPE, Pieces { received, left: end - first }.boxed());
    answer.headers_mut().insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if status == StatusCode::PARTIAL_CONTENT {
        let last = end.saturating_sub(1);
        if let Ok(value) = HeaderValue::from_str(&format!("bytes {first}-{last}/{size}")) {
            answer.headers_mut().insert(CONTENT_RANGE, value);
        }
    }
    Ok(answer)
}

/// Answers `HEAD` of a file.
pub(crate) async fn describe_file(hosted: &Hosted, kind: FileKind, id: FileId) -> Result<Answer, Problem> {
    let size = hosted.storage.size(kind, &id).await.map_err(|error| Problem::of_storage(&error))?;
    let mut answer = empty(StatusCode::OK);
    answer.headers_mut().insert(CONTENT_LENGTH, size.into());
    Ok(answer)
}

async fn read_pieces(
    hosted: Arc<Hosted>,
    kind: FileKind,
    id: FileId,
    mut first: u64,
    end: u64,
    pieces: Sender<std::io::Result<Bytes>>,
) {
    while first < end {
        let length = PIECE_BYTES.min(end - first);
        let wanted = usize::try_from(length).unwrap_or(usize::MAX);
        let piece = hosted.storage.read_range(kind, &id, first, wanted).await;
        let is_error = piece.is_err();
        // An error ends the connection: the client sees that bytes are missing.
        let sent = pieces.send_timeout(piece.map_err(std::io::Error::other), SILENCE_MAX).await;
        if sent.is_err() || is_error {
            return;
        }
        first += length;
    }
}

/// `bytes=first-last`, `bytes=first-` or `bytes=-count` as first byte and end; `None` when the file has no such
/// bytes. Several ranges at a time are not offered.
fn parse_range(value: &HeaderValue, size: u64) -> Option<(u64, u64)> {
    let (first, last) = value.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
    let (first, end) = match (first, last) {
        ("", count) => (size.saturating_sub(count.parse().ok()?), size),
        (first, "") => (first.parse().ok()?, size),
        (first, last) => (first.parse().ok()?, last.parse::<u64>().ok()?.saturating_add(1).min(size)),
    };
    (first < end).then_some((first, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_within_the_file_or_none() {
        for (text, expected) in [
            ("bytes=0-", Some((0, 100))),
            ("bytes=10-19", Some((10, 20))),
            ("bytes=90-500", Some((90, 100))),
            ("bytes=-30", Some((70, 100))),
            ("bytes=-300", Some((0, 100))),
            ("bytes=100-", None),
            ("bytes=20-10", None),
            ("bytes=0-18446744073709551615", Some((0, 100))),
            ("bytes=99999999999999999999-", None),
            ("bytes=0-1,5-6", None),
            ("lines=0-1", None),
        ] {
            assert_eq!(parse_range(&HeaderValue::from_static(text), 100), expected, "{text}");
        }
    }
}
