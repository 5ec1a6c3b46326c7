//! The open restic v2 repository format: writer, reader, check.
//!
//! `docs/design/repository-format.md` describes what lies on the storage, in which order it is written and why.
//!
//! A [`Repository`] is opened on a [`sendense_storage::Storage`]. A [`Writer`] takes chunks, which are the pieces of
//! disks, and ends with one restore point or with none:
//!
//! ```no_run
//! # use std::{sync::Arc, time::SystemTime};
//! # use sendense_repo::{InitOptions, NewFile, NewRestorePoint, Repository, Secret, WriterOptions};
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let storage = Arc::new(sendense_storage::LocalStorage::open("/srv/backup").await?);
//! let repository = Repository::init(storage, &Secret::new("password"), InitOptions::default()).await?;
//!
//! let writer = repository.writer(WriterOptions::default()).await?;
//! let chunk = writer.add_plain("{}".into()).await?;
//! let now = SystemTime::now();
//! let point = writer.commit(NewRestorePoint {
//!     time: now,
//!     hostname: "web-1".into(),
//!     username: "sendense".into(),
//!     directory: "vm-17".into(),
//!     tags: vec![],
//!     parent: None,
//!     files: vec![NewFile { name: "vm.json".into(), size_bytes: 2, content: vec![chunk], mtime: now }],
//! }).await?;
//!
//! assert_eq!(repository.load_file(&point, "/vm-17/vm.json").await?, "{}");
//! # Ok(()) }
//! ```

mod adopt;
mod blocking;
mod catalog;
mod check;
mod commit;
mod config;
mod copy;
mod crypto;
mod disk_reader;
mod error;
mod filling;
mod host;
mod id;
mod index;
mod key_file;
mod keys;
mod lock;
mod opener;
mod pack;
mod packing;
mod polynomial;
mod protect;
mod prune;
mod read_batch;
mod reader;
mod repair;
mod repository;
mod rescue;
mod restore_point;
mod sealed_json;
mod segmented_file;
mod snapshot_file;
mod statistics;
mod stretch;
mod timestamp;
mod tree;
mod tree_writer;
mod upkeep;
mod writer;

pub use adopt::{AdoptReport, RejectedPack};
pub use catalog::DamagedIndex;
pub use check::{
    CheckOptions, CheckProgress, CheckReport, DamagedRestorePoint, Problem, VerifyProgress, VerifyReport,
};
pub use copy::{CopiedPoint, CopyOptions, CopyProgress, CopyReport};
pub use crypto::Kdf;
pub use disk_reader::{ChunkCache, DiskExtent, DiskReader};
pub use error::{Error, Result};
pub use id::{ChunkId, IndexId, KeyId, LockId, PackId, ParseIdError, SnapshotId, TreeId};
#[doc(hidden)]
pub use index::{IndexFigures, simulate_index};
pub use keys::{ChangedPassword, KeptKey, KeyInfo};
pub use lock::{LockInfo, LockRole, LockTiming};
pub use packing::{Added, Tuning};
pub use prune::{Blocked, BlockedBy, Packs, PruneOptions, PruneProgress, PruneReport};
pub use read_batch::ReadBatch;
pub use repair::{RepairOptions, RepairReport};
pub use repository::{InitOptions, Repository, Standing};
pub use restore_point::{DiskContent, FileEntry, NewFile, NewRestorePoint, RestorePoint};
pub use sendense_storage::Secret;
pub use statistics::Statistics;
pub use writer::{EncodedChunk, Payload, Writer, WriterOptions};
