//! From chunks to durable packs.
//!
//! All writers of a repository share one [`Packer`], so that two captures never store one chunk twice, and a flush
//! by any of them makes everything durable that was added before.
//!
//! ```text
//! add ─► memory (bytes) ─► worker (threads) ─► claim ─► seal into an open pack ─► full? ─► write ─► catalog
//! ```
//!
//! Memory is counted from before the claim until the pack is durable; that is the back-pressure. The open packs
//! that nobody fills at the moment can hold at most a pack's size each, and there are never more of them than
//! workers, so that memory can always become free again (see [`Tuning::limits`]).

mod claims;
mod failures;
mod in_flight;
mod open_pack;
mod tuning;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use sendense_storage::{FileKind, Storage};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::blocking::blocking;
use crate::catalog::Catalog;
use crate::crypto::Key;
use crate::pack::{BlobKind, FinishedPack};
use crate::{ChunkId, Error, Result};
use claims::Claims;
pub(crate) use failures::FailureMark;
use failures::Failures;
use in_flight::InFlight;
pub(crate) use open_pack::OpenPack;
pub use tuning::Tuning;
use tuning::{Limits, PAYLOAD_BYTES_MAX};

/// What became of a chunk that was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is new and takes so many bytes in its pack.
    Stored {
        /// Bytes after compression and encryption.
        stored_bytes: u32,
    },
    /// It is durable, or another call is about to make it so.
    AlreadyThere,
}

pub(crate) struct Packer {
    core: Arc<Core>,
}

struct Core {
    storage: Arc<dyn Storage>,
    catalog: Arc<Catalog>,
    key: Key,
    limits: Limits,
    claims: Claims,
    memory: Arc<Semaphore>,
    workers: Arc<Semaphore>,
    writes: Semaphore,
    /// Open packs that nobody fills at the moment; the last one is the fullest.
    idle: Mutex<Vec<OpenPack>>,
    /// Memory of packs that were written, for the next ones.
    spare: Mutex<Vec<Vec<u8>>>,
    in_flight: InFlight,
    failures: Failures,
}

impl Packer {
    pub(crate) fn new(storage: Arc<dyn Storage>, catalog: Arc<Catalog>, key: Key, tuning: Tuning) -> Self {
        let limits = tuning.limits();
        let core = Core {
            storage,
            catalog,
            key,
            claims: Claims::default(),
            memory: Arc::new(Semaphore::new(limits.memory_bytes)),
            workers: Arc::new(Semaphore::new(limits.workers as usize)),
            writes: Semaphore::new(limits.writes_max),
            idle: Mutex::default(),
            spare: Mutex::default(),
            in_flight: InFlight::new(),
            failures: Failures::default(),
            limits,
        };
        Self { core: Arc::new(core) }
    }

    /// Whether a chunk is durable or on its way.
    pub(crate) fn contains(&self, id: &ChunkId) -> bool {
        self.plain_bytes_of(id).is_some()
    }

    /// The length of a chunk that is durable or on its way.
    pub(crate) fn plain_bytes_of(&self, id: &ChunkId) -> Option<u32> {
        // In this order: a claim is released after its chunk is in the catalog.
        self.core.claims.plain_bytes_of(id).or_else(|| self.core.catalog.index().plain_bytes_of(id))
    }

    /// The size at which a pack is written.
    pub(crate) fn pack_bytes(&self) -> usize {
        self.core.limits.pack_bytes
    }

    /// The point from which on a writer's failures count.
    pub(crate) fn failure_mark(&self) -> FailureMark {
        self.core.failures.mark()
    }

    /// Fails when a pack could not be written since the mark.
    pub(crate) fn check(&self, mark: FailureMark) -> Result<()> {
        self.core.failures.since(mark)
    }

    /// Adds a chunk. Waits while too many bytes are on their way. `payload` and `uncompressed` are as for
    /// [`crate::pack::PackBuilder::add`].
    pub(crate) async fn add(
        &self,
        id: ChunkId,
        payload: Bytes,
        plain_bytes: u32,
        uncompressed: u32,
    ) -> Result<Added> {
        if self.contains(&id) {
            return Ok(Added::AlreadyThere);
        }
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(Error::Unacceptable { reason: format!("a chunk of {} bytes", payload.len()) });
        }
        let memory = self.core.memory(payload.len()).await?;
        let worker = acquire(&self.core.workers, 1).await?;
        // Nothing can cancel us between the claim and the work that redeems it.
        if !self.core.claim(&id, plain_bytes) {
            return Ok(Added::AlreadyThere);
        }
        let (core, runtime) = (Arc::clone(&self.core), Handle::current());
        blocking(move || {
            let result = core.pack(&runtime, id, &payload, uncompressed, memory);
            drop(worker);
            match result {
                Ok(stored_bytes) => Ok(Added::Stored { stored_bytes }),
                Err(error) => {
                    // The pack is lost, with whatever others had put into it.
                    core.failures.record(&error);
                    Err(error)
                }
            }
        })
        .await
    }

    /// Waits until everything that was added before is durable and in an index file. Fails when a pack could not be
    /// written since the mark.
    pub(crate) async fn flush(&self, mark: FailureMark) -> Result<()> {
        self.flush_packs(mark).await?;
        self.core.catalog.write_index().await
    }

    /// As [`Self::flush`], without the index file.
    pub(crate) async fn flush_packs(&self, mark: FailureMark) -> Result<()> {
        let everyone = acquire(&self.core.workers, self.core.limits.workers).await?;
        for pack in self.core.take_idle() {
            self.core.write_soon(&Handle::current(), pack)?;
        }
        let ticket = self.core.in_flight.next_ticket();
        drop(everyone);
        self.core.in_flight.wait_until(ticket).await;
        self.check(mark)
    }

    /// An empty pack of trees, which does not count for the memory of chunks.
    pub(crate) fn tree_pack(&self) -> OpenPack {
        OpenPack::new(
            &self.core.key,
            BlobKind::Tree,
            self.core.limits.pack_bytes,
            Vec::new(),
            &self.core.claims,
        )
    }

    /// Writes a pack of trees and waits for it, so that no more than one is in memory. It is in an index file after
    /// the next flush.
    pub(crate) async fn write_tree_pack(&self, pack: OpenPack) -> Result<()> {
        if pack.is_empty() {
            return Ok(());
        }
        let (finished, _cargo) = blocking(move || pack.finish()).await?;
        self.core.write(finished).await
    }
}

impl Core {
    async fn memory(&self, payload_bytes: usize) -> Result<OwnedSemaphorePermit> {
        let bytes = u32::try_from(payload_bytes.max(1)).unwrap_or(u32::MAX);
        acquire(&self.memory, bytes).await
    }

    /// Claims a chunk unless it is durable or claimed by another.
    fn claim(&self, id: &ChunkId, plain_bytes: u32) -> bool {
        if !self.claims.insert(id, plain_bytes) {
            return false;
        }
        // It may have become durable, and its claim released, after the caller looked.
        let is_durable = self.catalog.index().plain_bytes_of(id).is_some();
        if is_durable {
            self.claims.remove(id);
        }
        !is_durable
    }

    /// Seals a claimed chunk into an open pack. Runs on a thread of its own, holding a worker's place.
    fn pack(
        self: &Arc<Self>,
        runtime: &Handle,
        id: ChunkId,
        payload: &[u8],
        uncompressed: u32,
        memory: OwnedSemaphorePermit,
    ) -> Result<u32> {
        let mut pack = self.take_open_pack();
        // The pack releases the claim, whatever becomes of it.
        let stored_bytes = pack.add_claimed(id, payload, uncompressed, memory)?;
        if pack.is_full() {
            self.write_soon(runtime, pack)?;
        } else {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(pack);
        }
        Ok(stored_bytes)
    }

    fn take_open_pack(&self) -> OpenPack {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.unwrap_or_else(|| {
            let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
            OpenPack::new(&self.key, BlobKind::Data, self.limits.pack_bytes, spare, &self.claims)
        })
    }

    fn take_idle(&self) -> Vec<OpenPack> {
        std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Finishes a pack and writes it in the background.
    fn write_soon(self: &Arc<Self>, runtime: &Handle, pack: OpenPack) -> Result<()> {
        if pack.is_empty() {
            return Ok(());
        }
        let landing = self.in_flight.take_off();
        let (finished, cargo) = pack.finish()?;
        let core = Arc::clone(self);
        runtime.spawn(async move {
            if let Err(error) = core.write(finished).await {
                core.failures.record(&error);
            }
            // Claims and memory are released after the pack is in the catalog, or after its failure is recorded;
            // only then does it count as landed.
            drop(cargo);
            drop(landing);
        });
        Ok(())
    }

    async fn write(&self, pack: FinishedPack) -> Result<()> {
        let size_bytes = pack.content.len() as u64;
        {
            let _place = self.writes.acquire().await.map_err(|_| Error::Closed)?;
            self.storage.write(FileKind::Pack, &pack.id.into(), pack.content.clone()).await?;
        }
        self.catalog.add_pack(pack.id, &pack.blobs, size_bytes);
        self.recycle(pack.content);
        if self.is_index_due() {
            self.catalog.write_index().await?;
        }
        Ok(())
    }

    fn is_index_due(&self) -> bool {
        let amount = self.catalog.unindexed_amount();
        amount.stored_bytes >= self.limits.index_every_bytes
            || amount.since.is_some_and(|since| since.elapsed() >= self.limits.index_every)
    }

    /// Keeps the memory of a written pack for the next one: fresh pages cost as much as sealing.
    fn recycle(&self, content: Bytes) {
        let Ok(content) = content.try_into_mut() else { return };
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < self.limits.workers as usize {
            spare.push(content.into());
        }
    }
}

async fn acquire(semaphore: &Arc<Semaphore>, permits: u32) -> Result<OwnedSemaphorePermit> {
    Arc::clone(semaphore).acquire_many_owned(permits).await.map_err(|_| Error::Closed)
}
