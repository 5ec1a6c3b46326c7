//! Storing the trees of a restore point.

use std::collections::HashSet;
use std::sync::Arc;

use crate::blocking::blocking;
use crate::pack::BlobKind;
use crate::packing::OpenPack;
use crate::repository::Inner;
use crate::tree::{HashedFrame, Node, Tree, segments};
use crate::{ChunkId, Error, NewFile, NewRestorePoint, Result, TreeId};

/// The trees that a restore point consists of. They are durable after the next flush.
pub(crate) struct StoredTrees {
    pub(crate) root: TreeId,
    pub(crate) all: Vec<TreeId>,
}

/// Stores the trees that are not there yet: the root with one directory, that directory with the files, and the
/// pieces of long files. All chunks must be there.
pub(crate) async fn store_trees(repository: &Arc<Inner>, point: &NewRestorePoint) -> Result<StoredTrees> {
    let mut writer = TreeWriter::new(repository);
    let mut nodes = Vec::with_capacity(point.files.len());
    for file in &point.files {
        nodes.push(if segments::is_long(&file.content) {
            let tree = writer.put_segmented(file).await?;
            Node::directory(&file.name, tree, file.mtime)
        } else {
            Node::file(&file.name, file.size_bytes, file.content.clone(), file.mtime)
        });
    }
    let directory = writer.put(Tree::new(nodes)?).await?;
    let root = Tree::new(vec![Node::directory(&point.directory, directory, point.time)])?;
    let root = writer.put(root).await?;
    Ok(StoredTrees { root, all: writer.finish().await? })
}

/// Puts trees into packs of their own. Only a pack's worth of them is in memory.
struct TreeWriter<'a> {
    repository: &'a Arc<Inner>,
    pack: OpenPack,
    /// Every tree that was put, stored now or earlier.
    all: HashSet<TreeId>,
}

impl<'a> TreeWriter<'a> {
    fn new(repository: &'a Arc<Inner>) -> Self {
        Self { repository, pack: repository.packer.tree_pack(), all: HashSet::new() }
    }

    async fn put(&mut self, tree: Tree) -> Result<TreeId> {
        // The directory holds the lists of all short disks; its text never exists as a whole.
        let encoded = blocking(move || tree.encode()).await?;
        let id = TreeId::from_bytes(encoded.hash);
        if self.all.insert(id) && !is_stored(self.repository, &id) {
            self.add(&encoded).await?;
        }
        Ok(id)
    }

    /// Stores a long file as a directory of segments, folder by folder. What is there already is hashed and no more.
    async fn put_segmented(&mut self, file: &NewFile) -> Result<TreeId> {
        let sizes_bytes = segment_sizes(self.repository, &file.content)?;
        segments::check_sizes(&sizes_bytes)?;
        let segments_max = segments::FOLDER_CHUNKS / segments::SEGMENT_CHUNKS;
        let folders = file.content.chunks(segments::FOLDER_CHUNKS).zip(sizes_bytes.chunks(segments_max));
        let mut folder_ids = Vec::with_capacity(folders.len());
        for (content, sizes_bytes) in folders {
            let trees = segments::segment_trees(content, sizes_bytes);
            let segment_ids = self.put_all(trees).await?;
            folder_ids.extend(self.put_all(vec![segments::folder_tree(&segment_ids)]).await?);
        }
        let ids = self.put_all(vec![segments::disk_tree(&folder_ids)]).await?;
        ids.first().copied().ok_or_else(|| Error::Internal { reason: "a tree got lost".into() })
    }

    async fn put_all(&mut self, trees: Vec<Tree>) -> Result<Vec<TreeId>> {
        let repository = Arc::clone(self.repository);
        let encoded = blocking(move || {
            let encode = |tree: &Tree| {
                let text = tree.to_text()?;
                let id = TreeId::of(&text);
                let frame =
                    if is_stored(&repository, &id) { None } else { Some(HashedFrame::of_text(&text)?) };
                Ok((id, frame))
            };
            trees.iter().map(encode).collect::<Result<Vec<_>>>()
        })
        .await?;
        let mut ids = Vec::with_capacity(encoded.len());
        for (id, frame) in encoded {
            if let Some(frame) = frame.filter(|_| !self.all.contains(&id)) {
                self.add(&frame).await?;
            }
            self.all.insert(id);
            ids.push(id);
        }
        Ok(ids)
    }

    async fn add(&mut self, tree: &HashedFrame) -> Result<()> {
        let uncompressed = u32::try_from(tree.plain_bytes)
            .map_err(|_| Error::Unacceptable { reason: "a directory of 4 GiB or more".into() })?;
        self.pack.add_tree(tree.hash, &tree.frame, uncompressed)?;
        if self.pack.is_full() {
            let full = std::mem::replace(&mut self.pack, self.repository.packer.tree_pack());
            self.repository.packer.write_tree_pack(full).await?;
        }
        Ok(())
    }

    async fn finish(self) -> Result<Vec<TreeId>> {
        self.repository.packer.write_tree_pack(self.pack).await?;
        Ok(self.all.into_iter().collect())
    }
}

fn segment_sizes(repository: &Inner, content: &[ChunkId]) -> Result<Vec<u64>> {
    let index = repository.catalog.index();
    let plain_bytes =
        |id: &ChunkId| index.plain_bytes_of(id).map(u64::from).ok_or(Error::ChunkMissing { id: *id });
    let segments = content.chunks(segments::SEGMENT_CHUNKS);
    segments.map(|chunks| chunks.iter().map(plain_bytes).sum()).collect()
}

fn is_stored(repository: &Inner, id: &TreeId) -> bool {
    repository.catalog.index().contains(BlobKind::Tree, id.as_bytes())
}
