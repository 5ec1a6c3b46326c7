//! A storage that forgets.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    Capacity, Error, ErrorKind, FileEntry, FileId, FileKind, Protection, ProtectionPolicy, Result, Storage,
};

/// Keeps files in memory, for tests. With a size limit it runs full like a disk, with a policy it protects what is
/// written to it.
#[derive(Debug, Default)]
pub struct MemoryStorage {
    state: Mutex<State>,
    total_bytes: Option<u64>,
    policy: Option<ProtectionPolicy>,
}

#[derive(Debug, Default)]
struct State {
    files: HashMap<(FileKind, FileId), StoredFile>,
    /// The clock, where a test has set it.
    now: Option<SystemTime>,
}

impl State {
    fn now(&self) -> SystemTime {
        self.now.unwrap_or_else(SystemTime::now)
    }
}

#[derive(Clone, Debug)]
struct StoredFile {
    content: Bytes,
    protection: Option<Protection>,
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

    /// An empty storage that protects what is written to it.
    #[must_use]
    pub fn with_protection(policy: ProtectionPolicy) -> Self {
        Self { policy: Some(policy), ..Self::default() }
    }

    /// Stops the clock of the protection at the given moment. Until the first call it is the machine's.
    pub fn set_now(&self, now: SystemTime) {
        self.state().now = Some(now);
    }

    /// Changes a file behind everybody's back, as a medium does, protected or not.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn spoil(&self, kind: FileKind, id: &FileId, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let file = state.files.get_mut(&key(kind, id)).unwrap_or_else(|| panic!("there is no {kind} {id}"));
        let mut content = file.content.to_vec();
        change(&mut content);
        file.content = content.into();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one call of the map: there is no half-done state that a panic could leave behind.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, operation: &'static str, kind: FileKind, id: &FileId) -> Result<Bytes> {
        let state = self.state();
        let file = state.files.get(&key(kind, id));
        file.map(|file| file.content.clone()).ok_or_else(|| missing(operation, kind, id))
    }
}

fn missing(operation: &'static str, kind: FileKind, id: &FileId) -> Error {
    Error::new(ErrorKind::NotFound, operation, "it does not exist").with_file(kind, id)
}

fn key(kind: FileKind, id: &FileId) -> (FileKind, FileId) {
    (kind, if kind == FileKind::Config { FileId::CONFIG } else { *id })
}

fn used_bytes(state: &State) -> u64 {
    state.files.values().map(|file| file.content.len() as u64).sum()
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
        let state = self.state();
        let of_kind = state.files.iter().filter(|((file_kind, _), _)| *file_kind == kind);
        Ok(of_kind
            .map(|((_, id), file)| FileEntry { id: *id, size_bytes: file.content.len() as u64 })
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
        let mut state = self.state();
        if let Some(existing) = state.files.get(&key(kind, id)) {
            if existing.content == content {
                return Ok(());
            }
            let error = Error::new(ErrorKind::AlreadyExists, "write", "it exists with other content");
            return Err(error.with_file(kind, id));
        }
        if self.total_bytes.is_some_and(|total| used_bytes(&state) + content.len() as u64 > total) {
            return Err(Error::new(ErrorKind::NoSpace, "write", "there is no room left").with_file(kind, id));
        }
        let policy = self.policy.filter(|_| kind != FileKind::Lock);
        let protection =
            policy.map(|policy| Protection { mode: policy.mode, until: state.now() + policy.window });
        // A copy, so that a small slice does not keep the large buffer it came from.
        let file = StoredFile { content: Bytes::copy_from_slice(&content), protection };
        state.files.insert(key(kind, id), file);
        Ok(())
    }

    async fn remove(&self, kind: FileKind, id: &FileId) -> Result<()> {
        let mut state = self.state();
        let protection = state.files.get(&key(kind, id)).and_then(|file| file.protection);
        if let Some(protection) = protection.filter(|protection| protection.is_in_force_at(state.now())) {
            return Err(Error::protected(kind, id, protection.until));
        }
        state.files.remove(&key(kind, id));
        Ok(())
    }

    async fn capacity(&self) -> Result<Option<Capacity>> {
        let used = used_bytes(&self.state());
        Ok(self
            .total_bytes
            .map(|total_bytes| Capacity { total_bytes, free_bytes: total_bytes.saturating_sub(used) }))
    }

    fn protection_policy(&self) -> Option<ProtectionPolicy> {
        self.policy
    }

    async fn protection(&self, kind: FileKind, id: &FileId) -> Result<Option<Protection>> {
        let state = self.state();
        let file = state.files.get(&key(kind, id));
        file.map(|file| file.protection).ok_or_else(|| missing("look up the protection of", kind, id))
    }

    async fn extend_protection(
        &self,
        kind: FileKind,
        id: &FileId,
        until: SystemTime,
    ) -> Result<Option<Protection>> {
        let mut state = self.state();
        let Some(file) = state.files.get_mut(&key(kind, id)) else {
            return Err(missing("protect", kind, id));
        };
        if let Some(policy) = self.policy.filter(|_| kind != FileKind::Lock) {
            let until = file.protection.map_or(until, |protection| protection.until.max(until));
            file.protection = Some(Protection { mode: policy.mode, until });
        }
        Ok(file.protection)
    }
}
