//! Which file lies where: restic's layout, below a folder of the server.

use sendense_storage::{FileId, FileKind};

/// The paths of one repository.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// Never empty, and without a slash at the end, unless it is the root of the server.
    root: String,
}

impl Layout {
    /// The layout below a folder; one without a slash at its beginning lies in the home of the user.
    pub(crate) fn below(folder: &str) -> Self {
        let trimmed = folder.trim_end_matches('/');
        let root = match (trimmed, folder) {
            ("", "") => ".",
            ("", _) => "/",
            _ => trimmed,
        };
        Self { root: root.into() }
    }

    pub(crate) fn root(&self) -> &str {
        &self.root
    }

    /// A path in the folder.
    pub(crate) fn join(&self, name: &str) -> String {
        let slash = if self.root.ends_with('/') { "" } else { "/" };
        format!("{}{slash}{name}", self.root)
    }

    /// The folder of a kind; packs lie one level deeper.
    pub(crate) fn directory(&self, kind: FileKind) -> String {
        match kind {
            FileKind::Config => self.root.clone(),
            FileKind::Key => self.join("keys"),
            FileKind::Lock => self.join("locks"),
            FileKind::Index => self.join("index"),
            FileKind::Snapshot => self.join("snapshots"),
            FileKind::Pack => self.join("data"),
        }
    }

    /// The folder of the packs whose names begin like this one.
    pub(crate) fn pack_directory(&self, id: &FileId) -> String {
        format!("{}/{}", self.directory(FileKind::Pack), &id.to_string()[..2])
    }

    pub(crate) fn file(&self, kind: FileKind, id: &FileId) -> String {
        match kind {
            FileKind::Config => self.join("config"),
            FileKind::Pack => format!("{}/{id}", self.pack_directory(id)),
            _ => format!("{}/{id}", self.directory(kind)),
        }
    }

    /// The folders of all kinds, without the root and without those of the packs.
    pub(crate) fn directories(&self) -> impl Iterator<Item = String> {
        FileKind::ALL.into_iter().filter(|kind| *kind != FileKind::Config).map(|kind| self.directory(kind))
    }

    /// The folders of all packs.
    pub(crate) fn pack_directories(&self) -> impl Iterator<Item = String> {
        let data = self.directory(FileKind::Pack);
        (0..=255_u8).map(move |first| format!("{data}/{first:02x}"))
    }

    /// The root and all folders above it, the outermost first.
    pub(crate) fn ancestors(&self) -> Vec<&str> {
        let inner = self.root.char_indices().filter(|(at, letter)| *at > 0 && *letter == '/');
        inner.map(|(at, _)| &self.root[..at]).chain([self.root()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_may_be_absolute_relative_or_the_home() {
        let id = FileId::new([0xab; 32]);
        for (folder, config) in
            [("/srv/one/", "/srv/one/config"), ("one", "one/config"), ("", "./config"), ("/", "/config")]
        {
            let layout = Layout::below(folder);
            assert_eq!(layout.file(FileKind::Config, &id), config);
        }
        assert_eq!(Layout::below("/srv").file(FileKind::Pack, &id), format!("/srv/data/ab/{id}"));
        assert_eq!(Layout::below("/srv/a/b").ancestors(), ["/srv", "/srv/a", "/srv/a/b"]);
        assert_eq!(Layout::below("a/b").ancestors(), ["a", "a/b"]);
    }
}
