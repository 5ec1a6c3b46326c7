//! Walking through restore points.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::packs::BadPlaces;
use super::{DamagedRestorePoint, Problem};
use crate::pack::BlobKind;
use crate::repository::Inner;
use crate::tree::{Node, NodeKind, Tree};
use crate::{ChunkId, Error, Result, SnapshotId, TreeId};

/// Walks through restore points and remembers what it has seen: most of a tree is that of the restore point before.
pub(super) struct Walker<'a> {
    repository: &'a Inner,
    bad_places: &'a BadPlaces,
    findings: Mutex<Findings>,
}

#[derive(Default)]
struct Findings {
    /// Trees below which everything is there.
    whole: HashSet<TreeId>,
    missing_chunks: HashSet<ChunkId>,
    unreadable_trees: HashSet<TreeId>,
    problems: Vec<Problem>,
}

impl<'a> Walker<'a> {
    pub(super) fn new(repository: &'a Inner, bad_places: &'a BadPlaces) -> Self {
        Self { repository, bad_places, findings: Mutex::default() }
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.findings.into_inner().unwrap_or_else(PoisonError::into_inner).problems
    }

    /// What of a restore point cannot be read; `None` if all can.
    pub(super) async fn walk(&self, id: SnapshotId) -> Result<Option<DamagedRestorePoint>> {
        let root = match self.repository.restore_point(&id).await {
            Ok(point) => point.tree,
            // Forgotten meanwhile.
            Err(Error::RestorePointMissing { .. }) => return Ok(None),
            Err(Error::Damaged { reason, .. }) => {
                self.findings().problems.push(Problem::RestorePointUnreadable { id, reason });
                return Ok(Some(DamagedRestorePoint { id, paths: Vec::new() }));
            }
            Err(error) => return Err(error),
        };
        let mut walk = Walk {
            point: id,
            rest: vec![Directory { path: String::new(), tree: root }],
            damaged: Vec::new(),
        };
        while let Some(directory) = walk.rest.pop() {
            self.visit(directory, &mut walk).await?;
        }
        if walk.damaged.is_empty() {
            return Ok(None);
        }
        Ok(Some(DamagedRestorePoint { id, paths: walk.damaged }))
    }

    async fn visit(&self, directory: Directory, walk: &mut Walk) -> Result<()> {
        if self.findings().whole.contains(&directory.tree) {
            return Ok(());
        }
        match self.repository.read_tree(&directory.tree).await {
            Ok(tree) => {
                let is_whole = self.look_at(&directory, &tree, walk);
                if is_whole {
                    self.findings().whole.insert(directory.tree);
                }
                Ok(())
            }
            Err(error) if is_damage(&error) => {
                let mut findings = self.findings();
                if findings.unreadable_trees.insert(directory.tree) {
                    let reason = error.to_string();
                    findings.problems.push(Problem::TreeUnreadable { id: directory.tree, reason });
                }
                let is_root = directory.path.is_empty();
                walk.damaged.push(if is_root { "/".into() } else { directory.path });
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Looks at the nodes of a directory. `true` if all its files can be read and it has no directories: then
    /// nobody needs to look again.
    fn look_at(&self, directory: &Directory, tree: &Tree, walk: &mut Walk) -> bool {
        let mut is_whole = true;
        for node in &tree.nodes {
            let path = format!("{}/{}", directory.path, node.name);
            match (node.kind, node.subtree) {
                (NodeKind::Directory, Some(tree)) => {
                    walk.rest.push(Directory { path, tree });
                    is_whole = false;
                }
                (NodeKind::File, _) if self.is_file_whole(node, &path, walk.point) => {}
                (NodeKind::Other, _) => {}
                _ => {
                    walk.damaged.push(path);
                    is_whole = false;
                }
            }
        }
        is_whole
    }

    fn is_file_whole(&self, node: &Node, path: &str, point: SnapshotId) -> bool {
        // A file without even an empty list of chunks is malformed.
        let Some(content) = &node.content else { return false };
        let (mut chunk_bytes, mut missing) = (0, Vec::new());
        for id in content {
            match self.readable_bytes(id) {
                Some(plain_bytes) => chunk_bytes += u64::from(plain_bytes),
                None => missing.push(*id),
            }
        }
        let is_size_wrong = missing.is_empty() && chunk_bytes != node.size;
        let is_whole = missing.is_empty() && !is_size_wrong;
        let mut findings = self.findings();
        for id in missing {
            if findings.missing_chunks.insert(id) {
                findings.problems.push(Problem::ChunkMissing { id });
            }
        }
        if is_size_wrong {
            let (path, size_bytes) = (path.to_owned(), node.size);
            findings.problems.push(Problem::FileSizeWrong { point, path, size_bytes, chunk_bytes });
        }
        is_whole
    }

    /// The length of a chunk that lies somewhere where it can be read, as far as we know. A pack that will be deleted
    /// is no such place.
    fn readable_bytes(&self, id: &ChunkId) -> Option<u32> {
        let index = self.repository.catalog.index();
        let mut readable = index
            .find_reliable(BlobKind::Data, id.as_bytes())
            .filter(|location| !self.bad_places.contains(location.pack, &location.blob));
        readable.next().map(|location| location.blob.plain_bytes())
    }

    fn findings(&self) -> MutexGuard<'_, Findings> {
        self.findings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an error is a finding, and not a failure of the check.
pub(crate) fn is_damage(error: &Error) -> bool {
    use sendense_storage::ErrorKind::{Damaged, NotFound};
    match error {
        Error::Damaged { .. }
        | Error::DamagedChunk { .. }
        | Error::ChunkMissing { .. }
        | Error::TreeMissing { .. } => true,
        Error::Storage(error) => matches!(error.kind(), NotFound | Damaged),
        _ => false,
    }
}

/// The walk through one restore point.
struct Walk {
    point: SnapshotId,
    rest: Vec<Directory>,
    damaged: Vec<String>,
}

struct Directory {
    path: String,
    tree: TreeId,
}
