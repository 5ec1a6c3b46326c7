//! What can be wrong.

use std::fmt;

use crate::{ChunkId, IndexId, KeyId, PackId, SnapshotId, TreeId};

/// Something is wrong with a repository. Which restore points it touches is said apart.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// An index file cannot be read. Its packs can be adopted.
    IndexUnreadable {
        /// The file.
        id: IndexId,
        /// What is wrong with it.
        reason: String,
    },
    /// A key file is not what was written. Its password may not open the repository any more.
    KeyDamaged {
        /// The key.
        id: KeyId,
        /// What is wrong with it.
        reason: String,
    },
    /// The index names a pack that is not there, or that has another size.
    PackMissing {
        /// The pack.
        id: PackId,
    },
    /// A pack is not what its writer wrote, or the index does not agree with it.
    PackDamaged {
        /// The pack.
        id: PackId,
        /// What is wrong with it.
        reason: String,
    },
    /// A chunk or tree in a pack cannot be read.
    BlobDamaged {
        /// Its id, that of a chunk or of a tree.
        id: ChunkId,
        /// Where it lies.
        pack: PackId,
        /// What is wrong with it.
        reason: String,
    },
    /// A file needs a chunk that no pack has, or that is damaged wherever it lies.
    ChunkMissing {
        /// The chunk.
        id: ChunkId,
    },
    /// A file needs a chunk that lies only in a pack that is marked for deletion: whoever made the restore point died
    /// at the very end. It can be read, and other tools do not see it. The next prune takes the mark back.
    ChunkMarked {
        /// The chunk.
        id: ChunkId,
        /// Where it lies.
        pack: PackId,
    },
    /// A directory cannot be read.
    TreeUnreadable {
        /// The tree.
        id: TreeId,
        /// Why.
        reason: String,
    },
    /// The chunks of a file are not as long as the file.
    FileSizeWrong {
        /// The restore point.
        point: SnapshotId,
        /// The file.
        path: String,
        /// The size of the file in bytes.
        size_bytes: u64,
        /// The length of its chunks in bytes.
        chunk_bytes: u64,
    },
    /// A snapshot file cannot be read, so the restore point is not listed.
    RestorePointUnreadable {
        /// The restore point.
        id: SnapshotId,
        /// Why.
        reason: String,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IndexUnreadable { id, reason } => write!(f, "Index file {id} cannot be read: {reason}"),
            Self::KeyDamaged { id, reason } => write!(f, "Key file {id} is damaged: {reason}"),
            Self::PackMissing { id } => write!(f, "Pack {id} is missing or has a wrong size"),
            Self::PackDamaged { id, reason } => write!(f, "Pack {id} is damaged: {reason}"),
            Self::BlobDamaged { id, pack, reason } => {
                write!(f, "Chunk {id} in pack {pack} is damaged: {reason}")
            }
            Self::ChunkMissing { id } => write!(f, "Chunk {id} is nowhere to be read"),
            Self::ChunkMarked { id, pack } => {
                write!(
                    f,
                    "Chunk {id} lies only in pack {pack}, which is marked for deletion; a prune takes that back"
                )
            }
            Self::TreeUnreadable { id, reason } => write!(f, "Directory {id} cannot be read: {reason}"),
            Self::FileSizeWrong { point, path, size_bytes, chunk_bytes } => {
                write!(
                    f,
                    "{path} of restore point {point} has {size_bytes} bytes and chunks of {chunk_bytes}"
                )
            }
            Self::RestorePointUnreadable { id, reason } => {
                write!(f, "Restore point {id} cannot be read: {reason}")
            }
        }
    }
}
