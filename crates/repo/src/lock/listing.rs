//! Looking at the locks there are.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};

use sendense_storage::{ErrorKind, FileKind, Storage};

use super::file::Holding;
use super::{LockFile, LockKind, LockRole};
use crate::crypto::Key;
use crate::{Error, LockId, Result, sealed_json};

/// A lock as an administrator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockInfo {
    /// The name of its file, which changes with each refresh.
    pub id: LockId,
    /// When it was made or refreshed last.
    pub refreshed_at: SystemTime,
    /// The machine of the holder.
    pub hostname: String,
    /// Who runs the holder.
    pub username: String,
    /// The process of the holder.
    pub pid: u32,
    /// Whether it tolerates no other lock.
    pub is_exclusive: bool,
    /// Whether its holder is probably dead: see [`crate::Repository::remove_stale_locks`].
    pub is_stale: bool,
    /// What its holder does; `None` for other tools.
    pub role: Option<LockRole>,
}

/// All locks that can be read, and how many cannot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Locks {
    pub(crate) alive: Vec<(LockId, LockFile)>,
    pub(crate) unreadable: usize,
}

/// Fails when there is a lock beside which one of this kind cannot be had, and whose holder may be alive.
pub(super) async fn look_for_collision(
    storage: &dyn Storage,
    key: &Key,
    kind: LockKind,
    own: &Holding,
) -> Result<()> {
    for (id, lock) in read_all(storage, key).await? {
        if lock.is_orphaned() {
            storage.remove(FileKind::Lock, &id.into()).await?;
        } else if !lock.is_of(own) && kind.collides_with(&lock) {
            return Err(lock.as_error(SystemTime::now()));
        }
    }
    Ok(())
}

/// Looks until two listings in a row show nothing that vanished before it could be read, and returns all that was
/// read. A refresh writes the new file and then removes the old one; a single listing that runs meanwhile may
/// show neither.
pub(crate) async fn look_twice(storage: &dyn Storage, key: &Key) -> Result<Locks> {
    let (mut read, mut unreadable) = (HashMap::<LockId, LockFile>::new(), HashSet::new());
    let mut calm = 0;
    while calm < 2 {
        calm += 1;
        for entry in storage.list(FileKind::Lock).await? {
            let id = LockId::from(entry.id);
            if read.contains_key(&id) || unreadable.contains(&id) {
                continue;
            }
            match sealed_json::read::<LockFile>(storage, key, FileKind::Lock, &entry.id).await {
                Ok(lock) if lock.is_orphaned() => storage.remove(FileKind::Lock, &entry.id).await?,
                Ok(lock) => drop(read.insert(id, lock)),
                Err(Error::Damaged { .. }) => drop(unreadable.insert(id)),
                Err(Error::Storage(error)) if error.kind() == ErrorKind::NotFound => calm = 0,
                Err(error) => return Err(error),
            }
        }
    }
    Ok(Locks { alive: read.into_iter().collect(), unreadable: unreadable.len() })
}

/// What locks there are, for people.
pub(crate) async fn infos(storage: &dyn Storage, key: &Key) -> Result<Vec<LockInfo>> {
    let now = SystemTime::now();
    let info = |(id, lock): (LockId, LockFile)| LockInfo {
        id,
        refreshed_at: lock.time,
        is_stale: lock.is_stale(now),
        role: lock.sendense.as_ref().map(|holding| holding.role),
        is_exclusive: lock.exclusive,
        hostname: lock.hostname,
        username: lock.username,
        pid: lock.pid,
    };
    let mut infos: Vec<_> = read_all(storage, key).await?.into_iter().map(info).collect();
    infos.sort_by_key(|info| (info.refreshed_at, info.id));
    Ok(infos)
}

/// Removes the locks that count as stale by restic's rules, as `restic unlock` does: an administrator's decision.
/// Returns how many there were.
pub(crate) async fn remove_stale(storage: &dyn Storage, key: &Key) -> Result<usize> {
    remove(storage, key, |lock| lock.is_stale(SystemTime::now())).await
}

/// Removes the locks that nobody has refreshed for so long. Whoever held one finds out before it commits.
pub(crate) async fn remove_older_than(storage: &dyn Storage, key: &Key, age: Duration) -> Result<usize> {
    let is_old = |lock: &LockFile| lock.time.elapsed().is_ok_and(|elapsed| elapsed > age);
    remove(storage, key, is_old).await
}

async fn remove(storage: &dyn Storage, key: &Key, is_meant: impl Fn(&LockFile) -> bool) -> Result<usize> {
    let mut removed = 0;
    for (id, lock) in read_all(storage, key).await? {
        if is_meant(&lock) {
            storage.remove(FileKind::Lock, &id.into()).await?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// All locks that can be read. Others do not bind, by restic's rules: a lock may vanish while we look, and one
/// that is damaged says nothing.
async fn read_all(storage: &dyn Storage, key: &Key) -> Result<Vec<(LockId, LockFile)>> {
    let mut locks = Vec::new();
    for entry in storage.list(FileKind::Lock).await? {
        match sealed_json::read(storage, key, FileKind::Lock, &entry.id).await {
            Ok(lock) => locks.push((entry.id.into(), lock)),
            Err(Error::Damaged { .. }) => {}
            Err(Error::Storage(error)) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(locks)
}
