//! Restore points and their files, as callers name them.

use sendense_repo::{RestorePoint, SnapshotId};

use crate::{Error, Result};

/// Reads the full id, 64 hexadecimal digits.
pub(crate) fn parse_id(text: &str) -> Result<SnapshotId> {
    text.parse().map_err(|_| Error::Request(format!("{text:?} is not the id of a restore point")))
}

/// The whole path of a file that is named without its directory; our restore points have one directory.
pub(crate) fn path_of(point: &RestorePoint, name: &str) -> String {
    let directory = point.paths.first().map_or("", String::as_str);
    format!("{directory}/{name}")
}
