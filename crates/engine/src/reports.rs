//! What a repository tells about itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use sendense_repo::DamagedRestorePoint;

/// A restore point in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestorePointInfo {
    /// Its id.
    pub id: String,
    /// When the disks were as they are in it.
    pub time: SystemTime,
    /// Name of the VM.
    pub hostname: String,
    /// Free words.
    pub tags: Vec<String>,
    /// Names of its files.
    pub files: Vec<String>,
}

/// How much a repository holds, and how much room there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StorageInfo {
    /// Size of the file system; 0 where the question has no answer.
    pub total_bytes: u64,
    /// What can still be written; 0 where the question has no answer.
    pub free_bytes: u64,
    /// Bytes of the repository's files.
    pub used_bytes: u64,
    /// Number of packs.
    pub pack_count: u64,
    /// Number of chunks and trees.
    pub chunk_count: u64,
}

/// Counters of a running verification or check, sampled from outside.
#[derive(Debug, Default)]
pub struct VerifyCounters {
    checked: AtomicU64,
    total: AtomicU64,
}

/// The counters at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VerifyProgress {
    /// Bytes that were read.
    pub checked_bytes: u64,
    /// Bytes to be read; 0 until that is known.
    pub total_bytes: u64,
}

impl VerifyCounters {
    /// The counters now.
    #[must_use]
    pub fn progress(&self) -> VerifyProgress {
        VerifyProgress {
            checked_bytes: self.checked.load(Ordering::Relaxed),
            total_bytes: self.total.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn set(&self, checked_bytes: u64, total_bytes: u64) {
        self.checked.store(checked_bytes, Ordering::Relaxed);
        self.total.store(total_bytes, Ordering::Relaxed);
    }
}

/// What a verification read, and what it found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VerifyReport {
    /// Distinct chunks that were read and are right.
    pub chunks: u64,
    /// Their plain bytes.
    pub bytes: u64,
    /// What is wrong, in words.
    pub damaged: Vec<String>,
}

/// What a check looked at, and what it found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckReport {
    /// Packs that the index names.
    pub packs: u64,
    /// Chunks and trees that it names.
    pub chunks: u64,
    /// Restore points that were walked through.
    pub restore_points: u64,
    /// Packs that were read to the last byte, decrypted and hashed: a share of them for a sample.
    pub read_packs: u64,
    /// Their bytes.
    pub read_bytes: u64,
    /// How long reading them took.
    pub read_time: Duration,
    /// What is wrong, in words.
    pub problems: Vec<String>,
    /// The restore points that cannot be read completely, and which of their files cannot.
    pub damaged_restore_points: Vec<DamagedRestorePoint>,
}

/// What was found that no index named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AdoptReport {
    /// Packs that were taken over.
    pub packs: u64,
    /// Chunks and trees in them.
    pub chunks: u64,
}
