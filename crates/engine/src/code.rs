//! The stable words by which callers tell errors apart.

/// Declares the enum and its texts in one table, so that no code can lack one.
macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $status:literal;)*) => {
        /// What went wrong, in the words of the contract. A code never changes its meaning.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// The code as it stands on the wire and in the API.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The HTTP status it is answered with.
            #[must_use]
            pub fn http_status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// The code of this text, if there is one.
            #[must_use]
            pub fn from_text(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$name),)* _ => None }
            }
        }
    };
}

codes! {
    /// No ticket, a wrong one, an expired one, or one of a session that has ended.
    TicketInvalid = "ticket-invalid", 401;
    /// No such capture, or no such disk in it.
    CaptureUnknown = "capture-unknown", 404;
    /// Size, coverage, chunk size or attempt do not fit the session.
    CaptureMismatch = "capture-mismatch", 409;
    /// Something of the capture is missing.
    CaptureIncomplete = "capture-incomplete", 409;
    /// The peer speaks another version.
    ProtocolMismatch = "protocol-mismatch", 409;
    /// A body does not follow the protocol.
    ChunkMalformed = "chunk-malformed", 400;
    /// The bytes of a chunk do not have its id.
    ChunkHashMismatch = "chunk-hash-mismatch", 422;
    /// A body, frame or list is beyond its limit.
    FrameTooLarge = "frame-too-large", 413;
    /// The Hub did not answer for longer than the grace period.
    DataPlaneUnreachable = "data-plane-unreachable", 503;
    /// The Hub shows another certificate than the pinned one.
    HubCertificateMismatch = "hub-certificate-mismatch", 502;
    /// The base restore point does not hold this disk.
    BaseDiskMissing = "base-disk-missing", 422;
    /// The disk had another size in the base.
    BaseSizeDiffers = "base-size-differs", 422;
    /// The base was cut into chunks of another size.
    BaseChunkSizeDiffers = "base-chunk-size-differs", 422;
    /// The source disk could not be opened.
    DiskOpenFailed = "disk-open-failed", 502;
    /// The source disk could not be read.
    DiskReadFailed = "disk-read-failed", 502;
    /// There is a repository already.
    RepositoryExists = "repository-exists", 409;
    /// There is no repository at this place.
    RepositoryNotFound = "repository-not-found", 422;
    /// The password opens no key of the repository.
    RepositoryPasswordWrong = "repository-password-wrong", 422;
    /// The repository's format version is not known.
    RepositoryUnsupported = "repository-unsupported", 422;
    /// The storage of the repository failed, perhaps for a moment.
    RepositoryUnavailable = "repository-unavailable", 503;
    /// Another program holds an exclusive lock.
    RepositoryLocked = "repository-locked", 409;
    /// A file of the repository is damaged or missing.
    RepositoryDamaged = "repository-damaged", 500;
    /// No space left in the repository.
    RepositoryFull = "repository-full", 507;
    /// The quota that the repository was given is used up.
    RepositoryQuotaExceeded = "repository-quota-exceeded", 507;
    /// What is left of the place is kept for finishing what is under way.
    RepositoryLowSpace = "repository-low-space", 507;
    /// The key is the one in use, or the last one.
    RepositoryKeyLast = "repository-key-last", 409;
    /// The place gives no answer.
    StorageUnreachable = "storage-unreachable", 503;
    /// The place does not accept who we say we are.
    StorageCredentialsWrong = "storage-credentials-wrong", 422;
    /// The place knows us and refuses the operation.
    StoragePermissionMissing = "storage-permission-missing", 422;
    /// The bucket, container or folder does not exist.
    StorageContainerMissing = "storage-container-missing", 422;
    /// The certificate of the place is not one that we trust.
    StorageCertificateUntrusted = "storage-certificate-untrusted", 422;
    /// The key of the SSH server is not the pinned one.
    StorageHostKeyMismatch = "storage-host-key-mismatch", 422;
    /// Our clock and that of the place are too far apart.
    StorageClockSkewed = "storage-clock-skewed", 422;
    /// Files were to be protected, and the place cannot.
    StorageObjectLockMissing = "storage-object-lock-missing", 422;
    /// The file is protected against removal.
    StorageProtected = "storage-protected", 409;
    /// The restore point is not in the repository.
    RestorePointMissing = "restore-point-missing", 410;
    /// The restore point, or a chunk of it, cannot be read.
    RestorePointDamaged = "restore-point-damaged", 500;
    /// A prune is about to remove what the restore point needs; the next one takes that back.
    RestorePointBeingPruned = "restore-point-being-pruned", 409;
    /// The restore target is not allowed.
    RestoreTargetInvalid = "restore-target-invalid", 400;
    /// The restore target exists already.
    RestoreTargetExists = "restore-target-exists", 409;
    /// The restore target has no space left.
    RestoreTargetFull = "restore-target-full", 507;
    /// An argument is out of its range.
    RequestInvalid = "request-invalid", 400;
    /// The operation was cancelled.
    Cancelled = "cancelled", 409;
    /// A bug of ours.
    Internal = "internal", 500;
}
