//! Trees: directories as JSON documents, stored as blobs under the hash of their text.

mod name;
pub(crate) mod segments;
mod sink;

pub(crate) use sink::HashedFrame;

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::{ChunkId, Error, Result, TreeId, timestamp};

/// The directory bit of Go's `os.FileMode`, which is how the format writes modes.
const MODE_DIRECTORY: u32 = 1 << 31;
const DIRECTORY_PERMISSIONS: u32 = 0o700;
const FILE_PERMISSIONS: u32 = 0o600;

/// A directory: nodes in the order of their names.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Tree {
    #[serde(deserialize_with = "null_as_empty")]
    pub(crate) nodes: Vec<Node>,
}

/// What lies in a directory. Of what restic records we write what a restore needs, and read what we need.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Node {
    #[serde(with = "name")]
    pub(crate) name: String,
    #[serde(rename = "type")]
    pub(crate) kind: NodeKind,
    #[serde(default)]
    mode: u32,
    #[serde(default = "epoch", with = "timestamp")]
    mtime: SystemTime,
    #[serde(default = "epoch", with = "timestamp")]
    atime: SystemTime,
    #[serde(default = "epoch", with = "timestamp")]
    ctime: SystemTime,
    #[serde(default)]
    uid: u32,
    #[serde(default)]
    gid: u32,
    /// Bytes of a file.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) size: u64,
    /// The chunks of a file, in order. `null` for directories.
    pub(crate) content: Option<Vec<ChunkId>>,
    /// The tree of a directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subtree: Option<TreeId>,
}

/// The kinds of node that matter to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum NodeKind {
    #[serde(rename = "file")]
    File,
    #[serde(rename = "dir")]
    Directory,
    /// Symbolic links, devices, sockets: restic stores them, we never do.
    #[serde(other, skip_serializing)]
    Other,
}

impl Node {
    /// A regular file.
    pub(crate) fn file(name: &str, size: u64, content: Vec<ChunkId>, mtime: SystemTime) -> Self {
        Self { size, content: Some(content), ..Self::new(name, NodeKind::File, FILE_PERMISSIONS, mtime) }
    }

    /// A directory.
    pub(crate) fn directory(name: &str, subtree: TreeId, mtime: SystemTime) -> Self {
        let mode = MODE_DIRECTORY | DIRECTORY_PERMISSIONS;
        Self { subtree: Some(subtree), ..Self::new(name, NodeKind::Directory, mode, mtime) }
    }

    fn new(name: &str, kind: NodeKind, mode: u32, time: SystemTime) -> Self {
        Self {
            name: name.into(),
            kind,
            mode,
            mtime: time,
            atime: time,
            ctime: time,
            uid: 0,
            gid: 0,
            size: 0,
            content: None,
            subtree: None,
        }
    }
}

impl Tree {
    /// A directory of these nodes. Their names must differ.
    pub(crate) fn new(mut nodes: Vec<Node>) -> Result<Self> {
        nodes.sort_by(|left, right| left.name.cmp(&right.name));
        if nodes.windows(2).any(|pair| pair[0].name == pair[1].name) {
            return Err(Error::Unacceptable { reason: "two files of one name".into() });
        }
        Ok(Self { nodes })
    }

    /// The document, as it is hashed.
    pub(crate) fn to_text(&self) -> Result<Vec<u8>> {
        let mut text = Vec::with_capacity(self.nodes.len() * 256);
        serde_json::to_writer(&mut text, self)
            .map_err(|error| Error::Internal { reason: error.to_string() })?;
        text.push(b'\n');
        Ok(text)
    }

    /// Hashes and compresses the document as it is written, so that its text never exists as a whole: that of a VM
    /// with many short disks is long.
    pub(crate) fn encode(&self) -> Result<HashedFrame> {
        HashedFrame::of(|sink| {
            serde_json::to_writer(&mut *sink, self)?;
            // restic ends every document with a line feed, and it counts for the hash.
            sink.write_all(b"\n")
        })
    }
}

/// Whether a name may stand for a file or directory of ours: it is one component of a path.
pub(crate) fn is_valid_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0']) && name.len() <= 255
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn epoch() -> SystemTime {
    SystemTime::UNIX_EPOCH
}

/// Go writes an empty list as `null`.
fn null_as_empty<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Node>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_reads_as_restic_writes_it() {
        let json = format!(
            r#"{{"nodes":[
              {{"name":"a \\\"b\\\" \\u00a0","type":"file","mode":420,"mtime":"2022-08-01T12:00:00.1+02:00",
                "atime":"2022-08-01T12:00:00.1+02:00","ctime":"2022-08-01T12:00:00.1+02:00","uid":0,"gid":0,
                "user":"root","inode":12,"size":5,"links":1,"content":["{0}"]}},
              {{"name":"dir","type":"dir","mode":2147484141,"content":null,"subtree":"{1}"}},
              {{"name":"link","type":"symlink","linktarget":"dir","content":null}}]}}"#,
            "aa".repeat(32),
            "bb".repeat(32),
        );
        let tree: Tree = serde_json::from_str(&json).unwrap();
        assert_eq!(tree.nodes[0].name, "a \"b\" \u{a0}");
        assert_eq!(tree.nodes[0].content.as_ref().map(Vec::len), Some(1));
        assert_eq!(tree.nodes[1].kind, NodeKind::Directory);
        assert_eq!(tree.nodes[2].kind, NodeKind::Other);
        assert!(serde_json::from_str::<Tree>(r#"{"nodes":null}"#).unwrap().nodes.is_empty());
    }

    #[test]
    fn nodes_are_sorted_by_name_and_names_differ() {
        let file = |name| Node::file(name, 0, vec![], epoch());
        let tree = Tree::new(vec![file("vm.json"), file("disk-2000.raw")]).unwrap();
        assert_eq!(tree.nodes[0].name, "disk-2000.raw");
        assert!(Tree::new(vec![file("a"), file("a")]).is_err());
    }

    #[test]
    fn the_id_of_a_tree_is_the_hash_of_its_text() {
        let tree = Tree::new(vec![Node::file("a", 1, vec![ChunkId::of(b"x")], epoch())]).unwrap();
        let encoded = tree.encode().unwrap();
        let text = zstd::stream::decode_all(encoded.frame.as_slice()).unwrap();
        assert_eq!(TreeId::of(&text), TreeId::from_bytes(encoded.hash));
        assert_eq!(text.len() as u64, encoded.plain_bytes);
        assert_eq!(text.last(), Some(&b'\n'));
        assert_eq!(serde_json::from_slice::<Tree>(&text).unwrap().nodes[0].size, 1);
    }

    #[test]
    fn a_name_is_one_component_of_a_path() {
        for name in ["disk-2000.raw", "Ünïcode [x] \"quoted\"", "a\\b"] {
            assert!(is_valid_name(name), "{name}");
        }
        for name in ["", ".", "..", "a/b", "a\0b", &"x".repeat(256)] {
            assert!(!is_valid_name(name), "{name}");
        }
    }
}
