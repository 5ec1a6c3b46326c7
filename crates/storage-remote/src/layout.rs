//! Which file has which key: restic's layout, below a prefix.

use sendense_storage::{FileId, FileKind};

/// The keys of one repository. They never begin with a slash.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// Empty, or ends with a slash.
    prefix: String,
}

impl Layout {
    /// The layout below a folder, however its slashes are written.
    pub(crate) fn below(folder: &str) -> Self {
        let parts: Vec<_> = folder.split('/').filter(|part| !part.is_empty()).collect();
        let prefix = if parts.is_empty() { String::new() } else { parts.join("/") + "/" };
        Self { prefix }
    }

    /// What all keys of the repository begin with.
    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// What the keys of a kind begin with.
    pub(crate) fn folder(&self, kind: FileKind) -> String {
        let name = match kind {
            FileKind::Config => "config",
            FileKind::Key => "keys/",
            FileKind::Lock => "locks/",
            FileKind::Index => "index/",
            FileKind::Snapshot => "snapshots/",
            FileKind::Pack => "data/",
        };
        format!("{}{name}", self.prefix)
    }

    /// The key of a file.
    pub(crate) fn key(&self, kind: FileKind, id: &FileId) -> String {
        let folder = self.folder(kind);
        match kind {
            FileKind::Config => folder,
            FileKind::Pack => {
                let name = id.to_string();
                format!("{folder}{}/{name}", &name[..2])
            }
            _ => format!("{folder}{id}"),
        }
    }

    /// The file of a key that was listed for a kind; `None` for what is no file of a repository.
    pub(crate) fn file(&self, kind: FileKind, key: &str) -> Option<FileId> {
        if kind == FileKind::Config {
            return (key == self.folder(kind)).then_some(FileId::CONFIG);
        }
        let id = key.rsplit('/').next()?.parse().ok()?;
        (self.key(kind, &id) == key).then_some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_found_again_by_its_key() {
        let id = FileId::new([0xab; 32]);
        for folder in ["", "/", "a", "/a/b c/", "a//b"] {
            let layout = Layout::below(folder);
            for kind in FileKind::ALL {
                let expected = if kind == FileKind::Config { FileId::CONFIG } else { id };
                let key = layout.key(kind, &id);
                assert!(!key.starts_with('/') && !key.contains("//"), "{key}");
                assert_eq!(layout.file(kind, &key), Some(expected), "{key}");
            }
        }
    }

    #[test]
    fn a_stranger_is_no_file() {
        let layout = Layout::below("a");
        let name = "ab".repeat(32);
        for key in ["a/index/README", "a/config.old", &format!("a/index/x/{name}"), &format!("index/{name}")]
        {
            assert_eq!(layout.file(FileKind::Index, key), None, "{key}");
        }
        assert_eq!(layout.file(FileKind::Pack, &format!("a/data/cd/{name}")), None);
        assert_eq!(layout.file(FileKind::Config, "a/config2"), None);
    }
}
