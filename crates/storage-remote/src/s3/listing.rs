//! Listings of a bucket, page by page, complete or an error.

use std::collections::BTreeMap;

use sendense_storage::Result;

use super::client::Client;
use crate::call::{Call, listing_not_understood};
use crate::xml::Element;

/// An object as a listing shows it.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) key: String,
    pub(super) size_bytes: u64,
}

/// Everything that is kept under one key of a bucket with versions.
#[derive(Clone, Debug, Default)]
pub(super) struct Versions {
    /// Ids and sizes, newest first. The last one is what was written under the key at first.
    pub(super) objects: Vec<(String, u64)>,
    /// Ids of marks that say "deleted" and delete nothing.
    pub(super) markers: Vec<String>,
}

impl Versions {
    /// The id and the size of the file itself. Our files are written once: whatever lies above it is not ours.
    pub(super) fn original(&self) -> Option<&(String, u64)> {
        self.objects.last()
    }
}

impl Client {
    /// The objects whose keys begin with `prefix`; at most a page of them if `is_first_page_enough`.
    pub(super) async fn objects(
        &self,
        operation: &'static str,
        prefix: &str,
        is_first_page_enough: bool,
    ) -> Result<Vec<Object>> {
        let mut objects = Vec::new();
        let mut token = None;
        loop {
            let mut query = vec![("list-type", "2"), ("prefix", prefix)];
            query.extend(token.as_deref().map(|token| ("continuation-token", token)));
            if is_first_page_enough {
                query.push(("max-keys", "1"));
            }
            let page = self.ask_xml(operation, Call { method: "GET", query, ..Call::default() }).await?;
            let is_last = !is_truncated(operation, &page, "ListBucketResult")?;
            for entry in page.children().filter(|child| child.name() == "Contents") {
                objects.push(object(entry).ok_or_else(|| listing_not_understood(operation))?);
            }
            if is_last || is_first_page_enough {
                return Ok(objects);
            }
            token = Some(next(operation, &page, "NextContinuationToken")?);
        }
    }

    /// All versions below `prefix`, by key.
    pub(super) async fn versions(
        &self,
        operation: &'static str,
        prefix: &str,
    ) -> Result<BTreeMap<String, Versions>> {
        let mut versions = BTreeMap::<_, Versions>::new();
        let mut after: Option<(String, String)> = None;
        loop {
            let mut query = vec![("versions", ""), ("prefix", prefix)];
            if let Some((key, version)) = &after {
                query.push(("key-marker", key));
                query.extend((!version.is_empty()).then_some(("version-id-marker", version.as_str())));
            }
            let page = self.ask_xml(operation, Call { method: "GET", query, ..Call::default() }).await?;
            let is_last = !is_truncated(operation, &page, "ListVersionsResult")?;
            for entry in page.children() {
                add_version(&mut versions, entry).ok_or_else(|| listing_not_understood(operation))?;
            }
            if is_last {
                return Ok(versions);
            }
            let version = page.text_of("NextVersionIdMarker").unwrap_or_default().to_owned();
            after = Some((next(operation, &page, "NextKeyMarker")?, version));
        }
    }

    /// The versions of one key.
    pub(super) async fn versions_of(&self, operation: &'static str, key: &str) -> Result<Versions> {
        Ok(self.versions(operation, key).await?.remove(key).unwrap_or_default())
    }
}

fn object(entry: &Element) -> Option<Object> {
    Some(Object { key: entry.text_of("Key")?.to_owned(), size_bytes: entry.text_of("Size")?.parse().ok()? })
}

fn add_version(versions: &mut BTreeMap<String, Versions>, entry: &Element) -> Option<()> {
    let is_object = entry.name() == "Version";
    if !is_object && entry.name() != "DeleteMarker" {
        return Some(());
    }
    let of_key = versions.entry(entry.text_of("Key")?.to_owned()).or_default();
    let id = entry.text_of("VersionId")?.to_owned();
    if is_object {
        of_key.objects.push((id, entry.text_of("Size")?.parse().ok()?));
    } else {
        of_key.markers.push(id);
    }
    Some(())
}

/// Whether there are more pages. A page that does not say so is not believed to be the last one.
fn is_truncated(operation: &'static str, page: &Element, name: &str) -> Result<bool> {
    match page.text_of("IsTruncated") {
        Some("true") if page.name() == name => Ok(true),
        Some("false") if page.name() == name => Ok(false),
        _ => Err(listing_not_understood(operation)),
    }
}

fn next(operation: &'static str, page: &Element, name: &str) -> Result<String> {
    let next = page.text_of(name).filter(|next| !next.is_empty());
    next.map(str::to_owned).ok_or_else(|| listing_not_understood(operation))
}
