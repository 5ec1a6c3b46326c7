use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::export::SizeAndFlags;
use super::option::{INFO_BLOCK_SIZE, INFO_EXPORT, OPTION_MAGIC};
use super::{
    BASE_ALLOCATION, BlockSizes, ExportInfo, OptionCode, OptionReply, OptionReplyKind, Refusal,
    STRING_BYTES_MAX, Violation,
};
use crate::error::Error;

/// The handshake as a state machine: it says what to send and how many bytes it wants next.
///
/// Greeting, then `NBD_OPT_STARTTLS` if wanted (first, because the server forgets everything that was
/// said before it), `NBD_OPT_STRUCTURED_REPLY`, `NBD_OPT_SET_META_CONTEXT`, `NBD_OPT_GO`.
#[derive(Debug)]
pub struct Negotiation {
    export: String,
    wants_tls: bool,
    awaiting: Awaiting,
    replies_left: u32,
    has_structured_replies: bool,
    allocation_context_id: Option<u32>,
    size_and_flags: Option<SizeAndFlags>,
    block_sizes: BlockSizes,
}

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send these bytes (possibly none), receive exactly so many, hand them to [`Negotiation::advance`].
    Exchange {
        /// Bytes to send.
        send: Bytes,
        /// Number of bytes to receive.
        receive: usize,
    },
    /// Do the TLS handshake, then call [`Negotiation::tls_ready`].
    StartTls,
    /// The transmission phase has begun.
    Ready(ExportInfo),
}

#[derive(Debug, Clone, Copy)]
enum Awaiting {
    Greeting,
    ReplyHead(OptionCode),
    ReplyPayload(OptionCode, OptionReplyKind),
}

const GREETING_BYTES: usize = 18;
const GREETING_MAGIC: u64 = 0x4e42_444d_4147_4943;
/// "Handshake flags" and "Client flags" have the same bits: fixed newstyle, no zeroes.
const FLAG_FIXED_NEWSTYLE: u16 = 1;
const FLAG_NO_ZEROES: u16 = 2;
/// A server that never comes to an end of its replies is no server.
const OPTION_REPLIES_MAX: u32 = 64;

impl Negotiation {
    /// Starts a handshake for an export of at most [`STRING_BYTES_MAX`] bytes of name.
    #[must_use]
    pub fn new(export: &str, wants_tls: bool) -> Self {
        Self {
            export: export.to_owned(),
            wants_tls,
            awaiting: Awaiting::Greeting,
            replies_left: OPTION_REPLIES_MAX,
            has_structured_replies: false,
            allocation_context_id: None,
            size_and_flags: None,
            block_sizes: BlockSizes::UNANNOUNCED,
        }
    }

    /// The first step: the server greets.
    #[must_use]
    pub const fn start(&self) -> Step {
        Step::Exchange { send: Bytes::new(), receive: GREETING_BYTES }
    }

    /// Takes the bytes that the last step asked for.
    ///
    /// # Errors
    /// [`Error::Protocol`], [`Error::Refused`] and [`Error::TlsRequired`]; all end the connection.
    pub fn advance(&mut self, received: &[u8]) -> Result<Step, Error> {
        match self.awaiting {
            Awaiting::Greeting => self.greet(received),
            Awaiting::ReplyHead(option) => {
                let reply = OptionReply::decode(received, option)?;
                if reply.length == 0 {
                    return self.reply(option, reply.kind, &[]);
                }
                self.awaiting = Awaiting::ReplyPayload(option, reply.kind);
                Ok(Step::Exchange { send: Bytes::new(), receive: reply.length })
            }
            Awaiting::ReplyPayload(option, kind) => self.reply(option, kind, received),
        }
    }

    /// The TLS session stands; from here on everything is sent through it.
    pub fn tls_ready(&mut self) -> Step {
        self.ask(OptionCode::StructuredReply, BytesMut::new())
    }

    fn greet(&mut self, mut greeting: &[u8]) -> Result<Step, Error> {
        let too_short = Violation::too_short("a greeting");
        let magic = greeting.try_get_u64().map_err(&too_short)?;
        let style = greeting.try_get_u64().map_err(&too_short)?;
        let flags = greeting.try_get_u16().map_err(&too_short)?;
        if magic != GREETING_MAGIC {
            return Err(Violation::NotNbd { found: magic }.into());
        }
        if style != OPTION_MAGIC || flags & FLAG_FIXED_NEWSTYLE == 0 {
            return Err(Violation::NotFixedNewstyle.into());
        }
        let mut out = BytesMut::new();
        out.put_u32((flags & (FLAG_FIXED_NEWSTYLE | FLAG_NO_ZEROES)).into());
        let first = if self.wants_tls { OptionCode::StartTls } else { OptionCode::StructuredReply };
        Ok(self.ask(first, out))
    }

    fn ask(&mut self, option: OptionCode, mut out: BytesMut) -> Step {
        option.encode(&self.export, &mut out);
        self.awaiting = Awaiting::ReplyHead(option);
        self.replies_left = OPTION_REPLIES_MAX;
        Step::Exchange { send: out.freeze(), receive: OptionReply::BYTES }
    }

    fn reply(&mut self, option: OptionCode, kind: OptionReplyKind, payload: &[u8]) -> Result<Step, Error> {
        match (option, kind) {
            (_, OptionReplyKind::Error(refusal)) => self.refused(option, refusal, payload),
            (OptionCode::StartTls, OptionReplyKind::Ack) => Ok(Step::StartTls),
            (OptionCode::StructuredReply, OptionReplyKind::Ack) => {
                self.has_structured_replies = true;
                Ok(self.ask(OptionCode::SetMetaContext, BytesMut::new()))
            }
            (OptionCode::SetMetaContext, OptionReplyKind::MetaContext) => {
                self.note_context(payload)?;
                self.more(option)
            }
            (OptionCode::SetMetaContext, OptionReplyKind::Ack) => {
                Ok(self.ask(OptionCode::Go, BytesMut::new()))
            }
            (OptionCode::Go, OptionReplyKind::Info) => {
                self.note_info(payload)?;
                self.more(option)
            }
            (OptionCode::Go, OptionReplyKind::Ack) => self.finish(),
            (option, kind) => {
                Err(Violation::UnexpectedOptionReply { option: option.name(), kind: kind.number() }.into())
            }
        }
    }

    /// The same option has further replies.
    fn more(&mut self, option: OptionCode) -> Result<Step, Error> {
        self.replies_left = self.replies_left.checked_sub(1).ok_or(Violation::TooLong {
            what: "a list of option replies",
            length: u64::from(OPTION_REPLIES_MAX) + 1,
            limit: OPTION_REPLIES_MAX.into(),
        })?;
        self.awaiting = Awaiting::ReplyHead(option);
        Ok(Step::Exchange { send: Bytes::new(), receive: OptionReply::BYTES })
    }

    /// Structured replies and contexts are welcome but not needed; TLS and the export are.
    fn refused(&mut self, option: OptionCode, refusal: Refusal, payload: &[u8]) -> Result<Step, Error> {
        match (option, refusal) {
            (_, Refusal::TlsRequired) if !self.wants_tls => Err(Error::TlsRequired),
            (OptionCode::StructuredReply | OptionCode::SetMetaContext, _) => {
                self.allocation_context_id = None;
                Ok(self.ask(OptionCode::Go, BytesMut::new()))
            }
            (option, refusal) => {
                Err(Error::Refused { option: option.name(), refusal, message: readable(payload) })
            }
        }
    }

    fn note_context(&mut self, mut payload: &[u8]) -> Result<(), Violation> {
        let context_id = payload.try_get_u32().map_err(Violation::too_short("a metadata context"))?;
        if payload != BASE_ALLOCATION.as_bytes() || self.allocation_context_id.is_some() {
            return Err(Violation::UnexpectedContext { context_id });
        }
        self.allocation_context_id = Some(context_id);
        Ok(())
    }

    /// Facts that were not asked for are allowed and ignored.
    fn note_info(&mut self, mut payload: &[u8]) -> Result<(), Violation> {
        match payload.try_get_u16().map_err(Violation::too_short("an export info"))? {
            INFO_EXPORT => self.size_and_flags = Some(SizeAndFlags::decode(payload)?),
            INFO_BLOCK_SIZE => self.block_sizes = BlockSizes::decode(payload)?,
            _ => {}
        }
        Ok(())
    }

    fn finish(&self) -> Result<Step, Error> {
        let size_and_flags = self.size_and_flags.ok_or(Violation::NoExportInfo)?;
        Ok(Step::Ready(ExportInfo {
            size_bytes: size_and_flags.size_bytes,
            is_read_only: size_and_flags.is_read_only(),
            can_multi_conn: size_and_flags.can_multi_conn(),
            has_structured_replies: self.has_structured_replies,
            block_sizes: self.block_sizes,
            allocation_context_id: self.allocation_context_id,
        }))
    }
}

/// Words of a server for a person: limited, and without control characters that could fake log lines.
pub(super) fn readable(words: &[u8]) -> String {
    let words = words.get(..STRING_BYTES_MAX).unwrap_or(words);
    String::from_utf8_lossy(words).chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
