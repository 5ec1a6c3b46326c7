//! What keeps a repository small, whole and its own, as the Hub uses it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use sendense_repo::{
    CopyOptions, CopyProgress, CopyReport, Kdf, KeptKey, KeyInfo, LockInfo, LockTiming, PruneOptions,
    PruneProgress, PruneReport, RepairOptions, RepairReport, Secret, SnapshotId, Statistics,
};
use sendense_storage::Protection;
use tokio_util::sync::CancellationToken;

use crate::reports::VerifyCounters;
use crate::restore_point::parse_id;
use crate::{Error, Repository, Result};

/// How far a long operation is, sampled from outside.
#[derive(Debug, Default)]
pub struct Sampled<P>(Mutex<P>);

impl<P: Copy> Sampled<P> {
    /// The progress now.
    #[must_use]
    pub fn progress(&self) -> P {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, P> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Repository {
    /// Removes what no restore point needs, in two phases: see `docs/design/repository-format.md`, "Life cycle".
    ///
    /// # Errors
    /// `repository-locked`, `repository-damaged` when it must be repaired first, those of the repository, and
    /// [`Error::Cancelled`].
    pub async fn prune(
        &self,
        options: &PruneOptions,
        counters: &Sampled<PruneProgress>,
        cancel: &CancellationToken,
    ) -> Result<PruneReport> {
        let progress = |progress: PruneProgress| {
            // Each phase counts its own; what an earlier one has counted stays.
            let mut sum = counters.lock();
            sum.walked_restore_points = sum.walked_restore_points.max(progress.walked_restore_points);
            sum.total_restore_points = sum.total_restore_points.max(progress.total_restore_points);
            sum.repacked_bytes = sum.repacked_bytes.max(progress.repacked_bytes);
            sum.total_repack_bytes = sum.total_repack_bytes.max(progress.total_repack_bytes);
            sum.deleted_packs = sum.deleted_packs.max(progress.deleted_packs);
        };
        Ok(self.repo().prune(options, &progress, cancel).await?)
    }

    /// Copies restore points to another repository.
    ///
    /// # Errors
    /// `restore-point-missing`, `restore-point-damaged` when one cannot be read, `repository-locked` for the target,
    /// those of both repositories, and [`Error::Cancelled`].
    pub async fn copy_to(
        &self,
        target: &Self,
        restore_point_ids: &[String],
        counters: &Sampled<CopyProgress>,
        cancel: &CancellationToken,
    ) -> Result<CopyReport> {
        let ids = restore_point_ids.iter().map(|id| parse_id(id)).collect::<Result<Vec<SnapshotId>>>()?;
        let progress = |progress| *counters.lock() = progress;
        let options = CopyOptions::default();
        let copied = self.repo().copy_to(target.repo(), &ids, options, &progress, cancel).await;
        copied.map_err(Error::of_reading)
    }

    /// Repairs what can be repaired, with the help of a second repository.
    ///
    /// # Errors
    /// `repository-locked`, those of the repository, and [`Error::Cancelled`].
    pub async fn repair(
        &self,
        source: Option<&Self>,
        dry_run: bool,
        counters: &VerifyCounters,
        cancel: &CancellationToken,
    ) -> Result<RepairReport> {
        let progress = |progress: sendense_repo::CheckProgress| {
            counters.set(progress.checked_bytes, progress.total_bytes);
        };
        let options = RepairOptions { dry_run, lock: LockTiming::default() };
        Ok(self.repo().repair(source.map(Self::repo), options, &progress, cancel).await?)
    }

    /// How much it holds, and what that costs.
    ///
    /// # Errors
    /// Those of the repository.
    pub async fn statistics(&self) -> Result<Statistics> {
        Ok(self.repo().statistics().await?)
    }

    /// All keys, the oldest first.
    ///
    /// # Errors
    /// Those of the repository.
    pub async fn keys(&self) -> Result<Vec<KeyInfo>> {
        Ok(self.repo().keys().await?)
    }

    /// Makes a key for another password, and returns its id.
    ///
    /// # Errors
    /// Those of the repository.
    pub async fn add_key(&self, password: &Secret) -> Result<String> {
        Ok(self.repo().add_key(password, Kdf::default()).await?.to_string())
    }

    /// Removes a key.
    ///
    /// # Errors
    /// `repository-key-last` for the one in use, `request-invalid` for one that is not there, `repository-locked`, and
    /// those of the repository.
    pub async fn remove_key(&self, id: &str) -> Result<()> {
        let id = id.parse().map_err(|_| Error::Request(format!("{id:?} is not the id of a key")))?;
        Ok(self.repo().remove_key(&id, LockTiming::default()).await?)
    }

    /// Replaces the password that the repository was opened with. Says which key the storage protects still.
    ///
    /// # Errors
    /// `repository-locked`, and those of the repository.
    pub async fn change_password(&self, password: &Secret) -> Result<Option<KeptKey>> {
        Ok(self.repo().change_password(password, Kdf::default(), LockTiming::default()).await?.kept)
    }

    /// All locks, the oldest first.
    ///
    /// # Errors
    /// Those of the repository.
    pub async fn locks(&self) -> Result<Vec<LockInfo>> {
        Ok(self.repo().locks().await?)
    }

    /// Removes the locks whose holders are probably dead, and says how many there were.
    ///
    /// # Errors
    /// Those of the repository.
    pub async fn remove_stale_locks(&self) -> Result<u64> {
        Ok(self.repo().remove_stale_locks().await? as u64)
    }

    /// Until when a restore point is protected against removal.
    ///
    /// # Errors
    /// `restore-point-missing`, and those of the repository.
    pub async fn protection(&self, restore_point_id: &str) -> Result<Option<Protection>> {
        Ok(self.repo().protection(&parse_id(restore_point_id)?).await?)
    }
}
