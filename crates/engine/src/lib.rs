//! Use cases of the data path: capture a disk on a Node, receive it on the Hub, restore it, prove that it can be read.
//!
//! [`Repository`], [`DataPlane`] and [`CaptureSession`] are the Hub's, [`capture_disk`] is the Node's.
//! `docs/design/data-plane.md` describes what goes between them.

mod code;
mod cpu;
mod error;
mod geometry;
mod hub;
mod node;
mod place;
mod reports;
mod repository;
mod rest_place;
mod restore;
mod restore_point;
mod sftp_place;
mod tls;
mod upkeep;
pub mod wire;
mod zero_ids;

pub use code::Code;
pub use error::{Error, Result};
pub use geometry::Geometry;
pub use hub::{
    Base, CaptureSession, CaptureSessionOptions, CommitOptions, Committed, DataPlane, ListenOptions,
    RateLimit, SessionDiskCounters, TextFile,
};
pub use node::{
    Areas, CaptureCounters, CaptureOptions, CaptureProgress, CaptureReport, MemoryBudget, NbdExport, Target,
    capture_disk,
};
pub use place::{RepositoryLimits, RepositoryPlace, probe_place};
pub use reports::{
    AdoptReport, CheckReport, RestorePointInfo, StorageInfo, VerifyCounters, VerifyProgress, VerifyReport,
};
pub use repository::Repository;
pub use rest_place::RestPlace;
pub use restore::{RestoreCounters, RestoreOptions, RestoreProgress, RestoreReport, remove_leftovers};
pub use sendense_disk::Extent;
pub use sendense_repo::{
    BlockedBy, CheckOptions, ChunkId, CopyProgress, CopyReport, DamagedRestorePoint, KeptKey, KeyInfo,
    LockInfo, LockRole, Packs, PruneOptions, PruneProgress, PruneReport, RepairReport, Secret, Statistics,
};
pub use sendense_storage::{Protection, ProtectionMode, ProtectionPolicy};
pub use sendense_storage_remote::{AzureSettings, ObjectLockProbe, PlaceProbe, S3Settings};
pub use sendense_tls_pin::{CertificatePin, ParsePinError};
pub use sftp_place::SftpPlace;
pub use upkeep::Sampled;
