//! A listing as JSON, made while it is sent: the text of millions of names is never in memory as a whole.

use std::fmt::Write;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use sendense_storage::FileEntry;

const FILES_AT_A_TIME: usize = 2000;

/// The body of a listing.
pub(crate) struct Listing {
    files: std::vec::IntoIter<FileEntry>,
    has_sizes: bool,
    is_begun: bool,
    is_ended: bool,
}

impl Listing {
    /// `[{"name": …, "size": …}, …]`, or only the names.
    pub(crate) fn new(files: Vec<FileEntry>, has_sizes: bool) -> Self {
        Self { files: files.into_iter(), has_sizes, is_begun: false, is_ended: false }
    }

    /// The next part of the text; `None` at the end.
    fn next_part(&mut self) -> Option<String> {
        if self.is_ended {
            return None;
        }
        let mut part = String::new();
        if !self.is_begun {
            part.push('[');
        }
        for file in self.files.by_ref().take(FILES_AT_A_TIME) {
            if self.is_begun {
                part.push(',');
            }
            self.is_begun = true;
            // Writing to a string cannot fail.
            let _ = if self.has_sizes {
                write!(part, r#"{{"name":"{}","size":{}}}"#, file.id, file.size_bytes)
            } else {
                write!(part, "\"{}\"", file.id)
            };
        }
        if self.files.len() == 0 {
            self.is_ended = true;
            part.push(']');
        }
        Some(part)
    }
}

impl Body for Listing {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Poll::Ready(self.next_part().map(|part| Ok(Frame::data(part.into()))))
    }
}

#[cfg(test)]
mod tests {
    use sendense_storage::FileId;

    use super::*;

    #[test]
    fn a_listing_of_any_length_is_valid_json() {
        for count in [0, 1, FILES_AT_A_TIME, FILES_AT_A_TIME + 1, 3 * FILES_AT_A_TIME] {
            for has_sizes in [false, true] {
                let file = |_| FileEntry { id: FileId::new([7; 32]), size_bytes: 5 };
                let mut listing = Listing::new((0..count).map(file).collect(), has_sizes);
                let text: String = std::iter::from_fn(|| listing.next_part()).collect();
                let value: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
                assert_eq!(value.len(), count);
            }
        }
    }
}
