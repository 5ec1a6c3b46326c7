//! Keeping what a new restore point needs protected for as long as the restore point itself.

use std::collections::HashSet;
use std::sync::PoisonError;
use std::time::SystemTime;

use futures::{StreamExt, TryStreamExt};
use sendense_storage::FileKind;

use crate::pack::BlobKind;
use crate::repository::Inner;
use crate::{Error, PackId, Result};

/// Packs that are asked or extended at a time.
const QUESTIONS_MAX: usize = 16;

/// Extends the protection of every pack that one of these blobs lies in and that would end before that of a file
/// written now. Extended by a quarter more, so that the next restore points need not do it again at once.
pub(crate) async fn protect(
    repository: &Inner,
    needed: impl Iterator<Item = (BlobKind, [u8; 32])>,
) -> Result<()> {
    let Some(policy) = repository.storage.protection_policy() else { return Ok(()) };
    let now = SystemTime::now();
    let (enough, wanted) = (now + policy.window, now + policy.window + policy.window / 4);
    let mut short = packs_of(repository, needed);
    {
        let known = repository.protected.lock().unwrap_or_else(PoisonError::into_inner);
        short.retain(|id| known.get(id).is_none_or(|until| *until < enough));
    }
    let extensions = futures::stream::iter(short).map(|id| async move {
        let storage = &repository.storage;
        let mut protection = storage.protection(FileKind::Pack, &id.into()).await?;
        if protection.is_none_or(|protection| protection.until < enough) {
            protection = storage.extend_protection(FileKind::Pack, &id.into(), wanted).await?;
        }
        let until = protection.map(|protection| protection.until).filter(|until| *until >= enough);
        let until = until.ok_or(Error::Unprotected { id })?;
        // Nobody shortens a protection, so that it need not be asked for again.
        repository.protected.lock().unwrap_or_else(PoisonError::into_inner).insert(id, until);
        Ok(())
    });
    extensions.buffer_unordered(QUESTIONS_MAX).try_collect().await
}

/// The packs on which a restore point of these blobs relies.
fn packs_of(repository: &Inner, needed: impl Iterator<Item = (BlobKind, [u8; 32])>) -> HashSet<PackId> {
    let index = repository.catalog.index();
    needed.filter_map(|(kind, id)| index.find_reliable(kind, &id).next()).map(|place| place.pack).collect()
}
