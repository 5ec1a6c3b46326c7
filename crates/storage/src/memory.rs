//! A storage that forgets.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Capacity, Error, ErrorKind, FileEntry, FileId, FileKind, Result, Storage};

/// Keeps files in memory, for tests. With a size limit it runs full like a disk.
#[derive(Debug, Default)]
pub struct MemoryStorage {
    files: Mutex<HashMap<(FileKind, FileId), Bytes>>,
    total_bytes: Option<u64>,
}

impl MemoryStorage {
    /// An empty storage without a limit.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty storage that holds at most so many bytes.
    #[must_use]
    pub fn with_total_bytes(total_bytes: u64) -> Self {
        Self { total_bytes: Some(total_bytes), ..Self::default() }
    }

    fn files(&self) -> MutexGuard<'_, HashMap<(FileKind, FileId), Bytes>> {
        // Each change is one call of the map: there is no half-done state that a panic could leave behind.
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, operation: &'static str, kind: FileKind, id: &FileId) -> Result<Bytes> {
        self.files().get(&key(kind, id)).cloned().ok_or_else(|| {
            Error::new(ErrorKind::NotFound, operation, "it does not exist").with_file(kind, id)
        })
    }
}

fn key(kind: FileKind, id: &FileId) -> (FileKind, FileId) {
    (kind, if kind == FileKind::Config { FileId::CONFIG } else { *id })
}

fn used_bytes(files: &HashMap<(FileKind, FileId), Bytes>) -> u64 {
    files.values().map(|content| content.len() as u64).sum()
}

#[async_trait]
impl Storage for MemoryStorage {
    fn location(&self) -> String {
        "memory".into()
    }

    async fn create(&self) -> Result<()> {
        Ok(())
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<FileEntry>> {
        let files = self.files();
        let of_kind = files.iter().filter(|((file_kind, _), _)| *file_kind == kind);
        Ok(of_kind
            .map(|((_, id), content)| FileEntry { id: *id, size_bytes: content.len() as u64 })
            .collect())
    }

    async fn size(&self, kind: FileKind, id: &FileId) -> Result<u64> {
        Ok(self.find("look up", kind, id)?.len() as u64)
    }

    async fn read(&self, kind: FileKind, id: &FileId) -> Result<Bytes> {
        self.find("read", kind, id)
    }

    async fn read_range(&self, kind: FileKind, id: &FileId, offset: u64, len: usize) -> Result<Bytes> {
        let content = self.find("read", kind, id)?;
        let range = usize::try_from(offset).ok().and_then(|start| Some(start..start.checked_add(len)?));
        match range {
            Some(range) if range.end <= content.len() => Ok(content.slice(range)),
            _ => Err(Error::new(ErrorKind::Damaged, "read", "the file is too short").with_file(kind, id)),
        }
    }

    async fn write(&self, kind: FileKind, id: &FileId, content: Bytes) -> Result<()> {
        let mut files = self.files();
        if let Some(existing) = files.get(&key(kind, id)) {
            if *existing == content {
                return Ok(());
            }
            let error = Error::new(ErrorKind::AlreadyExists, "write", "it exists with other content");
            return Err(error.with_file(kind, id));
        }
        if self.total_bytes.is_some_and(|total| used_bytes(&files) + content.len() as u64 > total) {
            return Err(Error::new(ErrorKind::NoSpace, "write", "there is no room left").with_file(kind, id));
        }
        // A copy, so that a small slice does not keep the large buffer it came from.
        files.insert(key(kind, id), Bytes::copy_from_slice(&content));
        Ok(())
    }

    async fn remove(&self, kind: FileKind, id: &FileId) -> Result<()> {
        self.files().remove(&key(kind, id));
        Ok(())
    }

    async fn capacity(&self) -> Result<Option<Capacity>> {
        let used = used_bytes(&self.files());
        Ok(self
            .total_bytes
            .map(|total_bytes| Capacity { total_bytes, free_bytes: total_bytes.saturating_sub(used) }))
    }
}
