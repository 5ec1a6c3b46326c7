//! What keeps a repository small, whole and its own: pruning, copying, repairing, keys and locks.

use std::time::SystemTime;

use sendense_storage::{ErrorKind, FileKind, Protection};
use tokio_util::sync::CancellationToken;

use crate::{
    ChangedPassword, CheckProgress, CopyOptions, CopyProgress, CopyReport, Error, Kdf, KeyId, KeyInfo,
    LockInfo, LockTiming, PruneOptions, PruneProgress, PruneReport, RepairOptions, RepairReport, Repository,
    Result, Secret, SnapshotId, Statistics, copy, keys, lock, prune, repair, statistics,
};

impl Repository {
    /// Removes what no restore point needs, in two phases of which the second comes a day later: see
    /// [`PruneOptions::grace`]. Works beside any number of writers, and takes a lock meanwhile that only other prunes
    /// respect.
    ///
    /// # Errors
    /// [`Error::Locked`]; [`Error::RepairNeeded`] when something cannot be read without which nobody can say what is
    /// garbage; [`Error::LockLost`], [`Error::Cancelled`], and what the storage says.
    pub async fn prune(
        &self,
        options: &PruneOptions,
        progress: &(dyn Fn(PruneProgress) + Send + Sync),
        cancel: &CancellationToken,
    ) -> Result<PruneReport> {
        prune::prune(&self.inner, options, progress, cancel).await
    }

    /// All locks, the oldest first.
    ///
    /// # Errors
    /// What the storage says.
    pub async fn locks(&self) -> Result<Vec<LockInfo>> {
        lock::infos(&*self.inner.storage, &self.inner.key).await
    }

    /// Copies restore points to another repository. A chunk that is there is not read; what was copied is read back
    /// before a restore point is listed there. A copy that was interrupted goes on where it was when it is repeated.
    ///
    /// # Errors
    /// [`Error::RestorePointMissing`], [`Error::Locked`] when the target is, what reading here and writing there
    /// says, and [`Error::Cancelled`].
    pub async fn copy_to(
        &self,
        target: &Self,
        points: &[SnapshotId],
        options: CopyOptions,
        progress: &(dyn Fn(CopyProgress) + Send + Sync),
        cancel: &CancellationToken,
    ) -> Result<CopyReport> {
        copy::copy(&self.inner, &target.inner, points, options, progress, cancel).await
    }

    /// Repairs what can be repaired, with the help of a second repository that may have what is lost here. What cannot
    /// be repaired is in the report. No restore point is removed.
    ///
    /// # Errors
    /// [`Error::Locked`] beside a prune, [`Error::Cancelled`], and what the storage says.
    pub async fn repair(
        &self,
        source: Option<&Self>,
        options: RepairOptions,
        progress: &(dyn Fn(CheckProgress) + Send + Sync),
        cancel: &CancellationToken,
    ) -> Result<RepairReport> {
        let source = source.map(|source| &source.inner);
        repair::repair(&self.inner, source, options, progress, cancel).await
    }

    /// How much it holds, and what that costs.
    ///
    /// # Errors
    /// What the storage says.
    pub async fn statistics(&self) -> Result<Statistics> {
        statistics::statistics(&self.inner).await
    }

    /// All keys that can be read, the oldest first.
    ///
    /// # Errors
    /// What the storage says.
    pub async fn keys(&self) -> Result<Vec<KeyInfo>> {
        keys::keys(&self.inner).await
    }

    /// Makes a key for another password. All others stay.
    ///
    /// # Errors
    /// What the storage says.
    pub async fn add_key(&self, password: &Secret, kdf: Kdf) -> Result<KeyId> {
        keys::add_key(&self.inner, password, kdf).await
    }

    /// Removes a key, and with it the password that opens it. Takes a lock, so that never the last one goes.
    ///
    /// # Errors
    /// [`Error::KeyMissing`], [`Error::KeyNeeded`] for the one in use, [`Error::Locked`], and what the storage says.
    pub async fn remove_key(&self, id: &KeyId, lock: LockTiming) -> Result<()> {
        keys::remove_key(&self.inner, id, lock).await
    }

    /// Replaces the password that this repository was opened with. A crash on the way leaves both. Where the storage
    /// protects keys, the old one opens the repository until that ends; the answer says so.
    ///
    /// # Errors
    /// [`Error::Locked`], and what the storage says.
    pub async fn change_password(
        &self,
        password: &Secret,
        kdf: Kdf,
        lock: LockTiming,
    ) -> Result<ChangedPassword> {
        keys::change_password(&self.inner, password, kdf, lock).await
    }

    /// Until when a restore point is protected against removal; `None` where it is not, or not any more.
    ///
    /// # Errors
    /// [`Error::RestorePointMissing`], and what the storage says.
    pub async fn protection(&self, id: &SnapshotId) -> Result<Option<Protection>> {
        let now = SystemTime::now();
        match self.inner.storage.protection(FileKind::Snapshot, &(*id).into()).await {
            Ok(protection) => Ok(protection.filter(|protection| protection.is_in_force_at(now))),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::RestorePointMissing { id: *id }),
            Err(error) => Err(error.into()),
        }
    }
}
