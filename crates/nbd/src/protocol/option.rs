//! The handshake: fixed newstyle negotiation and its options ("Fixed newstyle negotiation", "Option types").

use super::{Cursor, Malformed};

/// First bytes of every server.
pub const INIT_MAGIC: u64 = 0x4e42_444d_4147_4943;
/// Second magic of the server, and the magic of every option of the client: `IHAVEOPT`.
pub const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
/// Magic of every answer to an option.
pub const REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
/// Length of the server's greeting.
pub const GREETING_LEN: usize = 18;
/// Length of the head of an answer to an option.
pub const REPLY_HEAD_LEN: usize = 20;
/// Answers to options are short texts and numbers; more than this is not read.
pub const REPLY_LEN_MAX: u32 = 64 * 1024;

/// Handshake flag of the server and of the client: fixed newstyle.
pub const FLAG_FIXED_NEWSTYLE: u16 = 1 << 0;
/// Handshake flag: no 124 zeroes after `EXPORT_NAME`.
pub const FLAG_NO_ZEROES: u16 = 1 << 1;

/// What the client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum OptionKind {
    /// End the negotiation.
    Abort = 2,
    /// Secure the connection.
    StartTls = 5,
    /// Enter the transmission phase on an export.
    Go = 7,
    /// Answer reads in chunks.
    StructuredReply = 8,
    /// Choose what block status tells about.
    SetMetaContext = 10,
}

impl OptionKind {
    /// Name in the protocol's document.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Abort => "NBD_OPT_ABORT",
            Self::StartTls => "NBD_OPT_STARTTLS",
            Self::Go => "NBD_OPT_GO",
            Self::StructuredReply => "NBD_OPT_STRUCTURED_REPLY",
            Self::SetMetaContext => "NBD_OPT_SET_META_CONTEXT",
        }
    }
}

/// Checks the server's greeting and returns its handshake flags.
///
/// # Errors
/// When it is no NBD server, or one of the old style without options.
pub fn decode_greeting(bytes: &[u8]) -> Result<u16, Malformed> {
    let mut cursor = Cursor(bytes);
    if cursor.u64()? != INIT_MAGIC {
        return Err(Malformed("the greeting is not that of an NBD server".into()));
    }
    if cursor.u64()? != OPTION_MAGIC {
        return Err(Malformed("the server speaks the old style of the protocol".into()));
    }
    let flags = cursor.u16()?;
    if flags & FLAG_FIXED_NEWSTYLE == 0 {
        return Err(Malformed("the server does not speak the fixed newstyle".into()));
    }
    Ok(flags)
}

/// The client's handshake flags.
#[must_use]
pub fn encode_client_flags(server_flags: u16) -> [u8; 4] {
    u32::from(FLAG_FIXED_NEWSTYLE | (server_flags & FLAG_NO_ZEROES)).to_be_bytes()
}

/// An option with its data.
#[must_use]
pub fn encode_option(kind: OptionKind, data: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16 + data.len());
    bytes.extend_from_slice(&OPTION_MAGIC.to_be_bytes());
    bytes.extend_from_slice(&(kind as u32).to_be_bytes());
    bytes.extend_from_slice(&length_of(data));
    bytes.extend_from_slice(data);
    bytes
}

/// Data of `SET_META_CONTEXT` for `base:allocation` on one export.
#[must_use]
pub fn encode_meta_context(export: &str) -> Vec<u8> {
    let mut data = encode_text(export);
    data.extend_from_slice(&1_u32.to_be_bytes());
    data.extend_from_slice(&encode_text("base:allocation"));
    data
}

/// `NBD_INFO_BLOCK_SIZE`.
const INFO_BLOCK_SIZE: u16 = 3;

/// Data of `GO` for one export, asking for its block sizes.
#[must_use]
pub fn encode_go(export: &str) -> Vec<u8> {
    let mut data = encode_text(export);
    data.extend_from_slice(&1_u16.to_be_bytes());
    data.extend_from_slice(&INFO_BLOCK_SIZE.to_be_bytes());
    data
}

fn encode_text(text: &str) -> Vec<u8> {
    let mut bytes = length_of(text.as_bytes()).to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

fn length_of(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes()
}

/// Head of an answer to an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyHead {
    /// The option that is answered, as a number.
    pub option: u32,
    /// Kind of answer.
    pub kind: u32,
    /// Bytes that follow; at most [`REPLY_LEN_MAX`].
    pub length: u32,
}

/// Reads the head of an answer.
///
/// # Errors
/// When the magic is wrong or the answer is longer than anything that makes sense.
pub fn decode_reply_head(bytes: &[u8]) -> Result<ReplyHead, Malformed> {
    let mut cursor = Cursor(bytes);
    if cursor.u64()? != REPLY_MAGIC {
        return Err(Malformed("an answer to an option has the wrong magic".into()));
    }
    let head = ReplyHead { option: cursor.u32()?, kind: cursor.u32()?, length: cursor.u32()? };
    if head.length > REPLY_LEN_MAX {
        return Err(Malformed(format!("an answer to an option has {} bytes", head.length)));
    }
    Ok(head)
}

/// An answer to an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// The option is done.
    Ack,
    /// `NBD_INFO_EXPORT`: size and transmission flags.
    Export {
        /// Bytes of the export.
        size_bytes: u64,
        /// Transmission flags.
        flags: u16,
    },
    /// `NBD_INFO_BLOCK_SIZE`: what requests must look like.
    BlockSize {
        /// Requests are multiples of it.
        minimum: u32,
        /// Requests should be multiples of it.
        preferred: u32,
        /// Requests have at most that many bytes.
        maximum: u32,
    },
    /// A meta context and the number it is named by.
    MetaContext {
        /// Number in block status answers.
        id: u32,
    },
    /// The server says no.
    Refused(String),
    /// Something that the client did not ask for and may ignore.
    Other,
}

const REP_ACK: u32 = 1;
const REP_INFO: u32 = 3;
const REP_META_CONTEXT: u32 = 4;
const REP_ERROR_BIT: u32 = 1 << 31;

/// Reads the data of an answer.
///
/// # Errors
/// When it is too short, or its numbers contradict the protocol.
pub fn decode_reply(kind: u32, data: &[u8]) -> Result<Reply, Malformed> {
    let mut cursor = Cursor(data);
    match kind {
        REP_ACK => Ok(Reply::Ack),
        REP_INFO => decode_info(cursor),
        REP_META_CONTEXT => Ok(Reply::MetaContext { id: cursor.u32()? }),
        _ if kind & REP_ERROR_BIT != 0 => Ok(Reply::Refused(refusal(kind & !REP_ERROR_BIT, data))),
        _ => Ok(Reply::Other),
    }
}

fn decode_info(mut cursor: Cursor<'_>) -> Result<Reply, Malformed> {
    match cursor.u16()? {
        0 => Ok(Reply::Export { size_bytes: cursor.u64()?, flags: cursor.u16()? }),
        INFO_BLOCK_SIZE => {
            let (minimum, preferred, maximum) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
            // "Block size constraints": powers of two, the smallest at most 64 KiB.
            let is_valid =
                minimum.is_power_of_two() && minimum <= 65_536 && preferred >= minimum && maximum >= minimum;
            if !is_valid {
                return Err(Malformed(format!(
                    "block sizes {minimum}, {preferred}, {maximum} make no sense"
                )));
            }
            Ok(Reply::BlockSize { minimum, preferred, maximum })
        }
        _ => Ok(Reply::Other),
    }
}

fn refusal(number: u32, text: &[u8]) -> String {
    let name = match number {
        1 => "not supported",
        2 => "forbidden by policy",
        3 => "invalid request",
        4 => "not supported on this platform",
        5 => "TLS is required",
        6 => "no such export",
        7 => "the server is shutting down",
        8 => "block sizes must be respected",
        9 => "the request is too big",
        _ => "unknown error",
    };
    let words = String::from_utf8_lossy(&text[..text.len().min(500)]);
    if words.is_empty() { name.into() } else { format!("{name} ({words})") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_refusal_carries_the_words_of_the_server() {
        let reply = decode_reply(REP_ERROR_BIT | 6, b"export 'x' not present").unwrap();
        assert_eq!(reply, Reply::Refused("no such export (export 'x' not present)".into()));
    }

    #[test]
    fn an_old_style_server_is_named() {
        let mut greeting = INIT_MAGIC.to_be_bytes().to_vec();
        greeting.extend_from_slice(&0x0000_4202_8186_1253_u64.to_be_bytes());
        greeting.extend_from_slice(&[0; 2]);
        assert!(decode_greeting(&greeting).unwrap_err().0.contains("old style"));
    }

    #[test]
    fn block_sizes_that_make_no_sense_are_refused() {
        let mut data = INFO_BLOCK_SIZE.to_be_bytes().to_vec();
        for size in [3_u32, 4096, 65_536] {
            data.extend_from_slice(&size.to_be_bytes());
        }
        assert!(decode_reply(REP_INFO, &data).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(kind in any::<u32>(), bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode_greeting(&bytes);
            let _ = decode_reply_head(&bytes);
            for kind in [kind, REP_ACK, REP_INFO, REP_META_CONTEXT, REP_ERROR_BIT | 1] {
                let _ = decode_reply(kind, &bytes);
            }
        }
    }
}
