//! The keys of a repository: one per password, all of them open the same master key.

use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use sendense_storage::{ErrorKind, FileKind};

use crate::crypto::Kdf;
use crate::key_file::{self, Described};
use crate::lock::{HeldLock, LockKind, LockTiming};
use crate::repository::Inner;
use crate::{Error, KeyId, Result, Secret};

/// A key as an administrator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    /// The name of its file.
    pub id: KeyId,
    /// When it was made, where its file says so.
    pub created_at: Option<SystemTime>,
    /// Who made it.
    pub username: String,
    /// Where it was made.
    pub hostname: String,
    /// Whether it is the one that this repository was opened with.
    pub is_current: bool,
}

/// All keys whose files can be read, the oldest first.
pub(crate) async fn keys(repository: &Inner) -> Result<Vec<KeyInfo>> {
    let current = current(repository);
    let mut keys = Vec::new();
    for entry in repository.storage.list(FileKind::Key).await? {
        let id = KeyId::from(entry.id);
        match key_file::describe(&*repository.storage, id).await {
            Ok(Described { created_at, username, hostname }) => {
                keys.push(KeyInfo { id, created_at, username, hostname, is_current: id == current });
            }
            Err(Error::Damaged { .. }) => {}
            Err(Error::Storage(error)) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    keys.sort_by_key(|key| (key.created_at, key.id));
    Ok(keys)
}

/// Makes a key for another password, and proves that it opens.
pub(crate) async fn add_key(repository: &Inner, password: &Secret, kdf: Kdf) -> Result<KeyId> {
    let id = key_file::create(&*repository.storage, &repository.key, password, kdf).await?;
    if key_file::opens(&*repository.storage, id, password).await? {
        return Ok(id);
    }
    Err(Error::Internal { reason: format!("the new key {id} does not open") })
}

/// Removes a key: never the one that is in use, and so never the last one.
pub(crate) async fn remove_key(repository: &Arc<Inner>, id: &KeyId, timing: LockTiming) -> Result<()> {
    let lock = acquire(repository, timing).await?;
    let removed = remove_locked(repository, id).await;
    let released = lock.release().await;
    removed.and(released)
}

async fn remove_locked(repository: &Inner, id: &KeyId) -> Result<()> {
    let keys = keys(repository).await?;
    let key = keys.iter().find(|key| key.id == *id).ok_or(Error::KeyMissing { id: *id })?;
    // The one in use must still be there: somebody else may have removed it.
    if key.is_current || !keys.iter().any(|key| key.is_current) {
        return Err(Error::KeyNeeded { id: *id });
    }
    Ok(repository.storage.remove(FileKind::Key, &(*id).into()).await?)
}

/// Makes a key for the new password, and only when that opens, removes the one in use. A crash in between leaves both.
pub(crate) async fn change_password(
    repository: &Arc<Inner>,
    password: &Secret,
    kdf: Kdf,
    timing: LockTiming,
) -> Result<KeyId> {
    let lock = acquire(repository, timing).await?;
    let changed = change_locked(repository, password, kdf).await;
    let released = lock.release().await;
    let id = changed?;
    released.map(|()| id)
}

async fn change_locked(repository: &Inner, password: &Secret, kdf: Kdf) -> Result<KeyId> {
    let new = add_key(repository, password, kdf).await?;
    let old = {
        let mut current = repository.key_id.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *current, new)
    };
    repository.storage.remove(FileKind::Key, &old.into()).await?;
    Ok(new)
}

/// One at a time changes keys: two that remove the key of each other would leave none.
async fn acquire(repository: &Arc<Inner>, timing: LockTiming) -> Result<HeldLock> {
    HeldLock::acquire_as(LockKind::Prune, &repository.storage, &repository.key, timing).await
}

fn current(repository: &Inner) -> KeyId {
    *repository.key_id.lock().unwrap_or_else(PoisonError::into_inner)
}
