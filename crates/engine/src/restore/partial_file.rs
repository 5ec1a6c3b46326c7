//! A file that gets its name when it is complete, and does not survive when it is not.
//!
//! Its writer holds a lock on it (`flock`), which the kernel drops with the process: a partial file that nobody holds
//! is what a writer that was killed has left.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rand::Rng;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// Between the name of the target and sixteen hexadecimal digits.
const MARK: &str = ".partial-";
const RANDOM_DIGITS: usize = 16;

/// `<target>.partial-<id>`; removed when dropped before [`Self::finish`].
pub(super) struct PartialFile {
    target: PathBuf,
    path: PathBuf,
    file: File,
    is_finished: bool,
}

impl PartialFile {
    /// A file of `size_bytes`, all of it a hole, readable by its owner only. What killed writers of the same target
    /// have left goes first: it may be as large.
    pub(super) fn create(target: &Path, size_bytes: u64) -> io::Result<Self> {
        // One that cannot be examined is in nobody's way.
        let _ = remove_abandoned(target);
        let mut path = target.as_os_str().to_owned();
        path.push(format!("{MARK}{:0RANDOM_DIGITS$x}", rand::rng().random::<u64>()));
        let path = PathBuf::from(path);
        let file = create_locked(&path)?;
        let partial = Self { target: target.to_owned(), path, file, is_finished: false };
        partial.file.set_len(size_bytes)?;
        Ok(partial)
    }

    /// The open file, for writing at offsets.
    pub(super) fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Makes it durable under its name. Without `overwrite` a file that has come there meanwhile is left alone:
    /// [`io::ErrorKind::AlreadyExists`].
    pub(super) fn finish(mut self, overwrite: bool) -> io::Result<()> {
        self.file.sync_all()?;
        self.rename(overwrite)?;
        self.is_finished = true;
        File::open(folder_of(&self.target))?.sync_all()
    }

    fn rename(&self, overwrite: bool) -> io::Result<()> {
        if overwrite {
            return fs::rename(&self.path, &self.target);
        }
        match renameat_with(CWD, &self.path, CWD, &self.target, RenameFlags::NOREPLACE) {
            // Some network file systems cannot: a look before is the best there is.
            Err(Errno::INVAL | Errno::NOSYS) if !self.target.try_exists()? => {
                fs::rename(&self.path, &self.target)
            }
            Err(Errno::INVAL | Errno::NOSYS) => Err(Errno::EXIST.into()),
            renamed => Ok(renamed?),
        }
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        if !self.is_finished {
            // Nothing can be done if this fails; the name says what the file is.
            let _removed = fs::remove_file(&self.path);
        }
    }
}

fn create_locked(path: &Path) -> io::Result<File> {
    loop {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        // Not every file system knows locks.
        let _ = file.lock();
        // Before it was locked it looked abandoned.
        if file.metadata()?.nlink() > 0 {
            return Ok(file);
        }
    }
}

/// Removes what killed writers of a target have left beside it.
///
/// # Errors
/// When the folder cannot be read or a file not be removed. A folder that is not there holds nothing.
pub(super) fn remove_abandoned(target: &Path) -> io::Result<()> {
    let Some(name) = target.file_name() else { return Ok(()) };
    let entries = match fs::read_dir(folder_of(target)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if !is_partial(entry.file_name().as_encoded_bytes(), name.as_encoded_bytes()) {
            continue;
        }
        match remove_if_abandoned(&entry.path()) {
            // Its writer was quicker.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            removed => removed?,
        }
    }
    Ok(())
}

fn is_partial(name: &[u8], target: &[u8]) -> bool {
    let digits = name.strip_prefix(target).and_then(|rest| rest.strip_prefix(MARK.as_bytes()));
    digits.is_some_and(|digits| digits.len() == RANDOM_DIGITS && digits.iter().all(u8::is_ascii_hexdigit))
}

/// Where files cannot be locked, none counts as abandoned. The lock is held until the file is gone, so that a writer who
/// has just made it sees that when it gets the lock.
fn remove_if_abandoned(path: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    if file.try_lock().is_ok() { fs::remove_file(path) } else { Ok(()) }
}

/// The folder that holds `path`.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_finished_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        drop(PartialFile::create(&folder.path().join("disk.raw"), 4096).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_writer_has_left_is_removed_and_what_is_being_written_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("disk.raw");
        let leave = |name: &str| {
            let path = folder.path().join(name);
            File::create(&path).unwrap();
            path
        };
        let abandoned = leave("disk.raw.partial-0123456789abcdef");
        let others = [leave("other.raw.partial-0123456789abcdef"), leave("disk.raw.partial-mine")];
        let writing = PartialFile::create(&target, 4096).unwrap();
        assert!(!abandoned.exists());
        remove_abandoned(&target).unwrap();
        assert!(others.iter().all(|path| path.exists()));
        writing.finish(false).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
        remove_abandoned(&folder.path().join("absent/disk.raw")).unwrap();
    }

    #[test]
    fn a_file_that_came_meanwhile_is_replaced_only_if_that_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("disk.raw");
        let partial = PartialFile::create(&target, 4096).unwrap();
        fs::write(&target, "mine").unwrap();
        assert_eq!(partial.finish(false).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&target).unwrap(), b"mine");
        PartialFile::create(&target, 4096).unwrap().finish(true).unwrap();
        assert_eq!(fs::read(&target).unwrap(), [0; 4096]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
