//! Names that are hashes.

use std::fmt;
use std::str::FromStr;

use sendense_storage::FileId;
use serde::de::{Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

/// Defines an id of 32 bytes, written as 64 hexadecimal digits in text and JSON. Ids of different things are
/// different types, so that one cannot be taken for another.
macro_rules! ids {
    ($($(#[$doc:meta])* $visibility:vis struct $name:ident;)*) => { $(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        $visibility struct $name([u8; 32]);

        #[allow(dead_code, reason = "not every id needs all of it")]
        impl $name {
            /// The id of these bytes: their SHA-256.
            #[must_use]
            $visibility fn of(bytes: &[u8]) -> Self {
                Self(Sha256::digest(bytes).into())
            }

            /// The ids of both, which takes less time than twice that of one.
            #[must_use]
            $visibility fn of_both(bytes: [&[u8]; 2]) -> [Self; 2] {
                sendense_sha256::Sha256::digest_both(bytes).map(Self)
            }

            /// Wraps 32 bytes.
            #[must_use]
            $visibility const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes.
            #[must_use]
            $visibility const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                parse(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut text = [0; 64];
                hex::encode_to_slice(self.0, &mut text).map_err(serde::ser::Error::custom)?;
                serializer.serialize_str(std::str::from_utf8(&text).map_err(serde::ser::Error::custom)?)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(IdVisitor).map(Self)
            }
        }

        impl From<FileId> for $name {
            fn from(id: FileId) -> Self {
                Self(*id.as_bytes())
            }
        }

        impl From<$name> for FileId {
            fn from(id: $name) -> Self {
                Self::new(id.0)
            }
        }
    )* };
}

ids! {
    /// The name of a chunk: SHA-256 of its plain bytes.
    pub struct ChunkId;
    /// The name of a restore point: SHA-256 of its sealed file. What restic calls a snapshot id.
    pub struct SnapshotId;
    /// The name of a pack: SHA-256 of the file.
    pub struct PackId;
    /// The name of a tree: SHA-256 of its JSON.
    pub struct TreeId;
    /// The name of an index file: SHA-256 of the sealed file.
    pub struct IndexId;
    /// The name of a lock file: SHA-256 of the sealed file.
    pub struct LockId;
    /// The name of a key file: SHA-256 of the file.
    pub struct KeyId;
}

/// The text is not 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("An id consists of 64 hexadecimal digits")]
pub struct ParseIdError;

fn parse(text: &str) -> Result<[u8; 32], ParseIdError> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| ParseIdError)?;
    Ok(bytes)
}

/// Takes an id out of JSON without a copy of its text: an index has millions of them.
struct IdVisitor;

impl Visitor<'_> for IdVisitor {
    type Value = [u8; 32];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("64 hexadecimal digits")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
        parse(text).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_text_and_json() {
        let id = ChunkId::of(b"a chunk");
        assert_eq!(id.to_string().parse(), Ok(id));
        let json = serde_json::to_string(&id).unwrap();
        assert_eq!(json, format!("\"{id}\""));
        assert_eq!(serde_json::from_str::<ChunkId>(&json).unwrap(), id);
    }

    #[test]
    fn two_ids_at_a_time_are_those_of_each() {
        let [one, other] = ChunkId::of_both([b"a chunk", b"another"]);
        assert_eq!((one, other), (ChunkId::of(b"a chunk"), ChunkId::of(b"another")));
    }

    #[test]
    fn what_is_not_an_id_is_refused() {
        for text in ["", "ab", &"g".repeat(64), &"a".repeat(63), &"a".repeat(65)] {
            assert_eq!(text.parse::<ChunkId>(), Err(ParseIdError), "{text}");
        }
    }
}
