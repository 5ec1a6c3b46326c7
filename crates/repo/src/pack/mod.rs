//! Packs: files of many blobs, each sealed on its own, and a sealed header that says what they are.
//!
//! ```text
//! blob ‖ blob ‖ … ‖ header ‖ length of the header (u32, little-endian)
//! ```

mod builder;
mod header;

pub(crate) use builder::{FinishedPack, PackBuilder};
pub(crate) use header::{blob_size_bytes, parse, size_bytes};

use serde::{Deserialize, Serialize};

use crate::crypto::OVERHEAD_BYTES_U32;

/// What a blob is. Chunks and trees never share a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BlobKind {
    /// A piece of a file: a chunk.
    Data,
    /// A directory.
    Tree,
}

/// A blob in a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PackedBlob {
    pub(crate) kind: BlobKind,
    /// SHA-256 of the plain bytes.
    pub(crate) id: [u8; 32],
    /// Where its sealed bytes begin in the pack.
    pub(crate) offset: u32,
    /// How many sealed bytes there are.
    pub(crate) length: u32,
    /// The length of the plain bytes where they are compressed; 0 where they are stored as they are.
    pub(crate) uncompressed: u32,
}

impl PackedBlob {
    /// The length of the plain bytes.
    pub(crate) fn plain_bytes(&self) -> u32 {
        match self.uncompressed {
            0 => self.length.saturating_sub(OVERHEAD_BYTES_U32),
            plain_bytes => plain_bytes,
        }
    }
}
