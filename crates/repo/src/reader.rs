//! Reading blobs, files and restore points.

use std::collections::HashSet;

use bytes::Bytes;
use sendense_storage::{ErrorKind, FileKind};
use sha2::{Digest, Sha256};

use crate::blocking::blocking;
use crate::crypto::{Key, OVERHEAD_BYTES};
use crate::index::Location;
use crate::pack::{BlobKind, PackedBlob};
use crate::repository::Inner;
use crate::snapshot_file::SnapshotFile;
use crate::tree::{Node, NodeKind, Tree, segments};
use crate::{ChunkId, DiskContent, Error, FileEntry, RestorePoint, Result, SnapshotId, TreeId, sealed_json};

/// Files that are read whole are small; this is beyond any description of a VM.
const SMALL_FILE_BYTES_MAX: u64 = 64 << 20;

impl Inner {
    /// The plain bytes of a chunk, verified.
    pub(crate) async fn read_chunk(&self, id: &ChunkId) -> Result<Bytes> {
        match self.read_blob(BlobKind::Data, id.as_bytes()).await? {
            Some(content) => Ok(content),
            None => Err(Error::ChunkMissing { id: *id }),
        }
    }

    pub(crate) async fn read_tree(&self, id: &TreeId) -> Result<Tree> {
        let text = self.read_blob(BlobKind::Tree, id.as_bytes()).await?;
        let (id, text) = (*id, text.ok_or(Error::TreeMissing { id: *id })?);
        blocking(move || {
            serde_json::from_slice(&text)
                .map_err(|error| Error::damaged(FileKind::Pack, &format!("tree {id}"), &error))
        })
        .await
    }

    /// Reads a blob from the first of its places where it is whole. `None` when it has no place. One that is not found
    /// may have been written, or moved by a prune, since the index was read.
    async fn read_blob(&self, kind: BlobKind, id: &[u8; 32]) -> Result<Option<Bytes>> {
        match self.read_known(kind, id).await {
            Ok(None) => {}
            Err(Error::Storage(error)) if error.kind() == ErrorKind::NotFound => {}
            found => return found,
        }
        self.catalog.refresh().await?;
        self.read_known(kind, id).await
    }

    /// Reads a blob from the first of the places that the index knows where it is whole.
    async fn read_known(&self, kind: BlobKind, id: &[u8; 32]) -> Result<Option<Bytes>> {
        let mut locations: Vec<Location> = self.catalog.index().find(kind, id).collect();
        locations.sort_by_key(Location::is_doubtful);
        let mut failure = None;
        for location in locations {
            match self.read_at(location).await {
                Ok(content) => return Ok(Some(content)),
                Err(error) => {
                    if is_wrong(&error) {
                        self.catalog.judge(location.pack, |_| false, &[location.blob.offset]);
                    }
                    failure = failure.or(Some(error));
                }
            }
        }
        failure.map_or(Ok(None), Err)
    }

    async fn read_at(&self, location: Location) -> Result<Bytes> {
        let Location { pack, blob, .. } = location;
        let (offset, length) = (blob.offset.into(), blob.length as usize);
        let sealed = self.storage.read_range(FileKind::Pack, &pack.into(), offset, length).await?;
        let key = self.key.clone();
        blocking(move || {
            open_blob(&key, &blob, sealed).map_err(|reason| Error::DamagedChunk {
                id: ChunkId::from_bytes(blob.id),
                pack,
                reason: reason.into(),
            })
        })
        .await
    }

    pub(crate) async fn restore_point(&self, id: &SnapshotId) -> Result<RestorePoint> {
        let file: SnapshotFile =
            match sealed_json::read(&*self.storage, &self.key, FileKind::Snapshot, &(*id).into()).await {
                Err(Error::Storage(error)) if error.kind() == ErrorKind::NotFound => {
                    return Err(Error::RestorePointMissing { id: *id });
                }
                result => result?,
            };
        Ok(RestorePoint {
            id: *id,
            time: file.time,
            hostname: file.hostname,
            username: file.username,
            tags: file.tags,
            paths: file.paths,
            parent: file.parent,
            tree: file.tree,
        })
    }

    /// The file at a path such as `/vm-17/vm.json`. One that lies in segments is put together.
    pub(crate) async fn file_node(&self, point: &SnapshotId, path: &str) -> Result<Node> {
        let missing = || Error::FileMissing { id: *point, path: path.into() };
        let mut tree = self.read_tree(&self.restore_point(point).await?.tree).await?;
        // Collected, because a future that holds the closure over an await cannot be sent to another thread.
        let components: Vec<_> = path.split('/').filter(|component| !component.is_empty()).collect();
        let mut components = components.into_iter().peekable();
        while let Some(component) = components.next() {
            let node = tree.nodes.into_iter().find(|node| node.name == component).ok_or_else(missing)?;
            match (node.kind, node.subtree) {
                (NodeKind::File, _) if components.peek().is_none() => return Ok(node),
                (NodeKind::Directory, Some(subtree)) => tree = self.read_tree(&subtree).await?,
                _ => return Err(missing()),
            }
            if components.peek().is_none()
                && let Some(folders) = segments::folders_of(&tree)
            {
                return self.segmented_file(node.name, folders).await;
            }
        }
        Err(missing())
    }

    /// All files of a restore point. Of one that lies in segments only as much is read as tells its size.
    pub(crate) async fn files(&self, point: &SnapshotId) -> Result<Vec<FileEntry>> {
        let mut rest = vec![(String::new(), self.restore_point(point).await?.tree)];
        let mut files = Vec::new();
        while let Some((directory, tree)) = rest.pop() {
            let tree = self.read_tree(&tree).await?;
            if let Some(folders) = segments::folders_of(&tree) {
                files.push(FileEntry { path: directory, size_bytes: self.segmented_size(&folders).await? });
                continue;
            }
            for node in tree.nodes {
                let path = format!("{directory}/{}", node.name);
                match (node.kind, node.subtree) {
                    (NodeKind::File, _) => files.push(FileEntry { path, size_bytes: node.size }),
                    (NodeKind::Directory, Some(subtree)) => rest.push((path, subtree)),
                    _ => {}
                }
            }
        }
        Ok(files)
    }

    /// Visits the files below a tree, and the pieces of those that lie in segments; each tree once. A directory that
    /// cannot be read is passed over; the first reason for that is returned.
    pub(crate) async fn for_each_file(
        &self,
        root: TreeId,
        mut visit: impl FnMut(Node),
    ) -> Result<Option<Error>> {
        let (mut rest, mut failure, mut seen) = (vec![root], None, HashSet::from([root]));
        while let Some(tree) = rest.pop() {
            let tree = match self.read_tree(&tree).await {
                Ok(tree) => tree,
                Err(error) => {
                    failure = failure.or(Some(error));
                    continue;
                }
            };
            for node in tree.nodes {
                match (node.kind, node.subtree) {
                    (NodeKind::File, _) => visit(node),
                    (NodeKind::Directory, Some(subtree)) if seen.insert(subtree) => rest.push(subtree),
                    _ => {}
                }
            }
        }
        Ok(failure)
    }

    pub(crate) async fn load_file(&self, point: &SnapshotId, path: &str) -> Result<Bytes> {
        let node = self.file_node(point, path).await?;
        if node.size > SMALL_FILE_BYTES_MAX {
            let reason = format!("{path} has {} bytes, too many to be read at once", node.size);
            return Err(Error::Unacceptable { reason });
        }
        let mut content = Vec::new();
        for id in node.content.unwrap_or_default() {
            content.extend_from_slice(&self.read_chunk(&id).await?);
        }
        Ok(content.into())
    }

    pub(crate) async fn disk_content(&self, point: &SnapshotId, path: &str) -> Result<DiskContent> {
        let node = self.file_node(point, path).await?;
        Ok(DiskContent { size_bytes: node.size, chunk_ids: node.content.unwrap_or_default() })
    }
}

/// Whether what lies at a place is not what must lie there.
fn is_wrong(error: &Error) -> bool {
    match error {
        Error::DamagedChunk { .. } => true,
        Error::Storage(error) => error.kind() == ErrorKind::Damaged,
        _ => false,
    }
}

/// Decrypts, decompresses and verifies a blob. What is stored as it is costs no copy where nobody else holds the
/// bytes.
pub(crate) fn open_blob(key: &Key, blob: &PackedBlob, sealed: Bytes) -> Result<Bytes, &'static str> {
    let mut message = sealed.try_into_mut().unwrap_or_else(|shared| shared.as_ref().into());
    let text = key.open_in_place(&mut message).map_err(|_| "it is not authentic")?;
    let content = if blob.uncompressed == 0 {
        let end = message.len() - OVERHEAD_BYTES / 2;
        message.freeze().slice(OVERHEAD_BYTES / 2..end)
    } else {
        decompress(text, blob.uncompressed as usize)?.into()
    };
    if Sha256::digest(&content).as_slice() != blob.id {
        return Err("its content does not match its name");
    }
    Ok(content)
}

/// A frame must become exactly as long as the index says, and cannot make us use more memory than that.
pub(crate) fn decompress(frame: &[u8], plain_bytes: usize) -> Result<Vec<u8>, &'static str> {
    let plain = zstd::bulk::decompress(frame, plain_bytes).map_err(|_| "it does not decompress")?;
    if plain.len() == plain_bytes { Ok(plain) } else { Err("it decompresses to a wrong length") }
}
