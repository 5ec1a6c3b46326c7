//! One disk of a session.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::intake::Intake;
use crate::geometry::Geometry;
use crate::wire::{Finish, Finished};
use crate::{ChunkId, Result};

/// A disk in an earlier restore point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// Id of the restore point.
    pub restore_point_id: String,
    /// Name of the disk's file in it.
    pub file: String,
}

/// What the Hub has received of one disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionDiskCounters {
    /// The disk.
    pub disk_key: String,
    /// Its size.
    pub logical_bytes: u64,
    /// Bytes of the chunks that the current attempt offered with an id.
    pub offered_bytes: u64,
    /// Bytes of the chunks that it declared zero.
    pub zero_bytes: u64,
    /// Plain bytes of the chunks that the repository lacked, in all attempts.
    pub new_bytes: u64,
    /// The same as stored.
    pub stored_bytes: u64,
    /// Whether the disk is finished.
    pub finished: bool,
}

pub(crate) struct SessionDisk {
    pub(super) key: String,
    pub(super) geometry: Geometry,
    pub(super) base: Option<Base>,
    /// The base's content, read when the disk was begun, for the first attempt.
    base_content: Mutex<Option<Vec<ChunkId>>>,
    intake: Mutex<Intake>,
    new_bytes: AtomicU64,
    stored_bytes: AtomicU64,
}

impl SessionDisk {
    pub(super) fn new(key: String, geometry: Geometry, base: Option<(Base, Vec<ChunkId>)>) -> Self {
        let (base, base_content) = base.unzip();
        Self {
            key,
            geometry,
            intake: Mutex::new(Intake::new(geometry, base.is_some())),
            base,
            base_content: Mutex::new(base_content),
            new_bytes: AtomicU64::new(0),
            stored_bytes: AtomicU64::new(0),
        }
    }

    pub(super) fn take_base_content(&self) -> Option<Vec<ChunkId>> {
        self.base_content.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn intake(&self) -> MutexGuard<'_, Intake> {
        self.intake.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a chunk is stored; `true` if it was missing until now.
    pub(super) fn stored(&self, id: &ChunkId, plain_bytes: u32, stored_bytes: u32) -> bool {
        let was_missing = self.intake().stored(id);
        if was_missing {
            self.new_bytes.fetch_add(u64::from(plain_bytes), Ordering::Relaxed);
            self.stored_bytes.fetch_add(u64::from(stored_bytes), Ordering::Relaxed);
        }
        was_missing
    }

    /// Ends the current attempt.
    pub(super) fn finish(&self, finish: &Finish) -> Result<Finished> {
        self.intake().finish(finish)?;
        let counters = self.counters();
        Ok(Finished { new_bytes: counters.new_bytes, stored_bytes: counters.stored_bytes })
    }

    pub(super) fn counters(&self) -> SessionDiskCounters {
        let intake = self.intake();
        let (offered_bytes, zero_bytes) = intake.offered_and_zero_bytes();
        SessionDiskCounters {
            disk_key: self.key.clone(),
            logical_bytes: self.geometry.size_bytes(),
            offered_bytes,
            zero_bytes,
            new_bytes: self.new_bytes.load(Ordering::Relaxed),
            stored_bytes: self.stored_bytes.load(Ordering::Relaxed),
            finished: intake.is_finished(),
        }
    }
}
