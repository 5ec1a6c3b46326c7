//! The trait.

use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{ErrorKind, FileEntry, FileId, FileKind, Protection, ProtectionPolicy, Result};

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Size of the file system or quota.
    pub total_bytes: u64,
    /// What can still be written by this process.
    pub free_bytes: u64,
}

/// A place for the files of one repository.
///
/// The promises below are what the crash safety of a repository rests on. Whoever implements the trait keeps
/// them or says [`ErrorKind::Other`]; whoever calls it need not know where the files are.
///
/// - Files are immutable. A file is there with all its bytes, or it is not there at all.
/// - All members may be called at the same time from any number of tasks.
/// - Dropping a future may leave its operation done or not done, never half done.
/// - All members may be repeated after an error: doing it twice is the same as doing it once.
/// - Errors say whether a repetition has a chance ([`crate::Error::is_temporary`]); only [`crate::Retry`] repeats.
#[async_trait]
pub trait Storage: Send + Sync + fmt::Debug {
    /// The place in words, for messages and logs. Never contains a secret.
    fn location(&self) -> String;

    /// Prepares an empty place for files: directories, a bucket. Succeeds when that was done already.
    async fn create(&self) -> Result<()>;

    /// Whether the place holds a config file, so is a repository. `false` also when the place does not exist.
    async fn is_initialised(&self) -> Result<bool> {
        match self.size(FileKind::Config, &FileId::CONFIG).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// All files of a kind, in no particular order. Either complete or an error: whatever was written before the
    /// call and not removed is in it. What does not look like a file of a repository is left out.
    ///
    /// Fails with [`ErrorKind::NotFound`] when the place itself is missing, for example because a disk is not
    /// mounted: an empty listing must mean that there are no files.
    async fn list(&self, kind: FileKind) -> Result<Vec<FileEntry>>;

    /// The length of a file in bytes. Fails with [`ErrorKind::NotFound`].
    async fn size(&self, kind: FileKind, id: &FileId) -> Result<u64>;

    /// Whether a file is there.
    async fn exists(&self, kind: FileKind, id: &FileId) -> Result<bool> {
        match self.size(kind, id).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// All bytes of a file. Fails with [`ErrorKind::NotFound`].
    async fn read(&self, kind: FileKind, id: &FileId) -> Result<Bytes>;

    /// Exactly `len` bytes from `offset` on. Fails with [`ErrorKind::NotFound`], and with
    /// [`ErrorKind::Damaged`] when the file ends before.
    async fn read_range(&self, kind: FileKind, id: &FileId, offset: u64, len: usize) -> Result<Bytes>;

    /// Writes a file. After success the file survives a crash of process, system and power. After an error, or
    /// a crash meanwhile, the file is there completely or not at all.
    ///
    /// A file that exists with the same bytes is success. One with other bytes is left as it is and fails with
    /// [`ErrorKind::AlreadyExists`]. Fails with [`ErrorKind::NoSpace`] when there is no room.
    ///
    /// Where there is a [`Self::protection_policy`], the file is protected from its upload on, and the protection
    /// that the place reports for it was compared with the policy before this returns. Locks are never protected.
    async fn write(&self, kind: FileKind, id: &FileId, content: Bytes) -> Result<()>;

    /// Removes a file. A file that is not there is success. Fails with [`ErrorKind::Protected`] while the file is
    /// protected; it then can still be read and is still listed.
    async fn remove(&self, kind: FileKind, id: &FileId) -> Result<()>;

    /// How much room there is; `None` where the question has no answer, as in most object stores.
    async fn capacity(&self) -> Result<Option<Capacity>>;

    /// How this storage protects new files against removal; `None` where it does not.
    fn protection_policy(&self) -> Option<ProtectionPolicy> {
        None
    }

    /// The protection of a file, read back from the place itself; `None` where it never had one. One that has run
    /// out may still be reported: see [`Protection::is_in_force_at`]. Fails with [`ErrorKind::NotFound`].
    async fn protection(&self, _kind: FileKind, _id: &FileId) -> Result<Option<Protection>> {
        Ok(None)
    }

    /// Protects a file until the given moment at least, and never for a shorter time than before. What is then in
    /// force is read back from the place and returned; `None` where the storage protects nothing, and for locks.
    /// Fails with [`ErrorKind::NotFound`].
    async fn extend_protection(
        &self,
        _kind: FileKind,
        _id: &FileId,
        _until: SystemTime,
    ) -> Result<Option<Protection>> {
        Ok(None)
    }
}
