//! The error of the crate.
//!
//! Rules: whoever reads a file says which file it was; nobody downgrades an error to a log line; the message does
//! not repeat the source; nothing in here retries, since the storage below has done that already.

use std::fmt;

use sendense_storage::{ErrorKind, FileId, FileKind};

use crate::{ChunkId, KeyId, PackId, SnapshotId, TreeId};

/// What the crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What can go wrong with a repository.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No key of the repository opens with this password.
    #[error("The password opens no key of the repository")]
    WrongPassword,
    /// The place is there, or not even that, but holds no repository.
    #[error("There is no repository at {location}")]
    NotARepository {
        /// The place in words.
        location: String,
    },
    /// A repository must not be made over another one.
    #[error("There is a repository already at {location}")]
    AlreadyARepository {
        /// The place in words.
        location: String,
    },
    /// The format is not the one this crate reads.
    #[error("The repository has format version {version}; only version 2 is supported")]
    UnsupportedVersion {
        /// The version that the config names.
        version: u32,
    },
    /// Somebody holds an exclusive lock, usually a prune.
    #[error("The repository is locked exclusively by process {pid} on {hostname} since {since}")]
    Locked {
        /// The machine of the holder.
        hostname: String,
        /// Its process.
        pid: u32,
        /// When the lock was made or refreshed, RFC 3339.
        since: String,
        /// Whether the lock is so old that its holder is probably dead. It still holds: an administrator decides.
        is_stale: bool,
    },
    /// Our own lock is gone or could not be refreshed in time, so others may have removed what we relied on.
    #[error("The lock on the repository was lost; what was not committed must be captured again")]
    LockLost,
    /// A file of the repository is not what it must be.
    #[error("The {kind} file {name} is damaged: {reason}")]
    Damaged {
        /// The kind of file.
        kind: FileKind,
        /// Its name, or `config`.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A chunk or its position in a pack is damaged.
    #[error("Chunk {id} in pack {pack} is damaged: {reason}")]
    DamagedChunk {
        /// The chunk.
        id: ChunkId,
        /// Where it lies.
        pack: PackId,
        /// What is wrong with it.
        reason: String,
    },
    /// The repository does not have the chunk. While writing this means that its pack got lost before the commit,
    /// and that a repeated capture brings it again.
    #[error("The repository has no chunk {id}")]
    ChunkMissing {
        /// The chunk.
        id: ChunkId,
    },
    /// The repository does not have the tree.
    #[error("The repository has no tree {id}")]
    TreeMissing {
        /// The tree.
        id: TreeId,
    },
    /// A pack that the new restore point needs has vanished or changed its size.
    #[error("Pack {id} is missing or has a wrong size")]
    PackMissing {
        /// The pack.
        id: PackId,
    },
    /// There is no such restore point.
    #[error("There is no restore point {id}")]
    RestorePointMissing {
        /// The restore point.
        id: SnapshotId,
    },
    /// The restore point has no such file.
    #[error("Restore point {id} has no file {path}")]
    FileMissing {
        /// The restore point.
        id: SnapshotId,
        /// The path that was asked for.
        path: String,
    },
    /// What was asked to be stored contradicts itself.
    #[error("This cannot be stored: {reason}")]
    Unacceptable {
        /// Why.
        reason: String,
    },
    /// The writer was committed or aborted.
    #[error("The writer is closed")]
    Closed,
    /// The caller gave up.
    #[error("Cancelled")]
    Cancelled,
    /// Another caller's work failed with an error that concerns this one too: what it added is not all durable.
    #[error("A pack could not be written: {message}")]
    PackNotWritten {
        /// The words of the error.
        message: String,
        /// Its kind.
        kind: ErrorKind,
    },
    /// There is no such key.
    #[error("There is no key {id}")]
    KeyMissing {
        /// The key.
        id: KeyId,
    },
    /// The key is the one in use. Open the repository with another one to remove it.
    #[error("Key {id} is in use and cannot be removed")]
    KeyNeeded {
        /// The key.
        id: KeyId,
    },
    /// A file that a new restore point needs is not protected for as long as it must be.
    #[error("The storage does not protect {kind} {id} for as long as it should")]
    Unprotected {
        /// What kind of file it is.
        kind: FileKind,
        /// The file.
        id: FileId,
    },
    /// Something cannot be read without which nobody can say what is garbage. A repair comes first.
    #[error("The repository must be repaired first: {reason}")]
    RepairNeeded {
        /// What cannot be read.
        reason: String,
    },
    /// The place of the repository fails.
    #[error(transparent)]
    Storage(#[from] sendense_storage::Error),
    /// A thread of ours died. A bug.
    #[error("Internal error: {reason}")]
    Internal {
        /// What we know.
        reason: String,
    },
}

impl Error {
    /// Whether repeating the whole operation, as a capture job does, has a chance without anybody's help.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Storage(error) => error.is_temporary() || error.kind().is_temporary(),
            Self::PackNotWritten { kind, .. } => kind.is_temporary(),
            Self::Locked { is_stale, .. } => !is_stale,
            Self::LockLost | Self::ChunkMissing { .. } | Self::PackMissing { .. } => true,
            _ => false,
        }
    }

    /// Whether the place is full.
    #[must_use]
    pub fn is_no_space(&self) -> bool {
        match self {
            Self::Storage(error) => error.kind().is_no_space(),
            Self::PackNotWritten { kind, .. } => kind.is_no_space(),
            _ => false,
        }
    }

    pub(crate) fn damaged(kind: FileKind, id: &dyn fmt::Display, reason: &dyn fmt::Display) -> Self {
        Self::Damaged { kind, name: id.to_string(), reason: reason.to_string() }
    }
}
