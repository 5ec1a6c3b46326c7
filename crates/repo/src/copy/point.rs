//! Copying one restore point.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::{StreamExt, TryStreamExt};

use super::blobs::{batches, read_batch, read_one};
use super::{Copy, CopyProgress, CopyReport};
use crate::pack::BlobKind;
use crate::packing::Added;
use crate::read_batch::ReadBatch;
use crate::snapshot_file::SnapshotFile;
use crate::{ChunkId, EncodedChunk, Error, NewFile, Payload, Result, SnapshotId, TreeId};

/// Batches that are read, sealed and handed on at a time; each is of up to 16 MiB.
const BATCHES_MAX: usize = 4;

/// What a restore point consists of.
#[derive(Default)]
struct Content {
    files: Vec<NewFile>,
    trees: Vec<TreeId>,
}

impl Copy<'_> {
    pub(super) async fn copy_point(
        &self,
        file: SnapshotFile,
        report: &mut CopyReport,
        state: &mut CopyProgress,
    ) -> Result<SnapshotId> {
        let content = self.content(file.tree).await?;
        let all: HashSet<ChunkId> =
            content.files.iter().flat_map(|file| file.content.iter().copied()).collect();
        let missing: Vec<ChunkId> = all.iter().filter(|id| !self.writer.contains(id)).copied().collect();
        report.skipped_chunks += (all.len() - missing.len()) as u64;
        let batches = batches(self.source, &missing)?;
        state.total_bytes += batches.iter().map(ReadBatch::plain_bytes).sum::<u64>();
        (self.progress)(*state);
        self.copy_chunks(batches, report, state).await?;
        // As in a capture: whatever a tree names is durable before it.
        self.writer.flush_packs().await?;
        let trees = self.copy_trees(&content.trees).await?;
        self.writer.flush().await?;
        self.read_trees_back(trees).await?;
        report.verified_chunks += self.read_back(&missing).await?;
        self.writer.publish(&content.files, &content.trees, &file).await
    }

    /// Walks through the restore point.
    async fn content(&self, root: TreeId) -> Result<Content> {
        let (mut content, mut rest, mut seen) = (Content::default(), vec![root], HashSet::new());
        while let Some(id) = rest.pop() {
            self.check_cancelled()?;
            if !seen.insert(id) {
                continue;
            }
            content.trees.push(id);
            for node in self.source.read_tree(&id).await?.nodes {
                rest.extend(node.subtree);
                if let Some(chunks) = node.content {
                    let (name, size_bytes) = (node.name, node.size);
                    let mtime = std::time::SystemTime::UNIX_EPOCH;
                    content.files.push(NewFile { name, size_bytes, content: chunks, mtime });
                }
            }
        }
        Ok(content)
    }

    async fn copy_chunks(
        &self,
        batches: Vec<ReadBatch>,
        report: &mut CopyReport,
        state: &mut CopyProgress,
    ) -> Result<()> {
        let (chunks, stored) = (AtomicU64::new(0), AtomicU64::new(0));
        let mut copies = futures::stream::iter(batches)
            .map(|batch| self.copy_batch(batch, &chunks, &stored))
            .buffer_unordered(BATCHES_MAX);
        while let Some(bytes) = copies.try_next().await? {
            self.check_cancelled()?;
            report.copied_bytes += bytes;
            state.done_bytes += bytes;
            (self.progress)(*state);
        }
        drop(copies);
        report.chunks += chunks.into_inner();
        report.stored_bytes += stored.into_inner();
        Ok(())
    }

    async fn copy_batch(&self, batch: ReadBatch, chunks: &AtomicU64, stored: &AtomicU64) -> Result<u64> {
        let plain_bytes = batch.plain_bytes();
        for blob in read_batch(self.source, batch).await? {
            let (id, plain_bytes) = (ChunkId::from_bytes(blob.id), blob.plain_bytes);
            let added = self.writer.add(EncodedChunk { id, plain_bytes, payload: blob.payload }).await?;
            if let Added::Stored { stored_bytes } = added {
                chunks.fetch_add(1, Ordering::Relaxed);
                stored.fetch_add(stored_bytes.into(), Ordering::Relaxed);
            }
        }
        Ok(plain_bytes)
    }

    /// Copies the directories that the target lacks. Returns which those are.
    async fn copy_trees(&self, trees: &[TreeId]) -> Result<Vec<TreeId>> {
        let mut copied = Vec::new();
        let mut pack = self.target.packer.tree_pack();
        for id in trees {
            if self.target.catalog.index().contains(BlobKind::Tree, id.as_bytes()) {
                continue;
            }
            let tree = read_one(self.source, BlobKind::Tree, id.as_bytes()).await?;
            let (payload, uncompressed) = match tree.payload {
                Payload::Zstd(frame) => (frame, tree.plain_bytes),
                Payload::Plain(text) => (text, 0),
            };
            pack.add_tree(tree.id, &payload, uncompressed)?;
            copied.push(*id);
            if pack.is_full() {
                let full = std::mem::replace(&mut pack, self.target.packer.tree_pack());
                self.target.packer.write_tree_pack(full).await?;
            }
        }
        self.target.packer.write_tree_pack(pack).await?;
        Ok(copied)
    }

    /// Reads directories back from the target. Each is small; there are a few in a restore point.
    async fn read_trees_back(&self, trees: Vec<TreeId>) -> Result<()> {
        let reads = futures::stream::iter(trees)
            .map(|id| async move { read_one(self.target, BlobKind::Tree, id.as_bytes()).await.map(drop) });
        reads.buffer_unordered(BATCHES_MAX).try_collect().await
    }

    /// Reads what was copied back from the target, before anything refers to it.
    async fn read_back(&self, chunks: &[ChunkId]) -> Result<u64> {
        let batches = batches(self.target, chunks)?;
        let mut reads = futures::stream::iter(batches)
            .map(|batch| read_batch(self.target, batch))
            .buffer_unordered(BATCHES_MAX);
        let mut verified = 0;
        while let Some(blobs) = reads.try_next().await? {
            self.check_cancelled()?;
            verified += blobs.len() as u64;
        }
        if verified == chunks.len() as u64 {
            return Ok(verified);
        }
        Err(Error::Internal { reason: format!("{verified} of {} chunks were read back", chunks.len()) })
    }
}
