//! A file that arrives in pieces, larger than anybody wants to keep in memory.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::layout::Layout;
use super::temporary::TemporaryFile;
use super::{LocalStorage, create_pack_directory, sync_directory, write_in_pieces};
use crate::{Error, ErrorKind, FileId, FileKind, Result};

/// What is compared at a time when the file is there already.
const COMPARE_BYTES: usize = 256 << 10;

/// A file that does not have its name yet: nobody else sees it, and dropping it removes it.
pub struct LocalUpload {
    layout: Arc<Layout>,
    kind: FileKind,
    id: FileId,
    temporary: Option<TemporaryFile>,
}

impl std::fmt::Debug for LocalUpload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LocalUpload").field("kind", &self.kind).field("id", &self.id).finish_non_exhaustive()
    }
}

impl LocalStorage {
    /// Begins a file whose bytes are to come. What [`crate::Storage::write`] promises holds for
    /// [`LocalUpload::finish`]; before that there is no file.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when the place is missing, [`ErrorKind::NoSpace`], and what the file system says.
    pub async fn upload(&self, kind: FileKind, id: &FileId) -> Result<LocalUpload> {
        let file_id = *id;
        let created = self.blocking("write", move |layout| {
            let path = layout.file(kind, &file_id);
            match TemporaryFile::create(directory_of(&path)?) {
                // Other tools create the directories of packs when they need them.
                Err(error) if error.kind() == io::ErrorKind::NotFound && kind == FileKind::Pack => {
                    create_pack_directory(&path)?;
                    TemporaryFile::create(directory_of(&path)?)
                }
                result => result,
            }
        });
        let temporary = created.await.map_err(|error| error.with_file(kind, id))?;
        Ok(LocalUpload { layout: Arc::clone(&self.layout), kind, id: *id, temporary: Some(temporary) })
    }
}

impl LocalUpload {
    /// Appends a piece. After an error the upload can only be dropped.
    ///
    /// # Errors
    /// [`ErrorKind::NoSpace`], and what the file system says.
    pub async fn append(&mut self, piece: Bytes) -> Result<()> {
        let mut temporary = self.take()?;
        let temporary = self.blocking(move |_| {
            write_in_pieces(temporary.file(), &piece)?;
            Ok(temporary)
        });
        self.temporary = Some(temporary.await?);
        Ok(())
    }

    /// Makes the file durable and gives it its name.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] when a file of that name has other bytes, and what the file system says.
    pub async fn finish(mut self) -> Result<()> {
        let mut temporary = self.take()?;
        let (kind, id) = (self.kind, self.id);
        self.blocking(move |layout| {
            let path = layout.file(kind, &id);
            temporary.file().sync_all()?;
            let written = temporary.path().to_owned();
            match temporary.rename_to_or_keep(&path)? {
                None => {}
                Some(_kept_until_compared) => confirm_same_file(&path, &written)?,
            }
            sync_directory(directory_of(&path)?)
        })
        .await
    }

    fn take(&mut self) -> Result<TemporaryFile> {
        let missing = || Error::new(ErrorKind::Other, "write", "an earlier piece could not be written");
        self.temporary.take().ok_or_else(|| missing().with_file(self.kind, &self.id))
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Layout) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let storage = LocalStorage { layout: Arc::clone(&self.layout) };
        let done = storage.blocking("write", work).await;
        done.map_err(|error| error.with_file(self.kind, &self.id))
    }
}

fn directory_of(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

/// The file that is there must have the bytes of the one that was written, and must be as durable.
fn confirm_same_file(existing: &Path, written: &Path) -> io::Result<()> {
    let (existing, written) = (File::open(existing)?, File::open(written)?);
    let different = || io::Error::from(io::ErrorKind::AlreadyExists);
    if existing.metadata()?.len() != written.metadata()?.len() {
        return Err(different());
    }
    let (mut left, mut right) = (Vec::new(), Vec::new());
    loop {
        left.clear();
        right.clear();
        (&existing).take(COMPARE_BYTES as u64).read_to_end(&mut left)?;
        (&written).take(COMPARE_BYTES as u64).read_to_end(&mut right)?;
        if left != right {
            return Err(different());
        }
        if left.is_empty() {
            return existing.sync_all();
        }
    }
}
