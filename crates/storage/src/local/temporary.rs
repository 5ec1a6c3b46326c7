//! Files that do not have their name yet.
//!
//! Their writer holds a lock on them (`flock`), which the kernel drops with the process: a temporary file that
//! nobody holds is a leftover. Tools that know nothing of it ignore the names, since they are not 64 digits.

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::layout::Layout;

const PREFIX: &str = ".sendense-tmp-";

/// A name for a file that is in the way of nobody: without a writer who holds a lock on it, it is removed a minute
/// later by the next one who opens the folder as a [`super::LocalStorage`].
#[must_use]
pub fn temporary_name() -> String {
    format!("{PREFIX}{:032x}", rand::random::<u128>())
}

/// Whether a name is one of those.
#[must_use]
pub fn is_temporary_name(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(PREFIX.as_bytes())
}

/// Between creation and lock a file looks abandoned; nothing younger than this is swept.
const YOUNG: Duration = Duration::from_mins(1);

/// Where files cannot be locked, only age tells. No write of one file takes that long.
const OLD: Duration = Duration::from_hours(24);

/// A file that is removed again unless it gets its name.
pub(super) struct TemporaryFile {
    file: File,
    path: PathBuf,
    is_renamed: bool,
}

impl TemporaryFile {
    pub(super) fn create(directory: &Path) -> io::Result<Self> {
        let path = directory.join(temporary_name());
        let temporary = Self { file: super::create_new(&path)?, path, is_renamed: false };
        match temporary.file.lock() {
            // The sweep then goes by age.
            Err(error) if cannot_lock(&error) => {}
            result => result?,
        }
        Ok(temporary)
    }

    pub(super) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// As [`Self::rename_to`], but gives the file back when the name exists.
    pub(super) fn rename_to_or_keep(mut self, path: &Path) -> io::Result<Option<Self>> {
        match self.rename(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Some(self)),
            result => result.map(|()| None),
        }
    }

    /// Gives the file its name unless that exists, in one step.
    pub(super) fn rename_to(mut self, path: &Path) -> io::Result<()> {
        self.rename(path)
    }

    fn rename(&mut self, path: &Path) -> io::Result<()> {
        match renameat_with(CWD, &self.path, CWD, path, RenameFlags::NOREPLACE) {
            // An older network file system. The names are hashes of random content, so that two writers of
            // one name write the same bytes.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                if path.try_exists()? {
                    return Err(io::ErrorKind::AlreadyExists.into());
                }
                fs::rename(&self.path, path)?;
            }
            result => result?,
        }
        self.is_renamed = true;
        Ok(())
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if !self.is_renamed {
            // If even this fails, the next sweep gets it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether it is the place that knows no locks. A network file system without a lock service says that none are left.
fn cannot_lock(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported || Errno::from_io_error(error) == Some(Errno::NOLCK)
}

/// Removes the leftovers of writers that died.
pub(super) fn sweep(layout: &Layout) -> io::Result<()> {
    let now = SystemTime::now();
    let directories = std::iter::once(layout.root().to_owned()).chain(layout.directories());
    for directory in directories {
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            result => result?,
        };
        for entry in entries {
            let entry = entry?;
            if is_temporary_name(&entry.file_name()) {
                sweep_file(&entry.path(), now)?;
            }
        }
    }
    Ok(())
}

fn sweep_file(path: &Path, now: SystemTime) -> io::Result<()> {
    let result =
        is_abandoned(path, now).and_then(|abandoned| if abandoned { fs::remove_file(path) } else { Ok(()) });
    match result {
        // Its writer was quicker.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn is_abandoned(path: &Path, now: SystemTime) -> io::Result<bool> {
    let file = File::open(path)?;
    // A time stamp in the future means an unreliable clock: not old.
    let age = now.duration_since(file.metadata()?.modified()?).unwrap_or_default();
    if age < YOUNG {
        return Ok(false);
    }
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(_)) => Ok(age >= OLD),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_leftover(directory: &Path, age: Duration) -> PathBuf {
        let path = directory.join(format!("{PREFIX}leftover-{}", age.as_secs()));
        let file = File::create(&path).unwrap();
        file.set_modified(SystemTime::now() - age).unwrap();
        path
    }

    #[test]
    fn a_temporary_file_of_a_dead_writer_is_swept_and_a_young_one_is_spared() {
        let directory = tempfile::tempdir().unwrap();
        let old = a_leftover(directory.path(), Duration::from_secs(90));
        let young = a_leftover(directory.path(), Duration::from_secs(5));
        sweep(&Layout::new(directory.path().into())).unwrap();
        assert!(!old.exists());
        assert!(young.exists());
    }

    #[test]
    fn a_temporary_file_that_is_being_written_is_spared_however_old_it_looks() {
        let directory = tempfile::tempdir().unwrap();
        let temporary = TemporaryFile::create(directory.path()).unwrap();
        temporary.file.set_modified(SystemTime::now() - 2 * OLD).unwrap();
        sweep(&Layout::new(directory.path().into())).unwrap();
        assert!(temporary.path.exists());
    }

    #[test]
    fn a_place_that_knows_no_locks_is_told_from_one_that_fails() {
        for errno in [Errno::NOLCK, Errno::OPNOTSUPP, Errno::NOSYS] {
            assert!(cannot_lock(&errno.into()), "{errno}");
        }
        for errno in [Errno::IO, Errno::ACCESS, Errno::STALE] {
            assert!(!cannot_lock(&errno.into()), "{errno}");
        }
    }

    #[test]
    fn a_temporary_file_that_gets_no_name_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        drop(TemporaryFile::create(directory.path()).unwrap());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
