use bytes::Buf;

use super::Violation;

/// What the server tells of an export at the end of the handshake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportInfo {
    /// Size in bytes; not necessarily a multiple of anything.
    pub size_bytes: u64,
    /// The server refuses writes.
    pub is_read_only: bool,
    /// Several connections see each other's writes (`NBD_FLAG_CAN_MULTI_CONN`).
    pub can_multi_conn: bool,
    /// Replies come in chunks that can describe holes.
    pub has_structured_replies: bool,
    /// What requests have to look like.
    pub block_sizes: BlockSizes,
    /// Number that the server chose for `base:allocation`.
    pub allocation_context_id: Option<u32>,
}

impl ExportInfo {
    /// Whether [`crate::Client::block_status`] works on this export.
    #[must_use]
    pub const fn has_block_status(&self) -> bool {
        self.allocation_context_id.is_some()
    }

    /// Whether two connections lead to the same export, as far as one can tell. The number of the context may
    /// differ: it belongs to the connection.
    pub(crate) fn describes_the_same_as(&self, other: &Self) -> bool {
        self.size_bytes == other.size_bytes
            && self.block_sizes == other.block_sizes
            && self.is_read_only == other.is_read_only
            && self.has_block_status() == other.has_block_status()
    }
}

/// Block size constraints ("Block size constraints"), all in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockSizes {
    /// Offsets and lengths of requests are multiples of this power of two.
    pub minimum: u32,
    /// Requests of multiples of this are fast.
    pub preferred: u32,
    /// Longest payload of one request.
    pub maximum: u32,
}

impl BlockSizes {
    /// What a client assumes of a server that announces nothing and wants to work with any.
    pub const UNANNOUNCED: Self = Self { minimum: 512, preferred: 4096, maximum: 32 << 20 };

    /// Largest minimum block size that a server may ask for.
    pub const MINIMUM_LIMIT: u32 = 64 << 10;

    /// Payload of `NBD_INFO_BLOCK_SIZE`, after the type.
    pub(super) fn decode(mut fields: &[u8]) -> Result<Self, Violation> {
        let too_short = Violation::too_short("a block size info");
        let minimum = fields.try_get_u32().map_err(&too_short)?;
        let preferred = fields.try_get_u32().map_err(&too_short)?;
        let maximum = fields.try_get_u32().map_err(&too_short)?;
        let is_valid = minimum.is_power_of_two() && minimum <= Self::MINIMUM_LIMIT && maximum >= minimum;
        if !is_valid {
            return Err(Violation::BlockSizes { minimum, preferred, maximum });
        }
        Ok(Self { minimum, preferred, maximum })
    }
}

/// Payload of `NBD_INFO_EXPORT`, after the type.
#[derive(Debug, Clone, Copy)]
pub(super) struct SizeAndFlags {
    pub(super) size_bytes: u64,
    flags: u16,
}

/// "Transmission flags".
const FLAG_READ_ONLY: u16 = 1 << 1;
const FLAG_CAN_MULTI_CONN: u16 = 1 << 8;

impl SizeAndFlags {
    pub(super) fn decode(mut fields: &[u8]) -> Result<Self, Violation> {
        let too_short = Violation::too_short("an export info");
        let size_bytes = fields.try_get_u64().map_err(&too_short)?;
        let flags = fields.try_get_u16().map_err(&too_short)?;
        // Leaves room to round the size up to any block size without overflow.
        if size_bytes > i64::MAX.unsigned_abs() {
            return Err(Violation::ExportTooLarge { size_bytes });
        }
        Ok(Self { size_bytes, flags })
    }

    pub(super) const fn is_read_only(self) -> bool {
        self.flags & FLAG_READ_ONLY != 0
    }

    pub(super) const fn can_multi_conn(self) -> bool {
        self.flags & FLAG_CAN_MULTI_CONN != 0
    }
}
