use std::fmt;

/// Error numbers of replies ("Error values"). The numbers are Linux's, on every platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errno {
    /// `EPERM`: the export is read-only or the operation is forbidden.
    NotPermitted,
    /// `EIO`: the server could not read its disk.
    Io,
    /// `ENOMEM`: the server has no memory for the request.
    OutOfMemory,
    /// `EINVAL`: the server takes the request for malformed.
    Invalid,
    /// `ENOSPC`: the disk behind the export is full.
    NoSpace,
    /// `EOVERFLOW`: the request is too large for the server.
    TooLarge,
    /// `ENOTSUP`: the server does not know the command.
    NotSupported,
    /// `ESHUTDOWN`: the server is about to stop.
    ShuttingDown,
    /// Any other number.
    Other(u32),
}

impl Errno {
    /// Takes a number from the wire. Zero is no error and the caller's business.
    #[must_use]
    pub const fn from_wire(number: u32) -> Self {
        match number {
            1 => Self::NotPermitted,
            5 => Self::Io,
            12 => Self::OutOfMemory,
            22 => Self::Invalid,
            28 => Self::NoSpace,
            75 => Self::TooLarge,
            95 => Self::NotSupported,
            108 => Self::ShuttingDown,
            other => Self::Other(other),
        }
    }

    /// Whether the same request may succeed on a new connection.
    #[must_use]
    pub const fn is_temporary(self) -> bool {
        matches!(self, Self::Io | Self::OutOfMemory | Self::ShuttingDown)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotPermitted => "operation not permitted (EPERM)",
            Self::Io => "input/output error (EIO)",
            Self::OutOfMemory => "out of memory (ENOMEM)",
            Self::Invalid => "invalid request (EINVAL)",
            Self::NoSpace => "no space left (ENOSPC)",
            Self::TooLarge => "request too large (EOVERFLOW)",
            Self::NotSupported => "not supported (ENOTSUP)",
            Self::ShuttingDown => "shutting down (ESHUTDOWN)",
            Self::Other(number) => return write!(f, "error number {number}"),
        })
    }
}
