//! The one error of this crate.
//!
//! - The peer's and our own refusals by the rules of the protocol are [`Error::Protocol`], with a detail for people.
//! - Errors of the crates below are wrapped, never flattened; their text is the `source`, not part of ours.
//! - Whoever shows an error to people prints the whole chain: [`Error::full_text`].

use sendense_storage::ErrorKind;
use sendense_tls_pin::ParsePinError;

use crate::wire::Malformed;
use crate::{ChunkId, Code};

/// Result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Whatever can go wrong in a use case.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A refusal by the rules of the data plane, ours or the peer's.
    #[error("{detail}")]
    Protocol {
        /// What rule.
        code: Code,
        /// What happened here.
        detail: String,
    },
    /// The Hub did not answer for longer than the grace period.
    #[error("The Hub's data plane gave no answer for {seconds} s")]
    HubUnreachable {
        /// How long it was tried.
        seconds: u64,
        /// The last failure.
        #[source]
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The Hub shows another certificate than the pinned one.
    #[error("The Hub shows another certificate than the pinned one")]
    HubCertificate,
    /// The base restore point does not hold the disk.
    #[error("Restore point {restore_point} holds no file {file}")]
    BaseDiskMissing {
        /// The base.
        restore_point: String,
        /// The disk's file.
        file: String,
    },
    /// The disk had another size in the base.
    #[error("The disk has {size_bytes} bytes, in its base it had {base_bytes}")]
    BaseSizeDiffers {
        /// Size now.
        size_bytes: u64,
        /// Size then.
        base_bytes: u64,
    },
    /// The base was cut into chunks of another size.
    #[error("The base is not made of chunks of {chunk_bytes} bytes")]
    BaseChunkSizeDiffers {
        /// The session's chunk size.
        chunk_bytes: u32,
    },
    /// Chunks of a restore point lie only in packs that are marked for deletion.
    #[error(
        "Chunks of the restore point, such as {chunk}, lie only in packs that a prune has marked for deletion"
    )]
    RestorePointBeingPruned {
        /// One of them.
        chunk: ChunkId,
    },
    /// The source disk could not be opened.
    #[error("Cannot open the source disk")]
    SourceOpen(#[source] sendense_nbd::Error),
    /// The source disk could not be read.
    #[error("Cannot read the source disk")]
    SourceRead(#[source] sendense_disk::Error),
    /// The repository failed. Its words suffice.
    #[error(transparent)]
    Repository(#[from] sendense_repo::Error),
    /// A restore point is listed and cannot be read.
    #[error("The restore point is damaged")]
    RestorePointDamaged(#[source] sendense_repo::Error),
    /// The restore target cannot be used.
    #[error("Cannot write to {path}")]
    RestoreTarget {
        /// Missing folder, existing file, no space.
        code: Code,
        /// The target as given.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// An argument is out of its range.
    #[error("{0}")]
    Request(String),
    /// The operation was cancelled.
    #[error("Cancelled")]
    Cancelled,
    /// A bug of ours.
    #[error("{0}")]
    Internal(String),
}

impl From<ParsePinError> for Error {
    fn from(error: ParsePinError) -> Self {
        Self::Request(error.to_string())
    }
}

impl Error {
    /// A refusal by the rules of the protocol.
    pub(crate) fn protocol(code: Code, detail: impl Into<String>) -> Self {
        Self::Protocol { code, detail: detail.into() }
    }

    /// What it means when a restore point cannot be read: what is missing or damaged then is its own content.
    pub(crate) fn of_reading(error: sendense_repo::Error) -> Self {
        use sendense_repo::Error as Repo;
        match error {
            Repo::DamagedChunk { .. } | Repo::ChunkMissing { .. } | Repo::TreeMissing { .. } => {
                Self::RestorePointDamaged(error)
            }
            Repo::Storage(ref storage)
                if matches!(storage.kind(), ErrorKind::NotFound | ErrorKind::Damaged) =>
            {
                Self::RestorePointDamaged(error)
            }
            error => Self::Repository(error),
        }
    }

    /// The stable word for it.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Protocol { code, .. } | Self::RestoreTarget { code, .. } => *code,
            Self::HubUnreachable { .. } => Code::DataPlaneUnreachable,
            Self::HubCertificate => Code::HubCertificateMismatch,
            Self::BaseDiskMissing { .. } => Code::BaseDiskMissing,
            Self::BaseSizeDiffers { .. } => Code::BaseSizeDiffers,
            Self::BaseChunkSizeDiffers { .. } => Code::BaseChunkSizeDiffers,
            Self::RestorePointBeingPruned { .. } => Code::RestorePointBeingPruned,
            Self::SourceOpen(_) => Code::DiskOpenFailed,
            Self::SourceRead(_) => Code::DiskReadFailed,
            Self::Repository(error) => code_of_repository(error),
            Self::RestorePointDamaged(_) => Code::RestorePointDamaged,
            Self::Request(_) => Code::RequestInvalid,
            Self::Cancelled => Code::Cancelled,
            Self::Internal(_) => Code::Internal,
        }
    }

    /// Whether the same call may succeed later without anyone changing anything.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Protocol { code, .. } => *code == Code::RepositoryUnavailable,
            Self::HubUnreachable { .. } => true,
            Self::SourceOpen(error) => error.is_temporary(),
            Self::SourceRead(error) => error.is_temporary(),
            Self::Repository(error) => error.is_temporary(),
            _ => false,
        }
    }

    /// This error and what caused it, in one line.
    #[must_use]
    pub fn full_text(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

impl From<Malformed> for Error {
    fn from(malformed: Malformed) -> Self {
        let code = match malformed {
            Malformed::Magic { .. } => Code::ProtocolMismatch,
            Malformed::TooMany => Code::FrameTooLarge,
            Malformed::Length | Malformed::Field(_) => Code::ChunkMalformed,
        };
        Self::protocol(code, malformed.to_string())
    }
}

fn code_of_repository(error: &sendense_repo::Error) -> Code {
    use sendense_repo::Error as Repo;
    match error {
        Repo::WrongPassword => Code::RepositoryPasswordWrong,
        Repo::NotARepository { .. } => Code::RepositoryNotFound,
        Repo::AlreadyARepository { .. } => Code::RepositoryExists,
        Repo::UnsupportedVersion { .. } => Code::RepositoryUnsupported,
        Repo::Locked { .. } => Code::RepositoryLocked,
        Repo::RestorePointMissing { .. } | Repo::FileMissing { .. } => Code::RestorePointMissing,
        Repo::Unacceptable { .. } | Repo::KeyMissing { .. } => Code::RequestInvalid,
        Repo::Damaged { .. }
        | Repo::DamagedChunk { .. }
        | Repo::ChunkMissing { .. }
        | Repo::TreeMissing { .. }
        | Repo::PackMissing { .. }
        | Repo::RepairNeeded { .. } => Code::RepositoryDamaged,
        Repo::KeyNeeded { .. } => Code::RepositoryKeyLast,
        Repo::Closed => Code::TicketInvalid,
        Repo::Cancelled => Code::Cancelled,
        Repo::Storage(storage) => code_of_storage(storage.kind()),
        Repo::PackNotWritten { kind, .. } => code_of_storage(*kind),
        Repo::LockLost => Code::RepositoryUnavailable,
        Repo::Unprotected { .. } => Code::StorageObjectLockMissing,
        _ => Code::Internal,
    }
}

fn code_of_storage(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::NoSpace => Code::RepositoryFull,
        ErrorKind::QuotaExceeded => Code::RepositoryQuotaExceeded,
        ErrorKind::ReserveReached => Code::RepositoryLowSpace,
        ErrorKind::Damaged => Code::RepositoryDamaged,
        ErrorKind::Protected => Code::StorageProtected,
        ErrorKind::Unreachable => Code::StorageUnreachable,
        ErrorKind::CredentialsWrong => Code::StorageCredentialsWrong,
        ErrorKind::PermissionDenied => Code::StoragePermissionMissing,
        ErrorKind::ContainerMissing => Code::StorageContainerMissing,
        ErrorKind::CertificateUntrusted => Code::StorageCertificateUntrusted,
        ErrorKind::HostKeyMismatch => Code::StorageHostKeyMismatch,
        ErrorKind::ClockSkewed => Code::StorageClockSkewed,
        ErrorKind::ObjectLockMissing => Code::StorageObjectLockMissing,
        ErrorKind::NotFound | ErrorKind::AlreadyExists | ErrorKind::Timeout | ErrorKind::Other => {
            Code::RepositoryUnavailable
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_administrator_can_mend_is_not_called_a_bug() {
        let (kind, id) = (sendense_storage::FileKind::Pack, sendense_repo::PackId::of(b"a pack").into());
        let unprotected = Error::Repository(sendense_repo::Error::Unprotected { kind, id });
        assert_eq!(unprotected.code(), Code::StorageObjectLockMissing);
    }
}
