//! Changing what the index files say: who is marked, who is not, and who is not named any more.

use std::collections::{HashMap, HashSet};
use std::time::SystemTime;

use sendense_storage::{ErrorKind, FileKind};

use super::index_files::{IndexWriter, read_index_file, write_mark_files};
use super::plan::Plan;
use super::repack::Copies;
use super::used::Used;
use super::view::{FileView, View};
use super::{Prune, PruneReport};
use crate::index::{IndexPack, MarkedPack};
use crate::{IndexId, PackId, Result};

/// An index file with fewer blobs is merged with others of its kind …
const SMALL_FILE_BLOBS: usize = 5_000;

/// … when there are so many of them.
const SMALL_FILES_MIN: usize = 8;

/// Changing the index files, step by step.
pub(super) struct Marking<'a> {
    prune: &'a Prune<'a>,
    view: &'a View,
    /// Files whose packs are in new files now.
    replaced: Vec<IndexId>,
    /// Files of marks that are there.
    mark_files: Vec<IndexId>,
    /// The marks that shall be there afterwards.
    marks: HashMap<PackId, MarkedPack>,
    /// Packs that are marked by this call, with their sizes.
    condemned: HashMap<PackId, u64>,
    /// Whether the files of marks do not say what they shall.
    is_stale: bool,
    files_written: u64,
    files_removed: u64,
}

impl<'a> Marking<'a> {
    /// Writes new files for the packs that stay, the copies and those that are needed again. Nothing is removed,
    /// and nothing is marked yet: a pack is what the old files say.
    pub(super) async fn begin(
        prune: &'a Prune<'a>,
        view: &'a View,
        plan: &Plan,
        copies: Copies,
    ) -> Result<Self> {
        let mut marking = Self {
            prune,
            view,
            replaced: Vec::new(),
            mark_files: Vec::new(),
            marks: HashMap::new(),
            condemned: HashMap::new(),
            is_stale: false,
            files_written: 0,
            files_removed: 0,
        };
        let repacked = plan.repack.iter().filter(|number| !copies.skipped.contains(number));
        let sizes = plan.condemned.iter().chain(repacked);
        let sizes =
            sizes.map(|number| (view.pack(*number).id, view.pack(*number).listed_bytes.unwrap_or_default()));
        marking.condemned = sizes.chain(plan.orphans.iter().copied()).collect();
        let mut writer = IndexWriter::new(prune.repository);
        for copy in copies.packs {
            writer.add(IndexPack::new(copy.id, &copy.blobs)).await?;
        }
        marking.read_marks(plan, &mut writer).await?;
        marking.rewrite(plan, &mut writer).await?;
        marking.files_written += writer.finish().await?.len() as u64;
        Ok(marking)
    }

    /// Takes over the marks that stay, and names the packs again that are needed.
    async fn read_marks(&mut self, plan: &Plan, writer: &mut IndexWriter<'_>) -> Result<()> {
        let ids = |numbers: &[u32]| -> HashSet<PackId> {
            numbers.iter().map(|number| self.view.pack(*number).id).collect()
        };
        let (unmark, stay) = (ids(&plan.unmark), ids(&[plan.wait.as_slice(), &plan.delete].concat()));
        let mut found = 0;
        for file in self.view.files.iter().filter(|file| file.has_marks) {
            if file.is_mark_file() {
                self.mark_files.push(file.id);
            }
            if file.is_superseded {
                continue;
            }
            let content = read_index_file(self.prune.repository, file.id).await?;
            found += content.packs_to_delete.len();
            for mut marked in content.packs_to_delete {
                let id = marked.pack.id;
                if unmark.contains(&id) {
                    writer.add(marked.pack).await?;
                } else if stay.contains(&id) {
                    let valid = self.mark_of(&id);
                    self.is_stale |= valid.is_none() || valid != marked.settled;
                    marked.settled = valid;
                    self.marks.insert(id, marked);
                }
            }
        }
        // There are marks that are void, or that several files repeat.
        self.is_stale |= found != self.marks.len();
        Ok(())
    }

    fn mark_of(&self, id: &PackId) -> Option<SystemTime> {
        self.view.find(id).and_then(|pack| pack.mark).and_then(|mark| mark.settled)
    }

    /// Writes what stays of the files that shall go.
    async fn rewrite(&mut self, plan: &Plan, writer: &mut IndexWriter<'_>) -> Result<()> {
        let vanished: HashSet<PackId> =
            plan.vanished.iter().map(|number| self.view.pack(*number).id).collect();
        for id in self.files_to_replace(&vanished) {
            let content = read_index_file(self.prune.repository, id).await?;
            for pack in content.packs {
                if self.condemned.contains_key(&pack.id) {
                    self.mark(pack);
                } else if !vanished.contains(&pack.id) {
                    writer.add(pack).await?;
                }
            }
            self.replaced.push(id);
        }
        for (id, _) in &plan.orphans {
            self.mark(IndexPack::new(*id, &[]));
        }
        Ok(())
    }

    fn mark(&mut self, pack: IndexPack) {
        self.is_stale = true;
        let mark = MarkedPack { pack, time: None, settled: None };
        self.marks.insert(mark.pack.id, mark);
    }

    /// The files that name what shall go or hold marks of others, and the small ones if there are many. Those that the
    /// storage protects stay as they are.
    fn files_to_replace(&self, vanished: &HashSet<PackId>) -> Vec<IndexId> {
        let free = |file: &&FileView| {
            file.held_until.is_none_or(|until| until <= self.prune.now) && !file.holds_no_packs()
        };
        let goes = |number: &u32| {
            let id = &self.view.pack(*number).id;
            self.condemned.contains_key(id) || vanished.contains(id)
        };
        let is_small = |file: &FileView| file.blobs_len < SMALL_FILE_BLOBS;
        let small = self.view.files.iter().filter(free).filter(|file| is_small(file)).count();
        let files = self.view.files.iter().filter(free).filter(|file| {
            file.packs.iter().any(goes) || file.has_marks || (small >= SMALL_FILES_MIN && is_small(file))
        });
        files.map(|file| file.id).collect()
    }

    /// Packs that index files name which were written since the view was read.
    pub(super) async fn named_since(&self, view: &View) -> Result<HashSet<PackId>> {
        let known: HashSet<IndexId> = view.files.iter().map(|file| file.id).collect();
        let mut named = HashSet::new();
        for entry in self.prune.repository.storage.list(FileKind::Index).await? {
            let id = IndexId::from(entry.id);
            if !known.contains(&id) {
                let file = read_index_file(self.prune.repository, id).await?;
                named.extend(file.packs.iter().map(|pack| pack.id));
            }
        }
        Ok(named)
    }

    /// Packs that were deleted need no mark.
    pub(super) fn forget_marks(&mut self, gone: &HashSet<PackId>) {
        let before = self.marks.len();
        self.marks.retain(|id, _| !gone.contains(id));
        self.is_stale |= self.marks.len() != before;
    }

    /// Makes the new files the only ones: first the marks without a time, then away with the old files. An exclusive
    /// prune needs no marks: nobody is there to look at them, and a crash leaves packs that no index file names.
    pub(super) async fn switch(&mut self, report: &mut PruneReport) -> Result<()> {
        self.prune.lock.confirm().await?;
        if !self.condemned.is_empty() && !self.prune.options.exclusive {
            self.write_marks().await?;
        }
        let replaced = std::mem::take(&mut self.replaced);
        for id in replaced {
            self.prune.lock.check().await?;
            self.remove(id).await?;
        }
        report.index_files_after = report.index_files_before;
        Ok(())
    }

    /// A restore point that was made since we walked may need what was marked just now: names it again. Whoever writes
    /// its snapshot file after this listing finds, when it looks at the index files afterwards, that they have
    /// changed.
    pub(super) async fn restore_what_new_points_need(
        &mut self,
        plan: &Plan,
        used: &mut Used<'_>,
        report: &mut PruneReport,
    ) -> Result<()> {
        if self.condemned.is_empty() {
            return Ok(());
        }
        let points = self.prune.repository.storage.list(FileKind::Snapshot).await?;
        used.walk(self.prune, &points).await?;
        let needed = used.needed_of(plan, &self.condemned);
        if needed.is_empty() {
            return Ok(());
        }
        let mut writer = IndexWriter::new(self.prune.repository);
        for id in needed {
            if let (Some(mark), Some(bytes)) = (self.marks.remove(&id), self.condemned.remove(&id)) {
                writer.add(mark.pack).await?;
                report.marked.remove(bytes);
                report.unmarked.add(bytes);
            }
        }
        self.files_written += writer.finish().await?.len() as u64;
        Ok(())
    }

    /// Packs that an exclusive prune may delete now.
    pub(super) fn take_condemned(&mut self) -> Vec<(PackId, u64)> {
        let condemned: Vec<_> = std::mem::take(&mut self.condemned).into_iter().collect();
        for (id, _) in &condemned {
            self.marks.remove(id);
        }
        condemned
    }

    /// Gives the marks the time from which on everybody who reads the index sees them.
    pub(super) async fn settle(mut self, report: &mut PruneReport) -> Result<()> {
        if self.is_stale {
            self.prune.lock.confirm().await?;
            let settled = self.prune.options.now_or_clock();
            for mark in self.marks.values_mut().filter(|mark| mark.settled.is_none()) {
                (mark.settled, mark.time) = (Some(settled), Some(settled));
            }
            self.write_marks().await?;
        }
        self.remove_superseded().await?;
        let before = report.index_files_before + self.files_written;
        report.index_files_after = before.saturating_sub(self.files_removed);
        Ok(())
    }

    /// Writes all marks anew and removes the older files of marks.
    async fn write_marks(&mut self) -> Result<()> {
        let older = std::mem::take(&mut self.mark_files);
        let marks = self.marks.values().cloned().collect();
        let written = write_mark_files(self.prune.repository, marks, older.clone()).await?;
        self.files_written += written.len() as u64;
        self.mark_files = written;
        for id in older {
            if !self.remove(id).await? {
                // It stays superseded by whatever is written from now on.
                self.mark_files.push(id);
            }
        }
        Ok(())
    }

    /// Removes what an earlier prune had superseded and could not remove, and records of damage in packs that no index
    /// file named when it was looked at.
    async fn remove_superseded(&mut self) -> Result<()> {
        let view = self.view;
        let is_unknown = |id: &PackId| view.find(id).is_none();
        let is_void = |file: &&FileView| {
            let speaks_of_nothing =
                file.damaged_packs.as_ref().is_some_and(|packs| packs.iter().all(is_unknown));
            file.is_superseded || speaks_of_nothing
        };
        for file in view.files.iter().filter(is_void) {
            if file.held_until.is_none_or(|until| until <= self.prune.now) {
                self.remove(file.id).await?;
            }
        }
        Ok(())
    }

    /// Removes an index file. `false` when the storage protects it all the same.
    async fn remove(&mut self, id: IndexId) -> Result<bool> {
        match self.prune.repository.storage.remove(FileKind::Index, &id.into()).await {
            Ok(()) => {
                self.files_removed += 1;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::Protected => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}
