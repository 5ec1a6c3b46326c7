//! A storage whose operations wait for the scheduler.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use sendense_storage::{Capacity, FileEntry, FileId, FileKind, Result, Storage};

use super::World;
use crate::storage::Verb;

/// The way of one actor to the storage of a [`World`].
#[derive(Debug)]
pub struct SteppedStorage {
    world: Arc<World>,
    actor: usize,
}

impl SteppedStorage {
    pub(super) fn new(world: Arc<World>, actor: usize) -> Self {
        Self { world, actor }
    }

    /// Waits until the scheduler lets the actor begin.
    pub(super) async fn begin(&self) {
        self.wait(None, None, None).await;
    }

    async fn wait(&self, verb: Option<Verb>, kind: Option<FileKind>, id: Option<&FileId>) {
        let Some(release) = self.world.arrive(self.actor, verb, (kind, id)) else { return };
        if release.await.is_err() {
            // The process is dead, and with it whoever waits here.
            std::future::pending::<()>().await;
        }
    }

    async fn run<T>(
        &self,
        verb: Verb,
        kind: Option<FileKind>,
        id: Option<&FileId>,
        operation: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        self.wait(Some(verb), kind, id).await;
        let result = operation.await;
        self.world.observe(self.actor, verb, kind.zip(id.copied()), &result.is_ok());
        result
    }
}

#[async_trait]
impl Storage for SteppedStorage {
    fn location(&self) -> String {
        self.world.inner().location()
    }

    async fn create(&self) -> Result<()> {
        self.run(Verb::Create, None, None, self.world.inner().create()).await
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<FileEntry>> {
        self.wait(Some(Verb::List), Some(kind), None).await;
        let mut entries = self.world.inner().list(kind).await?;
        let seen = self.world.sort(kind, &mut entries, |entry| entry.id);
        self.world.observe(self.actor, Verb::List, None, &seen);
        Ok(entries)
    }

    async fn size(&self, kind: FileKind, id: &FileId) -> Result<u64> {
        self.run(Verb::Size, Some(kind), Some(id), self.world.inner().size(kind, id)).await
    }

    async fn read(&self, kind: FileKind, id: &FileId) -> Result<Bytes> {
        self.run(Verb::Read, Some(kind), Some(id), self.world.inner().read(kind, id)).await
    }

    async fn read_range(&self, kind: FileKind, id: &FileId, offset: u64, len: usize) -> Result<Bytes> {
        let range = self.world.inner();
        self.run(Verb::Read, Some(kind), Some(id), range.read_range(kind, id, offset, len)).await
    }

    async fn write(&self, kind: FileKind, id: &FileId, content: Bytes) -> Result<()> {
        self.run(Verb::Write, Some(kind), Some(id), self.world.inner().write(kind, id, content)).await
    }

    async fn remove(&self, kind: FileKind, id: &FileId) -> Result<()> {
        self.run(Verb::Remove, Some(kind), Some(id), self.world.inner().remove(kind, id)).await
    }

    async fn capacity(&self) -> Result<Option<Capacity>> {
        self.run(Verb::Capacity, None, None, self.world.inner().capacity()).await
    }
}
