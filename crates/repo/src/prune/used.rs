//! What the restore points need.

use std::collections::{HashMap, HashSet};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use sendense_storage::FileEntry;

use super::plan::Plan;
use super::view::{PackView, View};
use super::{Prune, PruneProgress};
use crate::check::is_damage;
use crate::pack::BlobKind;
use crate::tree::Tree;
use crate::{Error, PackId, Result, SnapshotId, TreeId};

/// Trees that are read at a time; the list of a large disk takes some 100 MB while it is read.
const READS_MAX: usize = 4;

/// The blobs that restore points need, as far as the view knows them.
pub(super) struct Used<'a> {
    view: &'a View,
    /// One for the first place of each blob.
    needed: Vec<bool>,
    walked: HashSet<SnapshotId>,
    trees: HashSet<TreeId>,
    /// Blobs that restore points need and no index file names.
    unknown: HashSet<(BlobKind, [u8; 32])>,
}

impl<'a> Used<'a> {
    pub(super) fn new(view: &'a View) -> Self {
        Self {
            view,
            needed: vec![false; view.blobs.len()],
            walked: HashSet::new(),
            trees: HashSet::new(),
            unknown: HashSet::new(),
        }
    }

    /// Whether the blob is needed whose first place this is.
    pub(super) fn is_used(&self, first_place: usize) -> bool {
        self.needed[first_place]
    }

    pub(super) fn restore_points(&self) -> usize {
        self.walked.len()
    }

    /// How many blobs no index file names although restore points need them.
    pub(super) fn unknown_len(&self) -> usize {
        self.unknown.len()
    }

    /// Walks through the restore points that were not walked through before. One that was forgotten since the
    /// listing needs nothing. What cannot be read makes the whole prune impossible.
    pub(super) async fn walk(&mut self, prune: &Prune<'_>, points: &[FileEntry]) -> Result<()> {
        let new: Vec<SnapshotId> =
            points.iter().map(|entry| entry.id.into()).filter(|id| !self.walked.contains(id)).collect();
        let total = (self.walked.len() + new.len()) as u64;
        for id in new {
            prune.check_cancelled()?;
            match prune.repository.restore_point(&id).await {
                Ok(point) => self.walk_tree(prune, point.tree).await?,
                Err(Error::RestorePointMissing { .. }) => {}
                Err(error) => return Err(explain(&format!("restore point {id}"), error)),
            }
            self.walked.insert(id);
            let walked = self.walked.len() as u64;
            (prune.progress)(PruneProgress {
                walked_restore_points: walked,
                total_restore_points: total,
                ..PruneProgress::default()
            });
        }
        Ok(())
    }

    /// Those of the condemned packs without which a needed blob would be nowhere.
    pub(super) fn needed_of(&self, plan: &Plan, condemned: &HashMap<PackId, u64>) -> HashSet<PackId> {
        let repacked: HashSet<u32> = plan.repack.iter().copied().collect();
        let unmarked: HashSet<u32> = plan.unmark.iter().copied().collect();
        let mut needed = HashSet::new();
        for (start, _) in self.needed.iter().enumerate().filter(|(_, is_needed)| **is_needed) {
            let first = &self.view.blobs[start];
            let places = self.view.places(first.kind, &first.id);
            let stays = |place: usize| {
                let number = self.view.blobs[place].pack;
                let pack = self.view.pack(number);
                let is_copied = plan.is_kept[place] && repacked.contains(&number);
                let is_named = pack.is_live() && !condemned.contains_key(&pack.id);
                pack.is_present() && (is_named || is_copied || unmarked.contains(&number))
            };
            // Where there is a whole one, the others do not count.
            let has_whole = places.clone().any(|place| self.view.is_whole(place));
            let counting = places.filter(|place| self.view.is_whole(*place) || !has_whole);
            if counting.clone().any(stays) {
                continue;
            }
            let pack_of = |place: usize| self.view.pack(self.view.blobs[place].pack);
            let goes = |pack: &&PackView| pack.is_present() && condemned.contains_key(&pack.id);
            needed.extend(counting.map(pack_of).find(goes).map(|pack| pack.id));
        }
        needed
    }

    async fn walk_tree(&mut self, prune: &Prune<'_>, root: TreeId) -> Result<()> {
        let (mut rest, mut reads) = (vec![root], FuturesUnordered::new());
        loop {
            while reads.len() < READS_MAX {
                let Some(id) = rest.pop() else { break };
                if self.trees.insert(id) {
                    self.use_blob(BlobKind::Tree, id.as_bytes());
                    reads.push(async move { (id, prune.repository.read_tree(&id).await) });
                }
            }
            let Some((id, tree)) = reads.next().await else { return Ok(()) };
            prune.check_cancelled()?;
            let tree = tree.map_err(|error| explain(&format!("directory {id}"), error))?;
            rest.extend(self.use_content(&tree));
        }
    }

    /// Notes all chunks of a directory, and returns its directories.
    fn use_content(&mut self, tree: &Tree) -> Vec<TreeId> {
        for node in &tree.nodes {
            for chunk in node.content.iter().flatten() {
                self.use_blob(BlobKind::Data, chunk.as_bytes());
            }
        }
        tree.nodes.iter().filter_map(|node| node.subtree).collect()
    }

    fn use_blob(&mut self, kind: BlobKind, id: &[u8; 32]) {
        let places = self.view.places(kind, id);
        if places.is_empty() {
            self.unknown.insert((kind, *id));
        } else {
            self.needed[places.start] = true;
        }
    }
}

/// Damage is what a repair is for; everything else is as it is.
fn explain(what: &str, error: Error) -> Error {
    if is_damage(&error) {
        Error::RepairNeeded { reason: format!("{what} cannot be read: {error}") }
    } else {
        error
    }
}
