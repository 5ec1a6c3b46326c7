//! The transmission phase: requests, simple replies and structured replies ("Transmission phase").

use super::{Cursor, Malformed};

/// Magic of every request.
pub const REQUEST_MAGIC: u32 = 0x2560_9513;
/// Magic of a simple reply.
pub const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
/// Magic of a chunk of a structured reply.
pub const STRUCTURED_REPLY_MAGIC: u32 = 0x668e_33ef;
/// Length of a request without payload.
pub const REQUEST_LEN: usize = 28;
/// Length of what follows the magic of a simple reply.
pub const SIMPLE_REPLY_REST_LEN: usize = 12;
/// Length of what follows the magic of a structured reply's chunk.
pub const STRUCTURED_REPLY_REST_LEN: usize = 16;
/// Longest chunk of a structured reply that carries no data of the disk.
pub const CONTROL_CHUNK_LEN_MAX: u32 = 16 * 1024 * 1024;

/// Transmission flags of an export.
pub mod flags {
    /// The other bits mean something.
    pub const HAS_FLAGS: u16 = 1 << 0;
    /// The export cannot be written.
    pub const READ_ONLY: u16 = 1 << 1;
    /// Several connections see the same data.
    pub const CAN_MULTI_CONN: u16 = 1 << 8;
}

/// What a client asks for in this phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Command {
    /// Read bytes.
    Read = 0,
    /// End the connection; there is no reply.
    Disconnect = 2,
    /// Tell which ranges are holes.
    BlockStatus = 7,
}

/// A request. `cookie` comes back with its replies.
#[must_use]
pub fn encode_request(command: Command, cookie: u64, offset: u64, length: u32) -> [u8; REQUEST_LEN] {
    let mut bytes = [0; REQUEST_LEN];
    bytes[0..4].copy_from_slice(&REQUEST_MAGIC.to_be_bytes());
    bytes[6..8].copy_from_slice(&(command as u16).to_be_bytes());
    bytes[8..16].copy_from_slice(&cookie.to_be_bytes());
    bytes[16..24].copy_from_slice(&offset.to_be_bytes());
    bytes[24..28].copy_from_slice(&length.to_be_bytes());
    bytes
}

/// A simple reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimpleReply {
    /// 0, or why it failed.
    pub error: u32,
    /// The request that is answered.
    pub cookie: u64,
}

/// Reads what follows the magic of a simple reply.
///
/// # Errors
/// When there are too few bytes.
pub fn decode_simple_reply(rest: &[u8]) -> Result<SimpleReply, Malformed> {
    let mut cursor = Cursor(rest);
    Ok(SimpleReply { error: cursor.u32()?, cookie: cursor.u64()? })
}

/// Head of a chunk of a structured reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkHead {
    /// No chunk follows this one.
    pub is_last: bool,
    /// What it carries.
    pub kind: ChunkKind,
    /// The request that is answered.
    pub cookie: u64,
    /// Bytes that follow.
    pub length: u32,
}

/// Kinds of chunks ("Structured reply types").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChunkKind {
    /// Nothing.
    None,
    /// An offset and data from there.
    OffsetData,
    /// An offset and the length of a hole.
    OffsetHole,
    /// Lengths and flags of ranges.
    BlockStatus,
    /// An error, and words.
    Error,
    /// An error with words and an offset.
    ErrorOffset,
}

/// Reads what follows the magic of a structured reply's chunk. The length fits the kind.
///
/// # Errors
/// When the kind is not known, or the length cannot be right for it.
pub fn decode_chunk_head(rest: &[u8]) -> Result<ChunkHead, Malformed> {
    let mut cursor = Cursor(rest);
    let (flags, number, cookie, length) = (cursor.u16()?, cursor.u16()?, cursor.u64()?, cursor.u32()?);
    let kind = match number {
        0 => ChunkKind::None,
        1 => ChunkKind::OffsetData,
        2 => ChunkKind::OffsetHole,
        5 => ChunkKind::BlockStatus,
        0x8001 => ChunkKind::Error,
        0x8002 => ChunkKind::ErrorOffset,
        _ => return Err(Malformed(format!("a reply has the unknown type {number:#x}"))),
    };
    let is_right = match kind {
        ChunkKind::None => length == 0,
        ChunkKind::OffsetData => length > 8,
        ChunkKind::OffsetHole => length == 12,
        ChunkKind::BlockStatus => length >= 12 && (length - 4) % 8 == 0,
        ChunkKind::Error | ChunkKind::ErrorOffset => length >= 6,
    };
    if !is_right || (kind != ChunkKind::OffsetData && length > CONTROL_CHUNK_LEN_MAX) {
        return Err(Malformed(format!("a reply of type {kind:?} has {length} bytes")));
    }
    Ok(ChunkHead { is_last: flags & 1 != 0, kind, cookie, length })
}

/// An offset and the length of a hole.
///
/// # Errors
/// When there are too few bytes.
pub fn decode_hole(data: &[u8]) -> Result<(u64, u32), Malformed> {
    let mut cursor = Cursor(data);
    Ok((cursor.u64()?, cursor.u32()?))
}

/// One range of a block status: bytes and the flags of `base:allocation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRange {
    /// Bytes of the range; never 0.
    pub length: u32,
    /// Nothing is allocated there.
    pub is_hole: bool,
    /// Reads give zeroes.
    pub is_zero: bool,
}

/// The meta context's number and its ranges, in order.
///
/// # Errors
/// When a range is empty or bytes are missing.
pub fn decode_block_status(data: &[u8]) -> Result<(u32, Vec<StatusRange>), Malformed> {
    let mut cursor = Cursor(data);
    let context = cursor.u32()?;
    let mut ranges = Vec::with_capacity(cursor.0.len() / 8);
    while !cursor.is_empty() {
        let (length, flags) = (cursor.u32()?, cursor.u32()?);
        if length == 0 {
            return Err(Malformed("a block status has an empty range".into()));
        }
        ranges.push(StatusRange { length, is_hole: flags & 1 != 0, is_zero: flags & 2 != 0 });
    }
    Ok((context, ranges))
}

/// The number of an error chunk.
///
/// # Errors
/// When there are too few bytes.
pub fn decode_error(data: &[u8]) -> Result<u32, Malformed> {
    Cursor(data).u32()
}

/// Name of an error number ("Error values").
#[must_use]
pub fn error_name(number: u32) -> &'static str {
    match number {
        1 => "EPERM",
        5 => "EIO",
        12 => "ENOMEM",
        22 => "EINVAL",
        28 => "ENOSPC",
        75 => "EOVERFLOW",
        95 => "ENOTSUP",
        108 => "ESHUTDOWN",
        _ => "an unknown error",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(kind: u16, length: u32) -> Vec<u8> {
        let mut bytes = vec![0, 1];
        bytes.extend_from_slice(&kind.to_be_bytes());
        bytes.extend_from_slice(&7_u64.to_be_bytes());
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes
    }

    #[test]
    fn a_request_has_its_numbers_in_network_order() {
        let bytes = encode_request(Command::Read, 0x0102, 0x1_0000_0000, 512);
        assert_eq!(bytes[..4], [0x25, 0x60, 0x95, 0x13]);
        assert_eq!(bytes[8..16], [0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(bytes[16..24], [0, 0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(bytes[24..], [0, 0, 2, 0]);
    }

    #[test]
    fn a_length_that_does_not_fit_the_kind_is_refused() {
        for (kind, length) in
            [(0, 1), (1, 8), (2, 13), (5, 4), (5, 13), (0x8001, 5), (5, u32::MAX - 3), (9, 0)]
        {
            assert!(decode_chunk_head(&head(kind, length)).is_err(), "{kind} {length}");
        }
        assert!(decode_chunk_head(&head(1, u32::MAX)).unwrap().is_last);
    }

    #[test]
    fn an_empty_range_is_refused() {
        assert!(decode_block_status(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3]).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = decode_simple_reply(&bytes);
            let _ = decode_chunk_head(&bytes);
            let _ = decode_hole(&bytes);
            let _ = decode_block_status(&bytes);
            let _ = decode_error(&bytes);
        }
    }
}
