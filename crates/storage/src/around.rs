//! What most wrappers have in common: they do something around each operation and pass it on.

use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    Capacity, Error, FileEntry, FileId, FileKind, Protection, ProtectionPolicy, Result, Storage, Verb,
};

/// One operation, as a wrapper sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    pub(crate) verb: Verb,
    file: Option<(FileKind, &'a FileId)>,
    /// How many bytes of content will be moved, where that is known before.
    pub(crate) bytes: Option<u64>,
}

impl Call<'_> {
    /// Names the file of the operation in an error.
    pub(crate) fn blame(&self, error: Error) -> Error {
        match self.file {
            Some((kind, id)) => error.with_file(kind, id),
            None => error,
        }
    }
}

/// How many bytes of content an answer brings.
pub(crate) trait Content: Send {
    fn content_bytes(&self) -> u64 {
        0
    }
}

impl Content for Bytes {
    fn content_bytes(&self) -> u64 {
        self.len() as u64
    }
}

impl Content for () {}
impl Content for u64 {}
impl Content for Vec<FileEntry> {}
impl Content for Option<Capacity> {}
impl Content for Option<Protection> {}

/// Whoever implements this is a [`Storage`] that does the same around every operation of another one.
pub(crate) trait Around: Send + Sync + fmt::Debug {
    fn inner(&self) -> &dyn Storage;

    /// Runs the operation, or does not.
    fn around<T: Content>(
        &self,
        call: Call<'_>,
        operation: impl Future<Output = Result<T>> + Send,
    ) -> impl Future<Output = Result<T>> + Send;
}

fn of_place<'a>(verb: Verb) -> Call<'a> {
    Call { verb, file: None, bytes: Some(0) }
}

fn of_file(verb: Verb, kind: FileKind, id: &FileId) -> Call<'_> {
    Call { verb, file: Some((kind, id)), bytes: Some(0) }
}

#[async_trait]
impl<A: Around> Storage for A {
    fn location(&self) -> String {
        self.inner().location()
    }

    async fn create(&self) -> Result<()> {
        self.around(of_place(Verb::Create), self.inner().create()).await
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<FileEntry>> {
        self.around(of_place(Verb::List), self.inner().list(kind)).await
    }

    async fn size(&self, kind: FileKind, id: &FileId) -> Result<u64> {
        self.around(of_file(Verb::Size, kind, id), self.inner().size(kind, id)).await
    }

    async fn read(&self, kind: FileKind, id: &FileId) -> Result<Bytes> {
        let call = Call { bytes: None, ..of_file(Verb::Read, kind, id) };
        self.around(call, self.inner().read(kind, id)).await
    }

    async fn read_range(&self, kind: FileKind, id: &FileId, offset: u64, len: usize) -> Result<Bytes> {
        let call = Call { bytes: Some(len as u64), ..of_file(Verb::Read, kind, id) };
        self.around(call, self.inner().read_range(kind, id, offset, len)).await
    }

    async fn write(&self, kind: FileKind, id: &FileId, content: Bytes) -> Result<()> {
        let call = Call { bytes: Some(content.len() as u64), ..of_file(Verb::Write, kind, id) };
        self.around(call, self.inner().write(kind, id, content)).await
    }

    async fn remove(&self, kind: FileKind, id: &FileId) -> Result<()> {
        self.around(of_file(Verb::Remove, kind, id), self.inner().remove(kind, id)).await
    }

    async fn capacity(&self) -> Result<Option<Capacity>> {
        self.around(of_place(Verb::Capacity), self.inner().capacity()).await
    }

    fn protection_policy(&self) -> Option<ProtectionPolicy> {
        self.inner().protection_policy()
    }

    async fn protection(&self, kind: FileKind, id: &FileId) -> Result<Option<Protection>> {
        self.around(of_file(Verb::Protection, kind, id), self.inner().protection(kind, id)).await
    }

    async fn extend_protection(
        &self,
        kind: FileKind,
        id: &FileId,
        until: SystemTime,
    ) -> Result<Option<Protection>> {
        let extension = self.inner().extend_protection(kind, id, until);
        self.around(of_file(Verb::ExtendProtection, kind, id), extension).await
    }
}
