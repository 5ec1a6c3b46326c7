//! A file that gets its name when it is complete, and does not survive when it is not.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rand::Rng;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// `<target>.partial-<id>`; removed when dropped before [`Self::finish`].
pub(super) struct PartialFile {
    target: PathBuf,
    path: PathBuf,
    file: File,
    is_finished: bool,
}

impl PartialFile {
    /// A file of `size_bytes`, all of it a hole, readable by its owner only.
    pub(super) fn create(target: &Path, size_bytes: u64) -> io::Result<Self> {
        let mut path = target.as_os_str().to_owned();
        path.push(format!(".partial-{:016x}", rand::rng().random::<u64>()));
        let path = PathBuf::from(path);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
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
            return std::fs::rename(&self.path, &self.target);
        }
        match renameat_with(CWD, &self.path, CWD, &self.target, RenameFlags::NOREPLACE) {
            // Some network file systems cannot: a look before is the best there is.
            Err(Errno::INVAL | Errno::NOSYS) if !self.target.try_exists()? => {
                std::fs::rename(&self.path, &self.target)
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
            let _removed = std::fs::remove_file(&self.path);
        }
    }
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
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_file_that_came_meanwhile_is_replaced_only_if_that_was_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("disk.raw");
        let partial = PartialFile::create(&target, 4096).unwrap();
        std::fs::write(&target, "mine").unwrap();
        assert_eq!(partial.finish(false).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&target).unwrap(), b"mine");
        PartialFile::create(&target, 4096).unwrap().finish(true).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), [0; 4096]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
