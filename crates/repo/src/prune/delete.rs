//! Deleting packs.

use std::collections::HashSet;

use futures::StreamExt;
use sendense_storage::{ErrorKind, FileKind};

use super::mark::Marking;
use super::plan::Plan;
use super::view::View;
use super::{BlockedBy, Prune, PruneProgress, PruneReport};
use crate::{PackId, Result};

/// Packs that are deleted at a time.
const DELETIONS_MAX: usize = 8;

/// After so many packs we look whether our lock is still there.
const PACKS_PER_LOOK: usize = 256;

/// Deletes the packs whose marks are old enough, unless somebody who takes no lock has named one of them again.
pub(super) async fn sweep(
    prune: &Prune<'_>,
    view: &View,
    plan: &Plan,
    marking: &mut Marking<'_>,
    report: &mut PruneReport,
) -> Result<()> {
    if plan.delete.is_empty() {
        return Ok(());
    }
    let named = marking.named_since(view).await?;
    let packs = plan.delete.iter().map(|number| view.pack(*number));
    let packs: Vec<(PackId, u64)> = packs
        .filter(|pack| !named.contains(&pack.id))
        .map(|pack| (pack.id, pack.listed_bytes.unwrap_or_default()))
        .collect();
    let gone = delete(prune, packs, report).await?;
    marking.forget_marks(&gone);
    Ok(())
}

/// Deletes at once what an exclusive prune has found to be needed by nobody.
pub(super) async fn condemned(
    prune: &Prune<'_>,
    marking: &mut Marking<'_>,
    report: &mut PruneReport,
) -> Result<()> {
    if !prune.options.exclusive {
        return Ok(());
    }
    let packs = marking.take_condemned();
    report.marked = super::report::Packs::default();
    delete(prune, packs, report).await?;
    Ok(())
}

/// Deletes packs, and returns those that are gone. Those that the storage protects all the same stay.
async fn delete(
    prune: &Prune<'_>,
    packs: Vec<(PackId, u64)>,
    report: &mut PruneReport,
) -> Result<HashSet<PackId>> {
    let storage = &prune.repository.storage;
    let mut gone = HashSet::new();
    for part in packs.chunks(PACKS_PER_LOOK) {
        prune.check_cancelled()?;
        prune.lock.confirm().await?;
        let mut removals = futures::stream::iter(part.to_vec())
            .map(|(id, bytes)| async move { (id, bytes, storage.remove(FileKind::Pack, &id.into()).await) })
            .buffer_unordered(DELETIONS_MAX);
        while let Some((id, bytes, result)) = removals.next().await {
            match result {
                Ok(()) => {
                    report.deleted.add(bytes);
                    gone.insert(id);
                }
                Err(error) if error.kind() == ErrorKind::Protected => {
                    report.add_blocked(BlockedBy::Protection, bytes, error.protected_until());
                }
                Err(error) => return Err(error.into()),
            }
        }
        (prune.progress)(PruneProgress { deleted_packs: report.deleted.packs, ..PruneProgress::default() });
    }
    Ok(gone)
}
