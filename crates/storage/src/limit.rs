//! A bound on concurrency.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    Capacity, Error, ErrorKind, FileEntry, FileId, FileKind, Protection, ProtectionPolicy, Result, Storage,
};

/// Lets at most so many operations reach the inner storage at a time; the others wait in order of arrival.
/// Reads and writes have places of their own, so that a long write never holds up a restore.
#[derive(Debug)]
pub struct Limit {
    inner: Arc<dyn Storage>,
    reads: Semaphore,
    writes: Semaphore,
}

impl Limit {
    /// Wraps `inner`. Zero places are taken as one.
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>, reads_max: usize, writes_max: usize) -> Self {
        Self { inner, reads: Semaphore::new(reads_max.max(1)), writes: Semaphore::new(writes_max.max(1)) }
    }
}

async fn place<'a>(places: &'a Semaphore, operation: &'static str) -> Result<SemaphorePermit<'a>> {
    places.acquire().await.map_err(|_| Error::new(ErrorKind::Other, operation, "the storage is closed"))
}

#[async_trait]
impl Storage for Limit {
    fn location(&self) -> String {
        self.inner.location()
    }

    async fn create(&self) -> Result<()> {
        let _place = place(&self.writes, "create").await?;
        self.inner.create().await
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<FileEntry>> {
        let _place = place(&self.reads, "list").await?;
        self.inner.list(kind).await
    }

    async fn size(&self, kind: FileKind, id: &FileId) -> Result<u64> {
        let _place = place(&self.reads, "look up").await?;
        self.inner.size(kind, id).await
    }

    async fn read(&self, kind: FileKind, id: &FileId) -> Result<Bytes> {
        let _place = place(&self.reads, "read").await?;
        self.inner.read(kind, id).await
    }

    async fn read_range(&self, kind: FileKind, id: &FileId, offset: u64, len: usize) -> Result<Bytes> {
        let _place = place(&self.reads, "read").await?;
        self.inner.read_range(kind, id, offset, len).await
    }

    async fn write(&self, kind: FileKind, id: &FileId, content: Bytes) -> Result<()> {
        let _place = place(&self.writes, "write").await?;
        self.inner.write(kind, id, content).await
    }

    async fn remove(&self, kind: FileKind, id: &FileId) -> Result<()> {
        let _place = place(&self.writes, "remove").await?;
        self.inner.remove(kind, id).await
    }

    async fn capacity(&self) -> Result<Option<Capacity>> {
        let _place = place(&self.reads, "measure").await?;
        self.inner.capacity().await
    }

    fn protection_policy(&self) -> Option<ProtectionPolicy> {
        self.inner.protection_policy()
    }

    async fn protection(&self, kind: FileKind, id: &FileId) -> Result<Option<Protection>> {
        let _place = place(&self.reads, "look up the protection of").await?;
        self.inner.protection(kind, id).await
    }

    async fn extend_protection(
        &self,
        kind: FileKind,
        id: &FileId,
        until: SystemTime,
    ) -> Result<Option<Protection>> {
        let _place = place(&self.writes, "protect").await?;
        self.inner.extend_protection(kind, id, until).await
    }
}
