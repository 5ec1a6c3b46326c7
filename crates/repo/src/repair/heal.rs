//! Taking from a second repository what is needed and nowhere whole.

use std::collections::HashSet;
use std::sync::Arc;

use sendense_storage::FileKind;

use super::{Repair, is_whole_somewhere};
use crate::check::is_damage;
use crate::copy::read_one;
use crate::filling::Filling;
use crate::pack::BlobKind;
use crate::repository::Inner;
use crate::tree::Tree;
use crate::{Error, PackId, Payload, Result, SnapshotId, TreeId};

/// What a walk for lost blobs carries along.
struct Healing<'a> {
    repair: &'a Repair<'a>,
    source: &'a Arc<Inner>,
    damaged: &'a HashSet<PackId>,
    filling: Filling<'a>,
    looked_for: HashSet<(BlobKind, [u8; 32])>,
    healed: u64,
}

impl Repair<'_> {
    /// Walks through all restore points and takes what is lost from the source, as far as that has it. Returns how
    /// much that was.
    pub(super) async fn heal(&self, source: &Arc<Inner>, damaged: &HashSet<PackId>) -> Result<u64> {
        let mut healing = Healing {
            repair: self,
            source,
            damaged,
            filling: Filling::new(self.repository),
            looked_for: HashSet::new(),
            healed: 0,
        };
        for entry in self.repository.storage.list(FileKind::Snapshot).await? {
            match self.repository.restore_point(&SnapshotId::from(entry.id)).await {
                Ok(point) => healing.walk(point.tree).await?,
                Err(Error::RestorePointMissing { .. } | Error::Damaged { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let Healing { filling, healed, .. } = healing;
        self.make_known(filling.finish().await?);
        Ok(healed)
    }
}

impl Healing<'_> {
    async fn walk(&mut self, root: TreeId) -> Result<()> {
        let mut rest = vec![root];
        while let Some(id) = rest.pop() {
            self.repair.check_cancelled()?;
            if !self.looked_for.insert((BlobKind::Tree, *id.as_bytes())) {
                continue;
            }
            let Some(tree) = self.tree(&id).await? else { continue };
            for node in tree.nodes {
                rest.extend(node.subtree);
                for chunk in node.content.iter().flatten() {
                    if self.looked_for.insert((BlobKind::Data, *chunk.as_bytes())) {
                        self.fetch(BlobKind::Data, chunk.as_bytes()).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// A directory, from here or from there; `None` if it is in neither.
    async fn tree(&mut self, id: &TreeId) -> Result<Option<Tree>> {
        self.fetch(BlobKind::Tree, id.as_bytes()).await?;
        for repository in [self.repair.repository, self.source] {
            match repository.read_tree(id).await {
                Ok(tree) => return Ok(Some(tree)),
                Err(error) if is_damage(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Takes a blob from the source unless it is whole here, or is not there either.
    async fn fetch(&mut self, kind: BlobKind, id: &[u8; 32]) -> Result<()> {
        if is_whole_somewhere(self.repair.repository, kind, id, self.damaged) {
            return Ok(());
        }
        let blob = match read_one(self.source, kind, id).await {
            Ok(blob) => blob,
            Err(error) if is_damage(&error) => return Ok(()),
            Err(error) => return Err(error),
        };
        let (payload, uncompressed) = match blob.payload {
            Payload::Zstd(frame) => (frame, blob.plain_bytes),
            Payload::Plain(plain) => (plain, 0),
        };
        self.repair.make_known(self.filling.add(kind, blob.id, &payload, uncompressed).await?);
        self.healed += 1;
        Ok(())
    }
}
