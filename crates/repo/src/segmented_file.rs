//! Reading files that lie in segments (see [`crate::tree::segments`]).

use futures::{StreamExt, TryStreamExt};
use sendense_storage::FileKind;
use std::time::SystemTime;

use crate::repository::Inner;
use crate::tree::{Node, segments};
use crate::{Error, Result, TreeId};

/// Folders and, in each, segments that are read at a time. A segment takes some 10 KB in the repository.
const FOLDERS_MAX: usize = 2;
const SEGMENTS_MAX: usize = 8;

impl Inner {
    /// Puts a file together from its folders.
    pub(crate) async fn segmented_file(&self, name: String, folders: Vec<TreeId>) -> Result<Node> {
        let mut pieces = std::pin::pin!(
            futures::stream::iter(folders).map(|folder| self.folder(folder)).buffered(FOLDERS_MAX)
        );
        let (mut size_bytes, mut content) = (0, Vec::new());
        while let Some(segments) = pieces.try_next().await? {
            for segment in segments {
                size_bytes += segment.size;
                content.extend(segment.content.unwrap_or_default());
            }
        }
        Ok(Node::file(&name, size_bytes, content, SystemTime::UNIX_EPOCH))
    }

    /// The size of a file with these folders. All segments are as long as the first one but the last, and all folders
    /// have as many as the first one but the last.
    pub(crate) async fn segmented_size(&self, folders: &[TreeId]) -> Result<u64> {
        let (Some(first), Some(last)) = (folders.first(), folders.last()) else { return Ok(0) };
        let (first_segments, last_segments) =
            (self.segment_ids(*first).await?, self.segment_ids(*last).await?);
        let (Some(full), Some(end)) = (first_segments.first(), last_segments.last()) else { return Ok(0) };
        let before_last = (folders.len() - 1) * first_segments.len() + last_segments.len() - 1;
        let (full_bytes, end_bytes) = (self.segment(*full).await?.size, self.segment(*end).await?.size);
        Ok((before_last as u64).saturating_mul(full_bytes).saturating_add(end_bytes))
    }

    async fn folder(&self, folder: TreeId) -> Result<Vec<Node>> {
        let segments = self.segment_ids(folder).await?;
        let segments = futures::stream::iter(segments).map(|segment| self.segment(segment));
        segments.buffered(SEGMENTS_MAX).try_collect().await
    }

    async fn segment_ids(&self, folder: TreeId) -> Result<Vec<TreeId>> {
        segments::segments_of(&self.read_tree(&folder).await?).ok_or_else(|| malformed(folder))
    }

    async fn segment(&self, segment: TreeId) -> Result<Node> {
        segments::file_of(self.read_tree(&segment).await?).ok_or_else(|| malformed(segment))
    }
}

fn malformed(tree: TreeId) -> Error {
    Error::damaged(FileKind::Pack, &format!("tree {tree}"), &"it is no piece of a disk where one belongs")
}
