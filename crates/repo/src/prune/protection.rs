//! Until when files cannot be removed.

use std::time::SystemTime;

use futures::{StreamExt, TryStreamExt};
use sendense_storage::{ErrorKind, FileId, FileKind};

use super::view::FileView;
use crate::Result;
use crate::repository::Inner;

/// Questions that are asked at a time.
const QUESTIONS_MAX: usize = 16;

/// Until when each of these files cannot be removed; `None` for those that can. A storage that protects nothing is
/// not asked.
pub(super) async fn look_up(
    repository: &Inner,
    kind: FileKind,
    ids: Vec<FileId>,
    now: SystemTime,
) -> Result<Vec<Option<SystemTime>>> {
    if repository.storage.protection_policy().is_none() {
        return Ok(vec![None; ids.len()]);
    }
    let questions = futures::stream::iter(ids).map(|id| async move {
        match repository.storage.protection(kind, &id).await {
            Ok(protection) => Ok(protection
                .filter(|protection| protection.is_in_force_at(now))
                .map(|protection| protection.until)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    });
    questions.buffered(QUESTIONS_MAX).try_collect().await
}

/// Notes in index files until when they cannot be removed.
pub(super) async fn look_up_files(repository: &Inner, files: &mut [FileView], now: SystemTime) -> Result<()> {
    let ids = files.iter().map(|file| file.id.into()).collect();
    let held = look_up(repository, FileKind::Index, ids, now).await?;
    for (file, until) in files.iter_mut().zip(held) {
        file.held_until = until;
    }
    Ok(())
}
