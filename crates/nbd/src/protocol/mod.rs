//! The NBD protocol as pure functions and state machines over bytes; no sockets, no clocks.
//!
//! Everything here takes untrusted bytes: any input leads to a value or a [`Violation`], never to a panic,
//! and every length is limited before it is believed. Spoken is the fixed newstyle handshake with
//! `NBD_OPT_STARTTLS`, `NBD_OPT_STRUCTURED_REPLY`, `NBD_OPT_SET_META_CONTEXT` (`base:allocation`) and
//! `NBD_OPT_GO`, then simple and structured replies. Extended headers are not asked for: they only add
//! 64-bit lengths, which reading in pieces of a few MiB has no use for.

mod block_status;
mod errno;
mod export;
mod negotiation;
mod option;
mod read_answer;
mod reply;
mod request;
mod violation;

pub use block_status::{Extent, STATUS_PAYLOAD_BYTES_MAX, StatusAnswer};
pub use errno::Errno;
pub use export::{BlockSizes, ExportInfo};
pub use negotiation::{Negotiation, Step};
pub use option::{OptionCode, OptionReply, OptionReplyKind, Refusal};
pub use read_answer::ReadAnswer;
pub use reply::{ChunkKind, ERROR_PAYLOAD_BYTES_MAX, ReplyHead, ServerFailure};
pub use request::{Command, REQUEST_BYTES, Request};
pub use violation::Violation;

/// Longest string of the protocol ("Values": strings are limited to 4096 bytes).
pub const STRING_BYTES_MAX: usize = 4096;

/// The metadata context that tells holes and zeroes from data ("Metadata querying").
pub(crate) const BASE_ALLOCATION: &str = "base:allocation";
