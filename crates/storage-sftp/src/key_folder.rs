//! The private folder that ssh gets its files from.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use tempfile::TempDir;

/// Followed by the number of the process that it belongs to, and by something random.
const PREFIX: &str = "sendense-sftp-";

/// Makes a folder for our user alone. It is removed when it is dropped, or else by the next process that makes one:
/// a process that is killed while it connects leaves the private key behind that lies in it.
pub(crate) fn make() -> io::Result<TempDir> {
    let private = Permissions::from_mode(0o700);
    let prefix = format!("{PREFIX}{}-", std::process::id());
    let folder = tempfile::Builder::new().prefix(&prefix).permissions(private).tempdir()?;
    if let Some(parent) = folder.path().parent() {
        // What cannot be removed now can be later.
        let _ = remove_orphans(parent, folder.path().metadata()?.uid());
    }
    Ok(folder)
}

/// Removes the folders of a user's processes that have ended.
fn remove_orphans(parent: &Path, uid: u32) -> io::Result<()> {
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split_once('-'));
        let Some(Ok(process)) = process.map(|(process, _)| process.parse::<u32>()) else { continue };
        // A link is not followed, and what somebody else has put there is not touched.
        let is_ours = entry.metadata().is_ok_and(|entry| entry.is_dir() && entry.uid() == uid);
        if is_ours && !Path::new("/proc").join(process.to_string()).exists() {
            // Another process may be faster.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_has_left_is_removed_and_nothing_else() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let dead = child.id();
        child.wait().unwrap();
        let parent = tempfile::tempdir().unwrap();
        let path = |name: String| parent.path().join(name);
        let orphan = path(format!("{PREFIX}{dead}-a"));
        let others = [
            path(format!("{PREFIX}{}-b", std::process::id())),
            path(format!("{PREFIX}c")),
            path(format!("other-{dead}-d")),
        ];
        for folder in others.iter().chain([&orphan]) {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("key"), "secret").unwrap();
        }
        let link = path(format!("{PREFIX}{dead}-e"));
        std::os::unix::fs::symlink(&others[2], &link).unwrap();
        let uid = parent.path().metadata().unwrap().uid();

        remove_orphans(parent.path(), uid + 1).unwrap();
        assert!(orphan.exists(), "it belongs to another user");
        remove_orphans(parent.path(), uid).unwrap();
        assert!(!orphan.exists());
        assert!(others.iter().all(|folder| folder.join("key").exists()));
        assert!(link.is_symlink());
    }
}
