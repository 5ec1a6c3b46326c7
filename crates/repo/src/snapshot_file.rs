//! Snapshot files: the last thing that a commit writes.

use std::time::SystemTime;

use serde::{Deserialize, Deserializer, Serialize};

use crate::{SnapshotId, TreeId, timestamp};

/// The document in a snapshot file.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SnapshotFile {
    #[serde(with = "timestamp")]
    pub(crate) time: SystemTime,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<SnapshotId>,
    pub(crate) tree: TreeId,
    /// The restore point that this one is a copy of, in whatever repository that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) original: Option<SnapshotId>,
    #[serde(default, deserialize_with = "null_as_empty")]
    pub(crate) paths: Vec<String>,
    #[serde(default)]
    pub(crate) hostname: String,
    #[serde(default)]
    pub(crate) username: String,
    #[serde(default)]
    pub(crate) uid: u32,
    #[serde(default)]
    pub(crate) gid: u32,
    #[serde(default, deserialize_with = "null_as_empty", skip_serializing_if = "Vec::is_empty")]
    pub(crate) tags: Vec<String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) program_version: String,
}

/// Go writes an empty list as `null`.
fn null_as_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
