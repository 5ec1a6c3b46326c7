//! Which file lies where.

use std::path::{Path, PathBuf};

use crate::{FileId, FileKind};

/// The paths of one repository.
#[derive(Debug)]
pub(super) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The directory of a kind; packs lie one level deeper.
    pub(super) fn directory(&self, kind: FileKind) -> PathBuf {
        match kind {
            FileKind::Config => self.root.clone(),
            FileKind::Key => self.root.join("keys"),
            FileKind::Lock => self.root.join("locks"),
            FileKind::Index => self.root.join("index"),
            FileKind::Snapshot => self.root.join("snapshots"),
            FileKind::Pack => self.root.join("data"),
        }
    }

    pub(super) fn file(&self, kind: FileKind, id: &FileId) -> PathBuf {
        let name = id.to_string();
        match kind {
            FileKind::Config => self.root.join("config"),
            FileKind::Pack => self.directory(kind).join(&name[..2]).join(name),
            _ => self.directory(kind).join(name),
        }
    }

    /// Every directory in which files lie, those above before those below; without the root.
    pub(super) fn directories(&self) -> Vec<PathBuf> {
        let kinds = FileKind::ALL.into_iter().filter(|kind| *kind != FileKind::Config);
        let data = self.directory(FileKind::Pack);
        kinds
            .map(|kind| self.directory(kind))
            .chain((0..=255_u8).map(|i| data.join(hex::encode([i]))))
            .collect()
    }
}
