//! The one error of this crate.

use std::io;

/// What a source can fail with.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a source could not be read. The words never repeat the source of the error.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The range reaches beyond the end of the disk.
    #[error("{length} bytes at {offset} are not on a disk of {size_bytes} bytes")]
    OutOfRange {
        /// First byte asked for.
        offset: u64,
        /// Bytes asked for.
        length: u64,
        /// Bytes of the disk.
        size_bytes: u64,
    },
    /// A file could not be read.
    #[error("the file cannot be read")]
    File(#[source] io::Error),
    /// An NBD server could not be read.
    #[error(transparent)]
    Nbd(#[from] sendense_nbd::Error),
}

impl Error {
    /// Whether the same read may succeed later with nobody changing anything.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::OutOfRange { .. } | Self::File(_) => false,
            Self::Nbd(error) => error.is_temporary(),
        }
    }
}
