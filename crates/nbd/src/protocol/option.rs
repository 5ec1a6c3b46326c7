use std::fmt;

use bytes::{Buf, BufMut, BytesMut};

use super::{BASE_ALLOCATION, STRING_BYTES_MAX, Violation};

/// `IHAVEOPT`, also the start of each option ("Fixed newstyle negotiation").
pub(super) const OPTION_MAGIC: u64 = 0x4948_4156_454F_5054;
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;

/// An option reply holds at most a few fields and one or two strings.
const OPTION_PAYLOAD_BYTES_MAX: u64 = 2 * STRING_BYTES_MAX as u64 + 64;

/// `NBD_INFO_BLOCK_SIZE` is asked for; by asking, the client promises to respect it.
pub(super) const INFO_EXPORT: u16 = 0;
pub(super) const INFO_BLOCK_SIZE: u16 = 3;

/// The options that this client sends ("Option types").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionCode {
    /// `NBD_OPT_STARTTLS`.
    StartTls,
    /// `NBD_OPT_STRUCTURED_REPLY`.
    StructuredReply,
    /// `NBD_OPT_SET_META_CONTEXT`.
    SetMetaContext,
    /// `NBD_OPT_GO`.
    Go,
}

impl OptionCode {
    const fn number(self) -> u32 {
        match self {
            Self::StartTls => 5,
            Self::Go => 7,
            Self::StructuredReply => 8,
            Self::SetMetaContext => 10,
        }
    }

    /// The name in the protocol document.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::StartTls => "NBD_OPT_STARTTLS",
            Self::Go => "NBD_OPT_GO",
            Self::StructuredReply => "NBD_OPT_STRUCTURED_REPLY",
            Self::SetMetaContext => "NBD_OPT_SET_META_CONTEXT",
        }
    }

    /// Appends the option with its data. `export` is at most [`STRING_BYTES_MAX`] bytes.
    pub(super) fn encode(self, export: &str, out: &mut BytesMut) {
        let mut data = BytesMut::new();
        match self {
            Self::StartTls | Self::StructuredReply => {}
            Self::SetMetaContext => {
                put_string(&mut data, export);
                data.put_u32(1);
                put_string(&mut data, BASE_ALLOCATION);
            }
            Self::Go => {
                put_string(&mut data, export);
                data.put_u16(1);
                data.put_u16(INFO_BLOCK_SIZE);
            }
        }
        out.put_u64(OPTION_MAGIC);
        out.put_u32(self.number());
        out.put_u32(wire_length(data.len()));
        out.put_slice(&data);
    }
}

fn put_string(out: &mut BytesMut, text: &str) {
    out.put_u32(wire_length(text.len()));
    out.put_slice(text.as_bytes());
}

/// Lengths that we send are small: names are limited before they come here.
fn wire_length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Head of a reply to an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionReply {
    /// What the reply says.
    pub kind: OptionReplyKind,
    /// Length of the payload in bytes, already checked against the limit.
    pub length: usize,
}

impl OptionReply {
    /// Length of the head on the wire.
    pub const BYTES: usize = 20;

    /// Takes the head of a reply to `asked`.
    ///
    /// # Errors
    /// Wrong magic number, another option, an unknown reply type, a payload over the limit.
    pub fn decode(mut head: &[u8], asked: OptionCode) -> Result<Self, Violation> {
        let too_short = Violation::too_short("an option reply");
        let magic = head.try_get_u64().map_err(&too_short)?;
        let option = head.try_get_u32().map_err(&too_short)?;
        let kind = head.try_get_u32().map_err(&too_short)?;
        let length = head.try_get_u32().map_err(&too_short)?;
        if magic != OPTION_REPLY_MAGIC {
            return Err(Violation::OptionReplyMagic { found: magic });
        }
        if option != asked.number() {
            return Err(Violation::OptionMismatch { expected: asked.name(), found: option });
        }
        Violation::check_length("an option reply", length.into(), OPTION_PAYLOAD_BYTES_MAX)?;
        let kind = OptionReplyKind::from_wire(kind)
            .ok_or(Violation::UnexpectedOptionReply { option: asked.name(), kind })?;
        Ok(Self { kind, length: length as usize })
    }
}

/// "Option reply types".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionReplyKind {
    /// `NBD_REP_ACK`: done.
    Ack,
    /// `NBD_REP_INFO`: one more fact about the export.
    Info,
    /// `NBD_REP_META_CONTEXT`: one more context.
    MetaContext,
    /// One of `NBD_REP_ERR_*`.
    Error(Refusal),
}

const ERROR_BIT: u32 = 1 << 31;

impl OptionReplyKind {
    const fn from_wire(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Ack),
            3 => Some(Self::Info),
            4 => Some(Self::MetaContext),
            error if error & ERROR_BIT != 0 => Some(Self::Error(Refusal::from_wire(error & !ERROR_BIT))),
            _ => None,
        }
    }

    pub(super) const fn number(self) -> u32 {
        match self {
            Self::Ack => 1,
            Self::Info => 3,
            Self::MetaContext => 4,
            Self::Error(_) => ERROR_BIT,
        }
    }
}

/// Why a server refuses an option (`NBD_REP_ERR_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The server does not know the option.
    Unsupported,
    /// The server's configuration forbids it.
    Policy,
    /// The option was malformed, or makes no sense now.
    Invalid,
    /// Not possible on the server's platform.
    Platform,
    /// The server wants TLS first.
    TlsRequired,
    /// No such export. Servers also say so when opening the disk behind it failed.
    UnknownExport,
    /// The server is about to stop.
    ShuttingDown,
    /// The server insists on block sizes.
    BlockSizeRequired,
    /// The request or reply is too large.
    TooBig,
    /// The server speaks only extended headers.
    ExtendedHeaderRequired,
    /// Any other number, without the error bit.
    Other(u32),
}

impl Refusal {
    const fn from_wire(number: u32) -> Self {
        match number {
            1 => Self::Unsupported,
            2 => Self::Policy,
            3 => Self::Invalid,
            4 => Self::Platform,
            5 => Self::TlsRequired,
            6 => Self::UnknownExport,
            7 => Self::ShuttingDown,
            8 => Self::BlockSizeRequired,
            9 => Self::TooBig,
            10 => Self::ExtendedHeaderRequired,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unsupported => "the server does not support it",
            Self::Policy => "the server's policy forbids it",
            Self::Invalid => "the server takes it for invalid",
            Self::Platform => "the server's platform cannot do it",
            Self::TlsRequired => "the server requires TLS",
            Self::UnknownExport => "there is no such export, or it could not be opened",
            Self::ShuttingDown => "the server is shutting down",
            Self::BlockSizeRequired => "the server requires block sizes",
            Self::TooBig => "the request is too big",
            Self::ExtendedHeaderRequired => "the server requires extended headers",
            Self::Other(number) => return write!(f, "error {number}"),
        })
    }
}
