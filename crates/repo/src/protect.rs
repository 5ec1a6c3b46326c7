//! Keeping what a new restore point needs protected for as long as the restore point itself: its packs, and what opens
//! them, which is the config, the keys and the index.

use std::collections::HashSet;
use std::sync::PoisonError;
use std::time::SystemTime;

use futures::{StreamExt, TryStreamExt};
use sendense_storage::{FileId, FileKind, ProtectionPolicy};

use crate::keys;
use crate::pack::BlobKind;
use crate::repository::Inner;
use crate::{Error, Result};

/// Files that are asked or extended at a time.
const QUESTIONS_MAX: usize = 16;

type File = (FileKind, FileId);

/// Extends the protection of every file on which a restore point of these blobs relies and that would end before that of
/// a file written now. Extended by a quarter more, so that the next restore points need not do it again at once.
pub(crate) async fn protect(
    repository: &Inner,
    needed: impl Iterator<Item = (BlobKind, [u8; 32])>,
) -> Result<()> {
    let Some(policy) = repository.storage.protection_policy() else { return Ok(()) };
    let enough = SystemTime::now() + policy.window;
    let mut short = packs_of(repository, needed);
    short.insert((FileKind::Config, FileId::CONFIG));
    short.extend(repository.catalog.index_files().await.into_iter().map(|id| (FileKind::Index, id.into())));
    short.extend(keys::in_force(repository).await?.into_iter().map(|id| (FileKind::Key, id.into())));
    {
        let known = repository.protected.lock().unwrap_or_else(PoisonError::into_inner);
        short.retain(|file| known.get(file).is_none_or(|until| *until < enough));
    }
    let extensions = futures::stream::iter(short).map(|file| extend(repository, file, policy, enough));
    extensions.buffer_unordered(QUESTIONS_MAX).try_collect().await
}

async fn extend(repository: &Inner, file: File, policy: ProtectionPolicy, enough: SystemTime) -> Result<()> {
    let (storage, (kind, id)) = (&repository.storage, file);
    let mut protection = storage.protection(kind, &id).await?;
    if protection.is_none_or(|protection| protection.until < enough) {
        protection = storage.extend_protection(kind, &id, enough + policy.window / 4).await?;
    }
    let until = protection.map(|protection| protection.until).filter(|until| *until >= enough);
    let until = until.ok_or(Error::Unprotected { kind, id })?;
    // Nobody shortens a protection, so that it need not be asked for again.
    repository.protected.lock().unwrap_or_else(PoisonError::into_inner).insert(file, until);
    Ok(())
}

/// The packs on which a restore point of these blobs relies.
fn packs_of(repository: &Inner, needed: impl Iterator<Item = (BlobKind, [u8; 32])>) -> HashSet<File> {
    let index = repository.catalog.index();
    let places = needed.filter_map(|(kind, id)| index.find_reliable(kind, &id).next());
    places.map(|place| (FileKind::Pack, place.pack.into())).collect()
}
