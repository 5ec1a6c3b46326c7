//! The keys of a repository: one per password, all of them open the same master key.

use std::collections::HashSet;
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
    /// Whether another one has taken its place. It goes with the first prune, or change of the password, after the
    /// storage has ceased to protect it.
    pub is_superseded: bool,
}

/// A password that was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChangedPassword {
    /// The key of the new password.
    pub id: KeyId,
    /// The key of the old one, where the storage does not let it be removed yet: it opens the repository still.
    pub kept: Option<KeptKey>,
}

/// A key that the storage protects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptKey {
    /// The key.
    pub id: KeyId,
    /// Until when, where the storage says so.
    pub until: Option<SystemTime>,
}

/// All keys whose files can be read, the oldest first.
pub(crate) async fn keys(repository: &Inner) -> Result<Vec<KeyInfo>> {
    let current = current(repository);
    let (mut keys, mut superseded) = (Vec::new(), HashSet::new());
    for entry in repository.storage.list(FileKind::Key).await? {
        let id = KeyId::from(entry.id);
        match key_file::describe(&*repository.storage, id).await {
            Ok(Described { created_at, username, hostname, supersedes }) => {
                let is_current = id == current;
                keys.push(KeyInfo { id, created_at, username, hostname, is_current, is_superseded: false });
                superseded.extend(supersedes);
            }
            Err(Error::Damaged { .. }) => {}
            Err(Error::Storage(error)) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    for key in &mut keys {
        key.is_superseded = !key.is_current && superseded.contains(&key.id);
    }
    keys.sort_by_key(|key| (key.created_at, key.id));
    Ok(keys)
}

/// The keys that no other one has taken the place of.
pub(crate) async fn in_force(repository: &Inner) -> Result<Vec<KeyId>> {
    let keys = keys(repository).await?;
    Ok(keys.into_iter().filter(|key| !key.is_superseded).map(|key| key.id).collect())
}

/// Makes a key for another password, and proves that it opens.
pub(crate) async fn add_key(repository: &Inner, password: &Secret, kdf: Kdf) -> Result<KeyId> {
    add_in_place_of(repository, password, kdf, Vec::new()).await
}

async fn add_in_place_of(
    repository: &Inner,
    password: &Secret,
    kdf: Kdf,
    superseded: Vec<KeyId>,
) -> Result<KeyId> {
    let id = key_file::create(&*repository.storage, &repository.key, password, kdf, superseded).await?;
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

/// Makes a key for the new password, and only when that opens, removes the one in use. A crash in between leaves both,
/// and so does a storage that protects keys: then the new one says whose place it has taken.
pub(crate) async fn change_password(
    repository: &Arc<Inner>,
    password: &Secret,
    kdf: Kdf,
    timing: LockTiming,
) -> Result<ChangedPassword> {
    let lock = acquire(repository, timing).await?;
    let changed = change_locked(repository, password, kdf).await;
    let released = lock.release().await;
    let changed = changed?;
    released.map(|()| changed)
}

async fn change_locked(repository: &Inner, password: &Secret, kdf: Kdf) -> Result<ChangedPassword> {
    let old = current(repository);
    let mut superseded = remove_superseded(repository).await?;
    superseded.push(old);
    let id = add_in_place_of(repository, password, kdf, superseded).await?;
    *repository.key_id.lock().unwrap_or_else(PoisonError::into_inner) = id;
    Ok(ChangedPassword { id, kept: remove_unprotected(repository, old).await? })
}

/// Removes the keys that others have taken the place of, under a lock that keeps others from changing keys. Returns those
/// that the storage still protects.
pub(crate) async fn remove_superseded(repository: &Inner) -> Result<Vec<KeyId>> {
    let mut protected = Vec::new();
    for key in keys(repository).await? {
        if key.is_superseded && remove_unprotected(repository, key.id).await?.is_some() {
            protected.push(key.id);
        }
    }
    Ok(protected)
}

/// Removes a key, or says until when the storage protects it.
async fn remove_unprotected(repository: &Inner, id: KeyId) -> Result<Option<KeptKey>> {
    match repository.storage.remove(FileKind::Key, &id.into()).await {
        Err(error) if error.kind() == ErrorKind::Protected => {
            Ok(Some(KeptKey { id, until: error.protected_until() }))
        }
        removed => Ok(removed.map(|()| None)?),
    }
}

/// One at a time changes keys: two that remove the key of each other would leave none.
async fn acquire(repository: &Arc<Inner>, timing: LockTiming) -> Result<HeldLock> {
    HeldLock::acquire_as(LockKind::Prune, &repository.storage, &repository.key, timing).await
}

fn current(repository: &Inner) -> KeyId {
    *repository.key_id.lock().unwrap_or_else(PoisonError::into_inner)
}
