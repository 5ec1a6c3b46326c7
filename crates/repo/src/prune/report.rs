//! What a prune did, and what it left and why.

use std::time::SystemTime;

use super::Prune;
use super::plan::Plan;
use super::repack::Copies;
use super::used::Used;
use super::view::View;

/// What a prune did. With [`super::PruneOptions::dry_run`], what it would do: then nothing is deleted or copied,
/// and what is marked and un-marked is what would be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PruneReport {
    /// Restore points that were walked through.
    pub restore_points: u64,
    /// Packs that stay because they hold what restore points need, or because nothing can be done about them yet.
    pub kept: Packs,
    /// Packs that are marked for deletion from now on.
    pub marked: Packs,
    /// Packs that were copied without what nobody needs; they are among the marked ones.
    pub repacked: Packs,
    /// What the copies take.
    pub copied: Packs,
    /// Packs that were marked and are needed again.
    pub unmarked: Packs,
    /// Packs that were deleted.
    pub deleted: Packs,
    /// Packs that nobody needs and that stay for the time being, and why.
    pub blocked: Vec<Blocked>,
    /// Bytes in kept packs that nobody needs.
    pub unused_bytes: u64,
    /// Index files before.
    pub index_files_before: u64,
    /// Index files afterwards.
    pub index_files_after: u64,
    /// Blobs that restore points need and that are in no pack that is there: see [`crate::Repository::repair`].
    pub missing_blobs: u64,
    /// Packs that would have been copied and cannot be read completely. They stay as they are, for a repair.
    pub damaged_packs: u64,
    /// Locks that nobody had refreshed for longer than the grace and that were removed.
    pub removed_locks: u64,
}

/// A number of packs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Packs {
    /// How many.
    pub packs: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Packs {
    pub(super) fn add(&mut self, bytes: u64) {
        self.packs += 1;
        self.bytes += bytes;
    }

    pub(super) fn remove(&mut self, bytes: u64) {
        self.packs = self.packs.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// Packs that nobody needs and that stay for the time being.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// Why.
    pub by: BlockedBy,
    /// The packs.
    pub packs: Packs,
    /// Until when at least, where that is known.
    pub until: Option<SystemTime>,
}

/// Why packs stay that nobody needs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BlockedBy {
    /// They were marked not long enough ago.
    Grace,
    /// A writer of ours began before they were marked.
    Writer {
        /// Its machine.
        hostname: String,
        /// Its process.
        pid: u32,
        /// When it began.
        started: SystemTime,
    },
    /// Another tool is at work, and does not say since when.
    ForeignLock {
        /// Its machine.
        hostname: String,
        /// Its process.
        pid: u32,
    },
    /// There is a lock that cannot be read.
    UnreadableLock,
    /// The storage protects them, or an index file that names them.
    Protection,
    /// No index file names them, and they may be what somebody at work is about to name.
    WritersAtWork,
    /// No index file names them, and blobs are missing that may be in them: a repair looks.
    MissingBlobs,
}

impl PruneReport {
    pub(super) fn of(view: &View, used: &Used<'_>, plan: &Plan, prune: &Prune<'_>) -> Self {
        let mut report = Self {
            restore_points: used.restore_points() as u64,
            unused_bytes: plan.unused_bytes,
            index_files_before: view.files.len() as u64,
            index_files_after: view.files.len() as u64,
            missing_blobs: plan.missing_blobs,
            removed_locks: plan.removed_locks as u64,
            blocked: plan.blocked.clone(),
            ..Self::default()
        };
        let bytes = |number: &u32| view.pack(*number).listed_bytes.unwrap_or_default();
        plan.condemned.iter().for_each(|number| report.marked.add(bytes(number)));
        plan.orphans.iter().for_each(|(_, bytes)| report.marked.add(*bytes));
        plan.unmark.iter().for_each(|number| report.unmarked.add(bytes(number)));
        for number in &plan.repack {
            report.marked.add(bytes(number));
            report.repacked.add(bytes(number));
        }
        if prune.options.dry_run {
            plan.delete.iter().for_each(|number| report.deleted.add(bytes(number)));
        }
        plan.kept.iter().for_each(|number| report.kept.add(bytes(number)));
        report
    }

    pub(super) fn add_copies(&mut self, view: &View, copies: &Copies) {
        for pack in &copies.packs {
            self.copied.add(pack.size_bytes);
        }
        for number in &copies.skipped {
            let bytes = view.pack(*number).listed_bytes.unwrap_or_default();
            self.repacked.remove(bytes);
            self.marked.remove(bytes);
            self.kept.add(bytes);
            self.damaged_packs += 1;
        }
    }

    /// Adds a pack that stays to those that stay for the same reason.
    pub(super) fn add_blocked(&mut self, by: BlockedBy, bytes: u64, until: Option<SystemTime>) {
        add_blocked(&mut self.blocked, by, bytes, until);
    }
}

pub(super) fn add_blocked(blocked: &mut Vec<Blocked>, by: BlockedBy, bytes: u64, until: Option<SystemTime>) {
    let position = blocked.iter().position(|entry| entry.by == by).unwrap_or(blocked.len());
    if position == blocked.len() {
        blocked.push(Blocked { by, packs: Packs::default(), until: None });
    }
    let entry = &mut blocked[position];
    entry.packs.add(bytes);
    // The last of them to become free.
    entry.until = entry.until.max(until);
}
