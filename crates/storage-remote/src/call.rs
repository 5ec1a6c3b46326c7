//! What requests to an object store have in common, whatever its protocol.

use bytes::Bytes;
use sendense_storage::{Error, ErrorKind, Result};

use crate::http::Answer;
use crate::xml::Element;

/// One request, before it is signed.
#[derive(Debug, Default)]
pub(crate) struct Call<'a> {
    pub(crate) method: &'static str,
    /// Empty for the bucket or container itself.
    pub(crate) key: &'a str,
    /// Not encoded, in any order.
    pub(crate) query: Vec<(&'static str, &'a str)>,
    /// With names in lower case.
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
}

/// An answer, successful or not.
pub(crate) struct Outcome {
    pub(crate) answer: Answer,
    /// The error code of the protocol where it is a refusal; empty if there is none.
    refusal: Option<String>,
    message: String,
    meaning: fn(code: &str, status: u16) -> Meaning,
}

/// What a refusal means, by its code and its status.
pub(crate) struct Meaning {
    pub(crate) kind: ErrorKind,
    /// Completes "Cannot …:".
    pub(crate) words: &'static str,
    /// Whether a repetition has a chance.
    pub(crate) is_temporary: bool,
}

impl Outcome {
    /// Reads the refusal out of an answer: code and message stand in a body of XML, the code in a header too where
    /// the protocol is Azure's.
    pub(crate) fn of(answer: Answer, meaning: fn(&str, u16) -> Meaning) -> Self {
        if answer.status.is_success() {
            return Self { answer, refusal: None, message: String::new(), meaning };
        }
        let error = Element::parse(&answer.body);
        let text = |name| error.as_ref().and_then(|error| error.text_of(name)).map(str::to_owned);
        let code = answer.header("x-ms-error-code").map(str::to_owned).or_else(|| text("Code"));
        // Azure adds lines with the number of the request and the time.
        let message = text("Message").unwrap_or_default().lines().next().unwrap_or_default().to_owned();
        Self { answer, refusal: Some(code.unwrap_or_default()), message, meaning }
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.refusal.is_some()
    }

    pub(crate) fn is_refused_with(&self, codes: &[&str]) -> bool {
        self.refusal.as_deref().is_some_and(|code| codes.contains(&code))
    }

    /// The words of the server.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The answer, or the error that the refusal means.
    pub(crate) fn accepted(self, operation: &'static str) -> Result<Answer> {
        if self.is_refused() { Err(self.error(operation)) } else { Ok(self.answer) }
    }

    /// What a refusal means.
    pub(crate) fn error(&self, operation: &'static str) -> Error {
        let code = self.refusal.as_deref().unwrap_or_default();
        let status = self.answer.status.as_u16();
        let Meaning { kind, words, is_temporary } = (self.meaning)(code, status);
        let detail = match (code, self.message.as_str()) {
            ("", _) => format!("{words} (status {status})"),
            (code, "") => format!("{words} ({code})"),
            (code, message) => format!("{words} ({code}: {message})"),
        };
        let error = Error::new(kind, operation, detail);
        if is_temporary { error.temporary() } else { error }
    }
}

/// Reads an answer in XML.
pub(crate) fn parse_xml(operation: &'static str, answer: &Answer) -> Result<Element> {
    Element::parse(&answer.body).ok_or_else(|| {
        Error::new(ErrorKind::Other, operation, "the answer of the server is not whole").temporary()
    })
}

/// The answer to a listing is no listing.
pub(crate) fn listing_not_understood(operation: &'static str) -> Error {
    Error::new(ErrorKind::Other, operation, "the listing of the server cannot be understood")
}

/// The value of a header that asks for a part of a file that is not empty.
pub(crate) fn range_of(offset: u64, len: usize) -> Result<String> {
    let end = offset.checked_add(len as u64).ok_or_else(too_short)?;
    Ok(format!("bytes={offset}-{}", end - 1))
}

/// The part that was asked for.
pub(crate) fn part_of(outcome: Outcome, offset: u64, len: usize) -> Result<Bytes> {
    if outcome.answer.status.as_u16() == 416 {
        return Err(too_short());
    }
    let answer = outcome.accepted("read")?;
    match (answer.status.as_u16(), usize::try_from(offset)) {
        (206, _) if answer.body.len() == len => Ok(answer.body),
        // The server does not know ranges.
        (200, Ok(start)) if answer.body.len().saturating_sub(start) >= len => {
            Ok(answer.body.slice(start..start + len))
        }
        _ => Err(too_short()),
    }
}

/// An empty part, which no range of HTTP can ask for, of a file of this size.
pub(crate) fn empty_part(offset: u64, size_bytes: u64) -> Result<Bytes> {
    if offset <= size_bytes { Ok(Bytes::new()) } else { Err(too_short()) }
}

fn too_short() -> Error {
    Error::new(ErrorKind::Damaged, "read", "the file is too short")
}

/// What a file that is there already has to be.
pub(crate) fn require_same(existing: &Bytes, content: &Bytes) -> Result<()> {
    if existing == content {
        return Ok(());
    }
    Err(Error::new(ErrorKind::AlreadyExists, "write", "it exists with other content"))
}
