//! Disks that are too long for one list of chunks.
//!
//! A tree holds the whole list of each of its files, and a list is stored anew when any of its chunks has changed.
//! So a long disk is a directory of pieces, each with a short list in a tree of its own:
//!
//! ```text
//! disk-2000.raw/
//!   segments-00000/         64 segments each, the last one as many as there are
//!     segment-00/           one file in a directory of its own, so that its list is a tree that can be shared
//!       segment.raw         256 chunks, the last one as many as there are
//! ```
//!
//! Names are padded, so that their order is the order of the disk, and count anew in each folder; times are constant.
//! So an unchanged segment or folder is the same tree as before, and what is all zeros is stored once.

use std::time::SystemTime;

use super::{Node, NodeKind, Tree};
use crate::{ChunkId, Error, Result, TreeId};

/// A file of more chunks is cut into segments: see decision 20.
pub(crate) const PLAIN_CHUNKS_MAX: usize = 16_384;

pub(crate) const SEGMENT_CHUNKS: usize = 256;
const FOLDER_SEGMENTS: usize = 64;

/// Chunks of a full folder.
pub(crate) const FOLDER_CHUNKS: usize = SEGMENT_CHUNKS * FOLDER_SEGMENTS;

/// As many as the names of folders have room for: 1.5 PiB in chunks of 1 MiB.
const FOLDERS_MAX: usize = 100_000;

const SEGMENT_FILE: &str = "segment.raw";

fn folder_name(number: usize) -> String {
    format!("segments-{number:05}")
}

fn segment_name(number: usize) -> String {
    format!("segment-{number:02}")
}

/// Whether a file must be cut into segments.
pub(crate) fn is_long(content: &[ChunkId]) -> bool {
    content.len() > PLAIN_CHUNKS_MAX
}

/// Fails unless all segments are of one size, but the last, which may be shorter: the size of a disk is known from
/// few of them.
pub(crate) fn check_sizes(sizes_bytes: &[u64]) -> Result<()> {
    let (Some(first), Some((last, full))) = (sizes_bytes.first(), sizes_bytes.split_last()) else {
        return Ok(());
    };
    if full.iter().all(|size| size == first)
        && last <= first
        && sizes_bytes.len() <= FOLDERS_MAX * FOLDER_SEGMENTS
    {
        return Ok(());
    }
    Err(Error::Unacceptable {
        reason: "a long file with chunks of different lengths, or too long a file".into(),
    })
}

/// The trees of the segments of one folder. `sizes_bytes` are those of its segments.
pub(crate) fn segment_trees(content: &[ChunkId], sizes_bytes: &[u64]) -> Vec<Tree> {
    let segments = content.chunks(SEGMENT_CHUNKS).zip(sizes_bytes);
    let tree = |(chunks, size): (&[ChunkId], &u64)| Tree {
        nodes: vec![Node::file(SEGMENT_FILE, *size, chunks.to_vec(), SystemTime::UNIX_EPOCH)],
    };
    segments.map(tree).collect()
}

/// The tree of a folder of these segments.
pub(crate) fn folder_tree(segments: &[TreeId]) -> Tree {
    directories(segments, segment_name)
}

/// The tree of a disk of these folders.
pub(crate) fn disk_tree(folders: &[TreeId]) -> Tree {
    directories(folders, folder_name)
}

fn directories(trees: &[TreeId], name: fn(usize) -> String) -> Tree {
    let node =
        |(number, tree): (usize, &TreeId)| Node::directory(&name(number), *tree, SystemTime::UNIX_EPOCH);
    Tree { nodes: trees.iter().enumerate().map(node).collect() }
}

/// The folders of a disk, if that is what the directory is.
pub(crate) fn folders_of(tree: &Tree) -> Option<Vec<TreeId>> {
    subtrees(tree, folder_name)
}

/// The segments of a folder, if that is what the directory is.
pub(crate) fn segments_of(tree: &Tree) -> Option<Vec<TreeId>> {
    subtrees(tree, segment_name)
}

/// The file of a segment, if that is what the directory is.
pub(crate) fn file_of(tree: Tree) -> Option<Node> {
    let [node] = <[Node; 1]>::try_from(tree.nodes).ok()?;
    (node.kind == NodeKind::File && node.name == SEGMENT_FILE && node.content.is_some()).then_some(node)
}

fn subtrees(tree: &Tree, name: fn(usize) -> String) -> Option<Vec<TreeId>> {
    let subtree = |(number, node): (usize, &Node)| {
        (node.kind == NodeKind::Directory && node.name == name(number)).then_some(node.subtree)?
    };
    let subtrees: Option<Vec<TreeId>> = tree.nodes.iter().enumerate().map(subtree).collect();
    subtrees.filter(|subtrees| !subtrees.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_tree(number: usize) -> TreeId {
        TreeId::of(&number.to_le_bytes())
    }

    #[test]
    fn names_sort_in_the_order_of_the_disk() {
        let trees: Vec<_> = (0..12_345).map(a_tree).collect();
        let disk = disk_tree(&trees);
        assert!(disk.nodes.is_sorted_by(|left, right| left.name < right.name));
        assert_eq!(folders_of(&disk), Some(trees.clone()));
        let folder = folder_tree(&trees[..FOLDER_SEGMENTS]);
        assert!(folder.nodes.is_sorted_by(|left, right| left.name < right.name));
        assert_eq!(segments_of(&folder).map(|segments| segments.len()), Some(FOLDER_SEGMENTS));
    }

    #[test]
    fn a_directory_that_looks_only_partly_like_a_disk_is_none() {
        let mut with_a_gap = disk_tree(&[a_tree(0), a_tree(1), a_tree(2)]);
        with_a_gap.nodes.remove(1);
        let mut with_a_stranger = disk_tree(&[a_tree(0)]);
        with_a_stranger.nodes.push(Node::file("vm.json", 0, vec![], SystemTime::UNIX_EPOCH));
        for tree in [with_a_gap, with_a_stranger, Tree { nodes: vec![] }, folder_tree(&[a_tree(0)])] {
            assert_eq!(folders_of(&tree), None);
        }
        assert!(file_of(disk_tree(&[a_tree(0)])).is_none());
    }

    #[test]
    fn the_trees_of_segments_do_not_depend_on_where_they_lie() {
        let content = vec![ChunkId::of(b"zeros"); SEGMENT_CHUNKS * 2 + 1];
        let trees = segment_trees(&content, &[512, 512, 2]);
        let texts: Vec<_> = trees.iter().map(|tree| tree.to_text().unwrap()).collect();
        assert_eq!(texts.len(), 3);
        assert!(texts[0] == texts[1] && texts[1] != texts[2]);
    }

    #[test]
    fn all_segments_but_the_last_are_of_one_size() {
        for sizes in [&[][..], &[3], &[3, 3, 3], &[3, 3, 1]] {
            assert!(check_sizes(sizes).is_ok(), "{sizes:?}");
        }
        for sizes in [&[1, 3][..], &[3, 2, 3], &[3, 2, 2]] {
            assert!(check_sizes(sizes).is_err(), "{sizes:?}");
        }
    }
}
