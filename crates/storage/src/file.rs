//! What a storage holds: files of six kinds, named by 32 bytes.

use std::fmt;
use std::str::FromStr;

/// The kinds of file of a repository. Each kind is a namespace of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// The one file that makes a place a repository. It has no name: the id of an operation on it is ignored.
    Config,
    /// The master key, sealed with a password.
    Key,
    /// Who works on the repository at the moment.
    Lock,
    /// Which chunk lies where in which pack.
    Index,
    /// A restore point.
    Snapshot,
    /// Chunks and trees.
    Pack,
}

impl FileKind {
    /// Every kind, in the order in which they matter for opening a repository.
    pub const ALL: [Self; 6] = [Self::Config, Self::Key, Self::Lock, Self::Index, Self::Snapshot, Self::Pack];

    /// The word for one such file in messages.
    #[must_use]
    pub fn noun(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Key => "key",
            Self::Lock => "lock",
            Self::Index => "index",
            Self::Snapshot => "snapshot",
            Self::Pack => "pack",
        }
    }
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.noun())
    }
}

/// The name of a file: 32 bytes, written as 64 hexadecimal digits. For all kinds but locks and the config it is
/// the SHA-256 of the content, which a storage neither knows nor checks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId([u8; 32]);

impl FileId {
    /// The id to pass for the config, which has no name.
    pub const CONFIG: Self = Self([0; 32]);

    /// Wraps the 32 bytes.
    #[must_use]
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileId({self})")
    }
}

impl FromStr for FileId {
    type Err = ParseFileIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Upper case would be a second name for the same file.
        if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(ParseFileIdError);
        }
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| ParseFileIdError)?;
        Ok(Self(bytes))
    }
}

/// The text is not 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("A file id consists of 64 lower-case hexadecimal digits")]
pub struct ParseFileIdError;

/// One file of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileEntry {
    /// Its name.
    pub id: FileId,
    /// Its length in bytes.
    pub size_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_its_text_form() {
        let id = FileId::new(std::array::from_fn(|i| u8::try_from(i * 7).unwrap_or(0xff)));
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn a_second_spelling_of_an_id_is_refused() {
        let upper = "AB".repeat(32);
        assert_eq!(upper.parse::<FileId>(), Err(ParseFileIdError));
        assert_eq!("ab".repeat(31).parse::<FileId>(), Err(ParseFileIdError));
    }
}
