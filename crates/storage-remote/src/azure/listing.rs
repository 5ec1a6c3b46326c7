//! Listings of a container, page by page, complete or an error.

use sendense_storage::Result;

use super::client::Client;
use crate::call::{Call, listing_not_understood};
use crate::xml::Element;

/// A blob as a listing shows it.
#[derive(Clone, Debug)]
pub(super) struct Blob {
    pub(super) name: String,
    pub(super) size_bytes: u64,
}

impl Client {
    /// The blobs whose names begin with `prefix`; at most one of them if `is_one_enough`.
    pub(super) async fn blobs(
        &self,
        operation: &'static str,
        prefix: &str,
        is_one_enough: bool,
    ) -> Result<Vec<Blob>> {
        let not_understood = || listing_not_understood(operation);
        let mut blobs = Vec::new();
        let mut marker = String::new();
        loop {
            let mut query = vec![("restype", "container"), ("comp", "list"), ("prefix", prefix)];
            query.extend((!marker.is_empty()).then_some(("marker", marker.as_str())));
            query.extend(is_one_enough.then_some(("maxresults", "1")));
            let page = self.ask_xml(operation, Call { method: "GET", query, ..Call::default() }).await?;
            let listed = page.child("Blobs").filter(|_| page.name() == "EnumerationResults");
            for entry in listed.ok_or_else(not_understood)?.children() {
                blobs.push(blob(entry).ok_or_else(not_understood)?);
            }
            // A page that does not say whether it is the last one is not believed to be it. It may be empty and not be.
            let next = page.text_of("NextMarker").ok_or_else(not_understood)?.to_owned();
            if next.is_empty() || (is_one_enough && !blobs.is_empty()) {
                return Ok(blobs);
            }
            marker = next;
        }
    }
}

fn blob(entry: &Element) -> Option<Blob> {
    let size_bytes = entry.child("Properties")?.text_of("Content-Length")?.parse().ok()?;
    Some(Blob { name: entry.text_of("Name")?.to_owned(), size_bytes })
}
