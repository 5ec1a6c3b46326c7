//! Removing what no restore point needs, beside running writers.
//!
//! Two phases, usually of two calls. **Mark**: a pack that nobody needs is named in an index file as marked for
//! deletion, and in no other any more; nothing is lost by that. **Sweep**: a pack that was marked long ago, that
//! nobody who was at work then can still want, and that no restore point needs, is deleted. The protocol, and why
//! it is safe, is in `docs/design/repository-format.md`, "Life cycle".
//!
//! Whatever cannot be read makes the prune end before it has changed anything ([`Error::RepairNeeded`]).

mod blockers;
mod delete;
mod index_files;
mod mark;
mod options;
mod plan;
mod protection;
mod repack;
mod report;
mod used;
mod view;

use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use sendense_storage::FileKind;
use tokio_util::sync::CancellationToken;

use crate::keys;
use crate::lock::{HeldLock, LockKind, STALE_AFTER, look_twice, remove_older_than};
use crate::repository::Inner;
use crate::{Error, Result};
use blockers::Blockers;
pub(crate) use index_files::{IndexWriter, read_index_file};
use mark::Marking;
pub use options::{PruneOptions, PruneProgress};
use plan::Plan;
pub use report::{Blocked, BlockedBy, Packs, PruneReport};
use used::Used;
use view::View;

/// What the phases of one call share.
struct Prune<'a> {
    repository: &'a Arc<Inner>,
    options: &'a PruneOptions,
    /// The moment the call began.
    now: SystemTime,
    lock: &'a HeldLock,
    progress: &'a (dyn Fn(PruneProgress) + Send + Sync),
    cancel: &'a CancellationToken,
}

/// Prunes under a lock of its own.
pub(crate) async fn prune(
    repository: &Arc<Inner>,
    options: &PruneOptions,
    progress: &(dyn Fn(PruneProgress) + Send + Sync),
    cancel: &CancellationToken,
) -> Result<PruneReport> {
    options.check()?;
    let kind = if options.exclusive { LockKind::Exclusive } else { LockKind::Prune };
    let lock = HeldLock::acquire_as(kind, &repository.storage, &repository.key, options.lock).await?;
    let prune = Prune { repository, options, now: options.now_or_clock(), lock: &lock, progress, cancel };
    let report = match prune.run().await {
        // What the storage protected when the password was changed.
        Ok(report) if !options.dry_run => keys::remove_superseded(repository).await.map(|_| report),
        report => report,
    };
    let released = lock.release().await;
    let report = report?;
    // Whoever goes on in this process shall not learn of the marks by a failure.
    repository.catalog.refresh().await?;
    released.map(|()| report)
}

impl Prune<'_> {
    async fn run(&self) -> Result<PruneReport> {
        // The locks first: whoever has let go of one before has written its restore point before, too.
        let blockers = self.look_at_locks().await?;
        let points = self.repository.storage.list(FileKind::Snapshot).await?;
        let view = View::read(self.repository, self.now, self.cancel).await?;
        let mut used = Used::new(&view);
        used.walk(self, &points).await?;
        // What was made while we walked may need what nobody needed before.
        let points = self.repository.storage.list(FileKind::Snapshot).await?;
        used.walk(self, &points).await?;

        let plan = Plan::make(&view, &used, &blockers, self).await?;
        let mut report = PruneReport::of(&view, &used, &plan, self);
        *self.repository.unused_bytes.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(report.unused_bytes);
        if self.options.dry_run {
            return Ok(report);
        }
        let copies = repack::repack(self, &view, &plan).await?;
        report.add_copies(&view, &copies);
        let mut marking = Marking::begin(self, &view, &plan, copies).await?;
        delete::sweep(self, &view, &plan, &mut marking, &mut report).await?;
        marking.switch(&mut report).await?;
        marking.restore_what_new_points_need(&plan, &mut used, &mut report).await?;
        delete::condemned(self, &mut marking, &mut report).await?;
        marking.settle(&mut report).await?;
        Ok(report)
    }

    /// Who is at work. Locks that nobody has refreshed for longer than the grace are removed first: their holders
    /// find that out before they commit.
    async fn look_at_locks(&self) -> Result<Blockers> {
        let Inner { storage, key, .. } = &**self.repository;
        let mut removed = 0;
        if !self.options.exclusive && !self.options.dry_run {
            let age = self.options.grace.max(STALE_AFTER) + self.options.margin();
            removed = remove_older_than(&**storage, key, age).await?;
        }
        let locks = look_twice(&**storage, key).await?;
        Ok(Blockers::new(locks, self.lock.writer(), removed))
    }

    fn check_cancelled(&self) -> Result<()> {
        if self.cancel.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}
