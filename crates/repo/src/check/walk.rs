//! Walking through restore points.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{DamagedRestorePoint, Problem};
use crate::pack::BlobKind;
use crate::repository::Inner;
use crate::tree::{Node, NodeKind, Tree, segments};
use crate::{ChunkId, Error, Result, SnapshotId, TreeId};

/// Walks through restore points and remembers what it has seen: most of a tree is that of the restore point before.
pub(super) struct Walker<'a> {
    repository: &'a Inner,
    findings: Mutex<Findings>,
}

#[derive(Default)]
struct Findings {
    /// Trees below which everything is there.
    whole: HashSet<TreeId>,
    missing_chunks: HashSet<ChunkId>,
    marked_chunks: HashSet<ChunkId>,
    unreadable_trees: HashSet<TreeId>,
    problems: Vec<Problem>,
}

impl<'a> Walker<'a> {
    pub(super) fn new(repository: &'a Inner) -> Self {
        Self { repository, findings: Mutex::default() }
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
        let mut walk = Walk { point: id, open: Vec::new(), damaged: Vec::new() };
        self.enter(Directory { path: String::new(), tree: root, is_in_disk: false }, &mut walk).await?;
        // Depth first, so that a directory is known to be whole when all below it is: the next restore point that
        // shares it need not look below it.
        while let Some(directory) = walk.open.last_mut() {
            if let Some(child) = directory.rest.pop() {
                self.enter(child, &mut walk).await?;
            } else if let Some(done) = walk.open.pop() {
                if done.is_whole {
                    self.findings().whole.insert(done.tree);
                } else {
                    walk.parent_is_damaged();
                }
            }
        }
        if walk.damaged.is_empty() {
            return Ok(None);
        }
        Ok(Some(DamagedRestorePoint { id, paths: walk.damaged }))
    }

    /// Looks at a directory, unless it is known to be whole, and opens it for those below.
    async fn enter(&self, directory: Directory, walk: &mut Walk) -> Result<()> {
        if self.findings().whole.contains(&directory.tree) {
            return Ok(());
        }
        match self.repository.read_tree(&directory.tree).await {
            Ok(tree) => {
                let open = self.look_at(&directory, &tree, walk);
                walk.open.push(open);
                Ok(())
            }
            Err(error) if is_damage(&error) => {
                let mut findings = self.findings();
                if findings.unreadable_trees.insert(directory.tree) {
                    let reason = error.to_string();
                    findings.problems.push(Problem::TreeUnreadable { id: directory.tree, reason });
                }
                let is_root = directory.path.is_empty();
                walk.is_damaged(if is_root { "/".into() } else { directory.path });
                walk.parent_is_damaged();
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// Looks at the nodes of a directory. The pieces of a disk go by the name of the disk.
    fn look_at(&self, directory: &Directory, tree: &Tree, walk: &mut Walk) -> OpenDirectory {
        let is_in_disk = directory.is_in_disk || segments::folders_of(tree).is_some();
        let mut open = OpenDirectory { tree: directory.tree, rest: Vec::new(), is_whole: true };
        for node in &tree.nodes {
            let path =
                if is_in_disk { directory.path.clone() } else { format!("{}/{}", directory.path, node.name) };
            match (node.kind, node.subtree) {
                (NodeKind::Directory, Some(tree)) => open.rest.push(Directory { path, tree, is_in_disk }),
                (NodeKind::File, _) if self.is_file_whole(node, &path, walk.point) => {}
                (NodeKind::Other, _) => {}
                _ => {
                    walk.is_damaged(path);
                    open.is_whole = false;
                }
            }
        }
        open
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

    /// The length of a chunk that lies somewhere where it can be read, as far as we know. A pack that is marked for
    /// deletion is such a place, but not for long: that is a finding of its own.
    fn readable_bytes(&self, id: &ChunkId) -> Option<u32> {
        let index = self.repository.catalog.index();
        if let Some(plain_bytes) = index.plain_bytes_of(id) {
            return Some(plain_bytes);
        }
        let location = index.find(BlobKind::Data, id.as_bytes()).find(|location| !location.is_doubtful())?;
        let mut findings = self.findings();
        if findings.marked_chunks.insert(*id) {
            findings.problems.push(Problem::ChunkMarked { id: *id, pack: location.pack });
        }
        Some(location.blob.plain_bytes())
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
    /// The directories from the root to where the walk is.
    open: Vec<OpenDirectory>,
    damaged: Vec<String>,
}

impl Walk {
    fn is_damaged(&mut self, path: String) {
        // A disk has many pieces, and is damaged once.
        if self.damaged.last() != Some(&path) {
            self.damaged.push(path);
        }
    }

    fn parent_is_damaged(&mut self) {
        if let Some(parent) = self.open.last_mut() {
            parent.is_whole = false;
        }
    }
}

/// A directory to look at.
struct Directory {
    path: String,
    tree: TreeId,
    /// Whether it belongs to a disk that lies in segments.
    is_in_disk: bool,
}

/// A directory that was looked at, and those below it that were not.
struct OpenDirectory {
    tree: TreeId,
    rest: Vec<Directory>,
    /// As far as was looked.
    is_whole: bool,
}
