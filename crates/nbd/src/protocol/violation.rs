use bytes::TryGetError;

/// A server sent something the protocol does not allow. The connection cannot go on: where the next
/// message starts is no longer known, or the server's words cannot be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// The greeting is not one of an NBD server.
    #[error("The peer is no NBD server: its greeting starts with {found:#018x}")]
    NotNbd {
        /// The first eight bytes.
        found: u64,
    },
    /// The server speaks the protocol of before 2012.
    #[error("The NBD server does not speak the fixed newstyle handshake")]
    NotFixedNewstyle,
    /// An option reply has the wrong magic number.
    #[error("An option reply of the NBD server starts with {found:#018x}")]
    OptionReplyMagic {
        /// The number found.
        found: u64,
    },
    /// An option reply belongs to an option that was not asked.
    #[error("The NBD server answered option {found} while {expected} was asked")]
    OptionMismatch {
        /// The option that was sent.
        expected: &'static str,
        /// The option of the reply.
        found: u32,
    },
    /// The reply type makes no sense for the option.
    #[error("The NBD server sent a reply of type {kind:#x} to {option}")]
    UnexpectedOptionReply {
        /// The option that was sent.
        option: &'static str,
        /// The reply type.
        kind: u32,
    },
    /// `NBD_OPT_GO` succeeded without telling size and flags.
    #[error("The NBD server did not describe the export")]
    NoExportInfo,
    /// The block sizes contradict the protocol.
    #[error("The NBD server announced block sizes of {minimum}, {preferred} and {maximum} bytes")]
    BlockSizes {
        /// Minimum block size.
        minimum: u32,
        /// Preferred block size.
        preferred: u32,
        /// Maximum payload.
        maximum: u32,
    },
    /// The export has a size that no file can have.
    #[error("The NBD server announced an export of {size_bytes} bytes")]
    ExportTooLarge {
        /// The announced size.
        size_bytes: u64,
    },
    /// A message ends before its fields do.
    #[error("The NBD server sent {what} that is too short")]
    TooShort {
        /// Which message.
        what: &'static str,
    },
    /// A message is longer than it may be.
    #[error("The NBD server sent {what} of {length} bytes; at most {limit} are allowed")]
    TooLong {
        /// Which message.
        what: &'static str,
        /// Its announced length.
        length: u64,
        /// The limit.
        limit: u64,
    },
    /// A reply has the wrong magic number.
    #[error("A reply of the NBD server starts with {found:#010x}")]
    ReplyMagic {
        /// The number found.
        found: u32,
    },
    /// A reply belongs to no request that is waiting.
    #[error("The NBD server answered request {cookie}, which is not waiting for an answer")]
    UnknownCookie {
        /// The cookie ("handle") of the reply.
        cookie: u64,
    },
    /// A simple reply where only a structured one is allowed, or the other way round.
    #[error("The NBD server sent a {found} reply where only a {expected} one is allowed")]
    WrongReplyStyle {
        /// `simple` or `structured`.
        expected: &'static str,
        /// `simple` or `structured`.
        found: &'static str,
    },
    /// A chunk type that makes no sense for the request.
    #[error("The NBD server sent a chunk of type {kind} in answer to a {command}")]
    UnexpectedChunk {
        /// The chunk type.
        kind: u16,
        /// The request.
        command: &'static str,
    },
    /// A chunk without bytes, or a description of nothing.
    #[error("The NBD server sent an empty {what}")]
    Empty {
        /// Which message.
        what: &'static str,
    },
    /// A chunk reaches outside of the request.
    #[error(
        "The NBD server sent {length} bytes of offset {offset} in answer to a request for {request_length} bytes at {request_offset}"
    )]
    Outside {
        /// Start of the chunk.
        offset: u64,
        /// Length of the chunk.
        length: u64,
        /// Start of the request.
        request_offset: u64,
        /// Length of the request.
        request_length: u64,
    },
    /// Two chunks of one reply hold the same bytes.
    #[error("The NBD server sent bytes of offset {offset} twice in one reply")]
    Overlap {
        /// Start of the second chunk.
        offset: u64,
    },
    /// A reply ended although bytes are missing.
    #[error(
        "The NBD server ended its reply for {length} bytes at offset {offset} with {missing} bytes missing"
    )]
    Gap {
        /// Start of the request.
        offset: u64,
        /// Length of the request.
        length: u64,
        /// Bytes that never came.
        missing: u64,
    },
    /// A reply consists of more scattered pieces than any server needs.
    #[error("The NBD server scattered its reply for offset {offset} over too many pieces")]
    Scattered {
        /// Start of the request.
        offset: u64,
    },
    /// Block status came twice, or for a context that was not negotiated.
    #[error("The NBD server reported block status of context {context_id}, which was not expected")]
    UnexpectedContext {
        /// The context of the chunk.
        context_id: u32,
    },
    /// An error chunk without an error.
    #[error("The NBD server reported an error without an error number")]
    ErrorWithoutNumber,
}

impl Violation {
    /// For `map_err` on reads of fields: the message named `what` ended early.
    pub(crate) fn too_short(what: &'static str) -> impl Fn(TryGetError) -> Self {
        move |_| Self::TooShort { what }
    }

    /// Believes a length only up to a limit.
    pub(crate) fn check_length(what: &'static str, length: u64, limit: u64) -> Result<(), Self> {
        if length > limit { Err(Self::TooLong { what, length, limit }) } else { Ok(()) }
    }
}
