//! Restore points and what they hold, as callers see them.

use std::time::SystemTime;

use crate::{ChunkId, SnapshotId, TreeId};

/// A restore point: one state of one VM. In the format it is a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestorePoint {
    /// Its name.
    pub id: SnapshotId,
    /// The moment it stands for.
    pub time: SystemTime,
    /// The machine it is of.
    pub hostname: String,
    /// Who made it.
    pub username: String,
    /// Words for people and other tools.
    pub tags: Vec<String>,
    /// The directories it holds, each with a slash in front.
    pub paths: Vec<String>,
    /// The restore point it was compared with.
    pub parent: Option<SnapshotId>,
    /// Its root directory.
    pub tree: TreeId,
}

/// A file of a restore point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// The whole path, with a slash in front: `/vm-17/disk-2000.raw`.
    pub path: String,
    /// Its length in bytes.
    pub size_bytes: u64,
}

/// Where the bytes of a disk are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskContent {
    /// The length of the disk in bytes.
    pub size_bytes: u64,
    /// Its chunks in order. All have the same length but the last, which may be shorter.
    pub chunk_ids: Vec<ChunkId>,
}

/// A restore point to be made.
#[derive(Clone, Debug)]
pub struct NewRestorePoint {
    /// The moment it stands for.
    pub time: SystemTime,
    /// The machine it is of.
    pub hostname: String,
    /// Who makes it.
    pub username: String,
    /// The directory in which its files lie; one component of a path, the same for all restore points of a VM.
    pub directory: String,
    /// Words for people and other tools.
    pub tags: Vec<String>,
    /// The restore point it was compared with.
    pub parent: Option<SnapshotId>,
    /// Its files.
    pub files: Vec<NewFile>,
}

/// A file of a restore point to be made: a disk, `vm.json`, the NVRAM.
#[derive(Clone, Debug)]
pub struct NewFile {
    /// Its name, one component of a path: `disk-2000.raw`.
    pub name: String,
    /// Its length in bytes: exactly that of its chunks together.
    pub size_bytes: u64,
    /// Its chunks in order, all of them added before.
    pub content: Vec<ChunkId>,
    /// When it was changed, for whoever restores it as a file.
    pub mtime: SystemTime,
}
