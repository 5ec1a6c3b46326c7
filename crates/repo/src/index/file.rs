//! Index files.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::scan::scan;
use crate::crypto::OVERHEAD_BYTES;
use crate::pack::{BlobKind, PackedBlob};
use crate::{IndexId, PackId};

/// The document in an index file.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct IndexFile {
    /// Older index files that this one replaces.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) supersedes: Vec<IndexId>,
    #[serde(default)]
    pub(crate) packs: Vec<IndexPack>,
    /// Packs that a prune has marked and will remove later; rustic's word for them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) packs_to_delete: Vec<MarkedPack>,
    /// Our own word, which other tools drop: places where something else was found than the index says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) damaged: Vec<DamagedPack>,
}

/// A pack, and where in it blobs begin that are damaged.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DamagedPack {
    pub(crate) id: PackId,
    pub(crate) offsets: Vec<u32>,
}

/// A pack that is marked for deletion, and what is in it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct MarkedPack {
    #[serde(flatten)]
    pub(crate) pack: IndexPack,
    /// When it was marked. `None` where a foreign tool has not said so in words that we understand.
    #[serde(default, with = "lenient_time", skip_serializing_if = "Option::is_none")]
    pub(crate) time: Option<SystemTime>,
    /// Our own word, which other tools drop: since when the mark was known to be the only thing that index files said
    /// of the pack. `None` until its prune has removed the older index files.
    #[serde(default, with = "lenient_time", skip_serializing_if = "Option::is_none")]
    pub(crate) settled: Option<SystemTime>,
}

/// One pack and all its blobs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct IndexPack {
    pub(crate) id: PackId,
    pub(super) blobs: Vec<IndexBlob>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct IndexBlob {
    #[serde(with = "blob_id")]
    pub(super) id: [u8; 32],
    #[serde(rename = "type")]
    pub(super) kind: BlobKind,
    pub(super) offset: u32,
    pub(super) length: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) uncompressed_length: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// A blob's id is the id of a chunk or of a tree; the text is the same.
mod blob_id {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::ChunkId;

    pub(super) fn serialize<S: Serializer>(id: &[u8; 32], serializer: S) -> Result<S::Ok, S::Error> {
        ChunkId::from_bytes(*id).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
        ChunkId::deserialize(deserializer).map(|id| *id.as_bytes())
    }
}

/// A time that we do not understand must not make the whole index file unreadable.
mod lenient_time {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serializer};

    use crate::timestamp;

    #[expect(clippy::ref_option, reason = "serde passes fields by reference")]
    pub(super) fn serialize<S: Serializer>(
        time: &Option<SystemTime>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_some(&time.map(timestamp::format))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<SystemTime>, D::Error> {
        Ok(Option::<String>::deserialize(deserializer)?.as_deref().and_then(timestamp::parse))
    }
}

impl IndexPack {
    pub(crate) fn new(id: PackId, blobs: &[PackedBlob]) -> Self {
        let blobs = blobs.iter().map(|blob| IndexBlob {
            id: blob.id,
            kind: blob.kind,
            offset: blob.offset,
            length: blob.length,
            uncompressed_length: blob.uncompressed,
        });
        Self { id, blobs: blobs.collect() }
    }

    pub(crate) fn blobs(&self) -> impl Iterator<Item = PackedBlob> {
        self.blobs.iter().map(|blob| PackedBlob {
            kind: blob.kind,
            id: blob.id,
            offset: blob.offset,
            length: blob.length,
            uncompressed: blob.uncompressed_length,
        })
    }

    pub(crate) fn blobs_len(&self) -> usize {
        self.blobs.len()
    }
}

impl IndexFile {
    /// Reads the document.
    pub(crate) fn parse(json: &[u8]) -> serde_json::Result<Self> {
        // Nearly every index file is written in the same way, without spaces and in the same order.
        scan(json).map_or_else(|| serde_json::from_slice(json), Ok)
    }

    /// Whether it only says what is damaged, or that nothing is any more. Such a file is always one of ours, and says
    /// nothing else.
    pub(crate) fn is_damage_record(&self) -> bool {
        let says_so = !self.damaged.is_empty() || !self.supersedes.is_empty();
        says_so && self.packs.is_empty() && self.packs_to_delete.is_empty()
    }

    /// What is wrong with the numbers, if anything is.
    pub(crate) fn check(&self) -> Result<(), &'static str> {
        let is_sane = |blob: &IndexBlob| {
            blob.length as usize >= OVERHEAD_BYTES && blob.offset.checked_add(blob.length).is_some()
        };
        let marked = self.packs_to_delete.iter().map(|marked| &marked.pack);
        let mut blobs = self.packs.iter().chain(marked).flat_map(|pack| &pack.blobs);
        if blobs.all(is_sane) { Ok(()) } else { Err("a blob cannot lie where it says") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::timestamp;

    #[test]
    fn an_index_file_reads_as_restic_writes_it() {
        let json = format!(
            r#"{{"packs":[{{"id":"{0}","blobs":[
              {{"id":"{1}","type":"data","offset":0,"length":38}},
              {{"id":"{2}","type":"tree","offset":38,"length":112,"uncompressed_length":511}}]}}]}}"#,
            "aa".repeat(32),
            "bb".repeat(32),
            "cc".repeat(32),
        );
        let file: IndexFile = serde_json::from_str(&json).unwrap();
        let blobs: Vec<_> = file.packs[0].blobs().collect();
        assert_eq!((blobs[0].kind, blobs[0].plain_bytes()), (BlobKind::Data, 6));
        assert_eq!((blobs[1].kind, blobs[1].offset, blobs[1].plain_bytes()), (BlobKind::Tree, 38, 511));
        let again = serde_json::to_string(&file).unwrap();
        assert_eq!(again, json.split_whitespace().collect::<String>());
    }

    #[test]
    fn packs_that_a_prune_has_marked_are_told_apart_with_the_time_of_their_mark() {
        let id = "aa".repeat(32);
        let file = |time: &str| -> IndexFile {
            let marked = format!(r#"{{"id":"{id}","blobs":[]{time}}}"#);
            serde_json::from_str(&format!(r#"{{"packs":[],"packs_to_delete":[{marked}]}}"#)).unwrap()
        };
        let marked = file(r#","time":"2026-11-23T10:00:00.5+02:00""#);
        assert!(marked.packs.is_empty());
        assert_eq!(marked.packs_to_delete[0].pack.id.to_string(), id);
        assert_eq!(marked.packs_to_delete[0].time, timestamp::parse("2026-11-23T08:00:00.5Z"));
        let again = serde_json::to_string(&marked).unwrap();
        assert!(again.ends_with(r#""blobs":[],"time":"2026-11-23T08:00:00.5Z"}]}"#), "{again}");
        for unknown in ["", r#","time":null"#, r#","time":"2026-11-23""#] {
            assert_eq!(file(unknown).packs_to_delete[0].time, None);
        }
    }

    #[test]
    fn impossible_positions_are_noticed() {
        for (offset, length) in [(0, 31), (u32::MAX, 32)] {
            let blob = PackedBlob { kind: BlobKind::Data, id: [0; 32], offset, length, uncompressed: 0 };
            let pack = IndexPack::new(PackId::of(b""), &[blob]);
            assert!(IndexFile { packs: vec![pack], ..IndexFile::default() }.check().is_err());
        }
    }
}
