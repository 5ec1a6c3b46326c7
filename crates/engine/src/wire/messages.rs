//! The small bodies: JSON. Members that are not known are ignored.

use serde::{Deserialize, Serialize};

/// What a Node is going to offer of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Coverage {
    /// Every chunk, read or known to be zero.
    Complete,
    /// Chunks that may differ from the base.
    Changed,
}

/// Body of `open`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Open {
    /// Size of the disk as the Node sees it.
    pub size_bytes: u64,
    /// What will be offered.
    pub coverage: Coverage,
}

/// Answer to `open`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Opened {
    /// The number that offers, chunks and the finish of this attempt carry.
    pub attempt: u32,
    /// The session's chunk size.
    pub chunk_bytes: u32,
    /// Entries that an offer may have.
    pub offer_entries_max: usize,
    /// Size that a `chunks` body may have.
    pub upload_bytes_max: usize,
}

/// Answer to `chunks`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// Frames that were checked.
    pub accepted: u32,
    /// Plain bytes of those that the repository lacked.
    pub new_bytes: u64,
    /// The same as stored.
    pub stored_bytes: u64,
}

/// Body of `finish`: distinct chunk indexes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finish {
    /// The attempt that ends.
    pub attempt: u32,
    /// Chunks that were offered with an id.
    pub offered_chunks: u64,
    /// Chunks that were declared zero.
    pub zero_chunks: u64,
}

/// Answer to `finish`: totals over all attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Finished {
    /// Plain bytes of the chunks that the repository lacked.
    pub new_bytes: u64,
    /// The same as stored.
    pub stored_bytes: u64,
}

/// An error answer (RFC 9457), as far as this protocol uses it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The page that explains the code: `/problems/<code>`.
    #[serde(rename = "type", default)]
    pub page: String,
    /// The HTTP status.
    #[serde(default)]
    pub status: u16,
    /// What happened here.
    #[serde(default)]
    pub detail: String,
    /// The code to switch on.
    pub code: String,
}
