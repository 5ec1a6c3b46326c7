//! Files that are one sealed JSON document: indexes, snapshots, locks, and the config.
//!
//! In format version 2 all but the config are compressed: the plain text is the byte 2 and a zstd frame. Older
//! files of an upgraded repository may hold the JSON as it is, which begins with a bracket.

use bytes::Bytes;
use sendense_storage::{FileId, FileKind, Storage};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::crypto::Key;
use crate::{Error, Result};

const COMPRESSED: u8 = 2;

/// Metadata is written once and read often.
const LEVEL: i32 = 3;

/// No file of this kind is larger when decompressed; a frame that says otherwise is damaged or hostile.
const PLAIN_BYTES_MAX: usize = 1 << 30;

/// A file ready to be written.
pub(crate) struct SealedFile {
    /// Its name: SHA-256 of the content.
    pub(crate) id: FileId,
    pub(crate) content: Bytes,
}

/// Seals a document of any kind but the config.
pub(crate) fn seal(key: &Key, document: &impl Serialize) -> Result<SealedFile> {
    let json = to_json(document)?;
    let mut plain = vec![COMPRESSED];
    let frame = zstd::bulk::compress(&json, LEVEL).map_err(|error| internal(&error))?;
    plain.extend_from_slice(&frame);
    let content = key.seal(&plain);
    Ok(SealedFile { id: FileId::new(Sha256::digest(&content).into()), content: content.into() })
}

/// Seals the config, which is never compressed.
pub(crate) fn seal_config(key: &Key, document: &impl Serialize) -> Result<Bytes> {
    Ok(key.seal(&to_json(document)?).into())
}

/// Opens what [`seal`] or another writer of the format made. `content` must have been read as file `id`.
pub(crate) fn open<T: DeserializeOwned>(key: &Key, kind: FileKind, id: &FileId, content: &[u8]) -> Result<T> {
    open_with(key, kind, id, content, |json| serde_json::from_slice(json))
}

/// As [`open`], with a reader of one's own.
pub(crate) fn open_with<T>(
    key: &Key,
    kind: FileKind,
    id: &FileId,
    content: &[u8],
    parse: impl FnOnce(&[u8]) -> serde_json::Result<T>,
) -> Result<T> {
    let json = open_to_json(key, kind, id, content)?;
    parse(&json).map_err(|error| Error::damaged(kind, id, &error))
}

/// Opens the config.
pub(crate) fn open_config<T: DeserializeOwned>(key: &Key, content: &[u8]) -> Result<T> {
    let damaged = |reason: &dyn std::fmt::Display| Error::damaged(FileKind::Config, &"config", reason);
    let json = key.open(content).map_err(|error| damaged(&error))?;
    serde_json::from_slice(&json).map_err(|error| damaged(&error))
}

/// Reads a file and opens it.
pub(crate) async fn read<T: DeserializeOwned>(
    storage: &dyn Storage,
    key: &Key,
    kind: FileKind,
    id: &FileId,
) -> Result<T> {
    let content = storage.read(kind, id).await?;
    open(key, kind, id, &content)
}

fn open_to_json(key: &Key, kind: FileKind, id: &FileId, content: &[u8]) -> Result<Vec<u8>> {
    if Sha256::digest(content).as_slice() != id.as_bytes() {
        return Err(Error::damaged(kind, id, &"its content does not match its name"));
    }
    let plain = key.open(content).map_err(|error| Error::damaged(kind, id, &error))?;
    match plain.first() {
        Some(b'{' | b'[') => Ok(plain),
        Some(&COMPRESSED) => decompress(&plain[1..]).map_err(|error| Error::damaged(kind, id, &error)),
        _ => Err(Error::damaged(kind, id, &"its encoding is unknown")),
    }
}

/// Decompresses a frame that need not say how large it becomes.
fn decompress(frame: &[u8]) -> std::io::Result<Vec<u8>> {
    use std::io::Read;
    let mut json = Vec::new();
    zstd::Decoder::new(frame)?.take(PLAIN_BYTES_MAX as u64 + 1).read_to_end(&mut json)?;
    if json.len() > PLAIN_BYTES_MAX {
        return Err(std::io::Error::other("it is larger than any such file"));
    }
    Ok(json)
}

/// JSON with a line feed at the end, as restic writes it.
fn to_json(document: &impl Serialize) -> Result<Vec<u8>> {
    let mut json = serde_json::to_vec(document).map_err(|error| internal(&error))?;
    json.push(b'\n');
    Ok(json)
}

fn internal(error: &dyn std::error::Error) -> Error {
    Error::Internal { reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_survives_and_a_changed_or_renamed_file_does_not() {
        let key = Key::random();
        let file = seal(&key, &vec!["one", "two"]).unwrap();
        let words: Vec<String> = open(&key, FileKind::Index, &file.id, &file.content).unwrap();
        assert_eq!(words, ["one", "two"]);

        let mut changed = file.content.to_vec();
        changed[20] ^= 1;
        assert!(open::<Vec<String>>(&key, FileKind::Index, &file.id, &changed).is_err());
        assert!(open::<Vec<String>>(&key, FileKind::Index, &FileId::new([0; 32]), &file.content).is_err());
        assert!(open::<Vec<String>>(&Key::random(), FileKind::Index, &file.id, &file.content).is_err());
    }

    #[test]
    fn a_document_that_was_not_compressed_is_read_too() {
        let key = Key::random();
        let content = key.seal(b"[\"old\"]");
        let id = FileId::new(Sha256::digest(&content).into());
        assert_eq!(open::<Vec<String>>(&key, FileKind::Index, &id, &content).unwrap(), ["old"]);
    }
}
