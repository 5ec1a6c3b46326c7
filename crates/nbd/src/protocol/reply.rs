use bytes::Buf;

use super::negotiation::readable;
use super::{Errno, STRING_BYTES_MAX, Violation};

const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
const STRUCTURED_REPLY_MAGIC: u32 = 0x668e_33ef;

/// `NBD_REPLY_FLAG_DONE`.
const FLAG_DONE: u16 = 1;

/// An error chunk: number, length of the message, message, offset.
pub const ERROR_PAYLOAD_BYTES_MAX: u64 = 4 + 2 + STRING_BYTES_MAX as u64 + 8;

/// The 16 bytes with which both reply styles begin. A chunk's length follows as 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyHead {
    /// "Simple reply message". A successful read's data follows.
    Simple {
        /// The request that is answered.
        cookie: u64,
        /// `None` is success.
        errno: Option<Errno>,
    },
    /// "Structured reply chunk message".
    Chunk {
        /// The request that is answered.
        cookie: u64,
        /// What the chunk holds.
        kind: ChunkKind,
        /// No further chunk belongs to the request.
        is_last: bool,
    },
}

impl ReplyHead {
    /// Length on the wire.
    pub const BYTES: usize = 16;

    /// Takes the head of a reply.
    ///
    /// # Errors
    /// The magic number is neither of the two. Fewer than 16 bytes.
    pub fn decode(mut head: &[u8]) -> Result<Self, Violation> {
        let too_short = Violation::too_short("a reply");
        match head.try_get_u32().map_err(&too_short)? {
            SIMPLE_REPLY_MAGIC => {
                let number = head.try_get_u32().map_err(&too_short)?;
                let cookie = head.try_get_u64().map_err(&too_short)?;
                Ok(Self::Simple { cookie, errno: (number != 0).then(|| Errno::from_wire(number)) })
            }
            STRUCTURED_REPLY_MAGIC => {
                let flags = head.try_get_u16().map_err(&too_short)?;
                let kind = ChunkKind::from_wire(head.try_get_u16().map_err(&too_short)?);
                let cookie = head.try_get_u64().map_err(&too_short)?;
                Ok(Self::Chunk { cookie, kind, is_last: flags & FLAG_DONE != 0 })
            }
            found => Err(Violation::ReplyMagic { found }),
        }
    }
}

/// "Structured reply types".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkKind {
    /// Nothing but the end of the reply.
    None,
    /// Offset and data.
    OffsetData,
    /// Offset and length of zeroes.
    OffsetHole,
    /// Context and descriptors.
    BlockStatus,
    /// An error of the whole request, or of an unknown type.
    Error,
    /// An error with its offset.
    ErrorOffset,
    /// A type that the protocol does not define.
    Unknown(u16),
}

const ERROR_BIT: u16 = 1 << 15;

impl ChunkKind {
    const fn from_wire(number: u16) -> Self {
        match number {
            0 => Self::None,
            1 => Self::OffsetData,
            2 => Self::OffsetHole,
            5 => Self::BlockStatus,
            0x8002 => Self::ErrorOffset,
            // Unknown types with this bit are errors, of which only the number is understood.
            error if error & ERROR_BIT != 0 => Self::Error,
            other => Self::Unknown(other),
        }
    }

    /// The number on the wire, for messages.
    #[must_use]
    pub const fn number(self) -> u16 {
        match self {
            Self::None => 0,
            Self::OffsetData => 1,
            Self::OffsetHole => 2,
            Self::BlockStatus => 5,
            Self::Error => 0x8001,
            Self::ErrorOffset => 0x8002,
            Self::Unknown(number) => number,
        }
    }
}

/// What an error chunk or a simple reply says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFailure {
    /// The error number.
    pub errno: Errno,
    /// Where it happened, if the server knows.
    pub offset: Option<u64>,
    /// The server's words, possibly empty.
    pub message: String,
}

impl ServerFailure {
    /// Takes the payload of an error chunk of at most [`ERROR_PAYLOAD_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// The payload is too short for its fields, or the error number is 0.
    pub fn decode(kind: ChunkKind, mut payload: &[u8]) -> Result<Self, Violation> {
        let too_short = Violation::too_short("an error chunk");
        let number = payload.try_get_u32().map_err(&too_short)?;
        if number == 0 {
            return Err(Violation::ErrorWithoutNumber);
        }
        let length = usize::from(payload.try_get_u16().map_err(&too_short)?);
        let (message, mut rest) =
            payload.split_at_checked(length).ok_or(Violation::TooShort { what: "an error chunk" })?;
        let offset = match kind {
            ChunkKind::ErrorOffset => Some(rest.try_get_u64().map_err(&too_short)?),
            _ => None,
        };
        Ok(Self { errno: Errno::from_wire(number), offset, message: readable(message) })
    }
}
