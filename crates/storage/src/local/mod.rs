//! Files in a directory, laid out as restic does it.
//!
//! ```text
//! config
//! keys/<id>  locks/<id>  index/<id>  snapshots/<id>
//! data/<first two digits of the id>/<id>
//! ```
//!
//! A file comes into being under a temporary name in the directory where it belongs, is synced, gets its name by a
//! rename that never replaces, and then the directory is synced: only after that is it written.

mod layout;
mod temporary;
mod upload;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::{Capacity, Error, ErrorKind, FileEntry, FileId, FileKind, Result, Storage};
use layout::Layout;
use temporary::TemporaryFile;
pub use temporary::{is_temporary_name, temporary_name};
pub use upload::LocalUpload;

/// Nobody but the owner reads a repository, encrypted or not.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// The most that is written with one call where much is written. With calls of 4 MiB and more the kernel caches the file
/// in larger blocks, which took ext4 on Linux 6.18 five times as long.
pub const WRITE_BYTES_MAX: usize = 256 << 10;

/// Keeps files in a directory of this machine, which may be a mounted network file system.
#[derive(Clone, Debug)]
pub struct LocalStorage {
    layout: Arc<Layout>,
}

impl LocalStorage {
    /// Uses the directory at `root`, which need not exist yet. Removes what a process that died in the middle of
    /// a write left behind; the files of writes that are under way are spared.
    ///
    /// # Errors
    /// When the directory exists and cannot be looked at, usually [`ErrorKind::PermissionDenied`].
    pub async fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let storage = Self { layout: Arc::new(Layout::new(root.into())) };
        storage.blocking("open", temporary::sweep).await?;
        Ok(storage)
    }

    /// Runs file operations on a thread that may block.
    async fn blocking<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Layout) -> io::Result<T> + Send + 'static,
    ) -> Result<T> {
        let layout = Arc::clone(&self.layout);
        match tokio::task::spawn_blocking(move || work(&layout)).await {
            Ok(result) => result.map_err(|error| Error::from_io(operation, error)),
            Err(_) => Err(Error::new(ErrorKind::Other, operation, "the thread that did it is gone")),
        }
    }
}

#[async_trait]
impl Storage for LocalStorage {
    fn location(&self) -> String {
        self.layout.root().display().to_string()
    }

    async fn create(&self) -> Result<()> {
        self.blocking("create", create_directories).await
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<FileEntry>> {
        self.blocking("list", move |layout| list(layout, kind)).await
    }

    async fn size(&self, kind: FileKind, id: &FileId) -> Result<u64> {
        let file_id = *id;
        let size =
            self.blocking("look up", move |layout| Ok(fs::metadata(layout.file(kind, &file_id))?.len()));
        size.await.map_err(|error| error.with_file(kind, id))
    }

    async fn read(&self, kind: FileKind, id: &FileId) -> Result<Bytes> {
        let file_id = *id;
        let content = self.blocking("read", move |layout| fs::read(layout.file(kind, &file_id)));
        content.await.map(Bytes::from).map_err(|error| error.with_file(kind, id))
    }

    async fn read_range(&self, kind: FileKind, id: &FileId, offset: u64, len: usize) -> Result<Bytes> {
        let file_id = *id;
        let content = self.blocking("read", move |layout| {
            let mut content = vec![0; len];
            File::open(layout.file(kind, &file_id))?.read_exact_at(&mut content, offset)?;
            Ok(content)
        });
        content.await.map(Bytes::from).map_err(|error| error.with_file(kind, id))
    }

    async fn write(&self, kind: FileKind, id: &FileId, content: Bytes) -> Result<()> {
        let file_id = *id;
        let written = self.blocking("write", move |layout| {
            let path = layout.file(kind, &file_id);
            match write(&path, &content) {
                // Other tools create the directories of packs when they need them.
                Err(error) if error.kind() == io::ErrorKind::NotFound && kind == FileKind::Pack => {
                    create_pack_directory(&path)?;
                    write(&path, &content)
                }
                result => result,
            }
        });
        written.await.map_err(|error| error.with_file(kind, id))
    }

    async fn remove(&self, kind: FileKind, id: &FileId) -> Result<()> {
        let file_id = *id;
        let removed = self.blocking("remove", move |layout| remove(&layout.file(kind, &file_id)));
        removed.await.map_err(|error| error.with_file(kind, id))
    }

    async fn capacity(&self) -> Result<Option<Capacity>> {
        let stat = self.blocking("measure", |layout| Ok(rustix::fs::statvfs(layout.root())?)).await?;
        Ok(Some(Capacity {
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
            free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        }))
    }
}

/// Creates root and all directories, from the root on, and syncs each one that got a new entry.
fn create_directories(layout: &Layout) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(layout.root())?;
    for directory in layout.directories() {
        match DirBuilder::new().mode(DIRECTORY_MODE).create(&directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    sync_directory(&layout.directory(FileKind::Pack))?;
    sync_directory(layout.root())?;
    match layout.root().parent() {
        Some(parent) if parent != Path::new("") => sync_directory(parent),
        _ => Ok(()),
    }
}

fn list(layout: &Layout, kind: FileKind) -> io::Result<Vec<FileEntry>> {
    if kind == FileKind::Config {
        return match fs::metadata(layout.file(kind, &FileId::CONFIG)) {
            Ok(file) => Ok(vec![FileEntry { id: FileId::CONFIG, size_bytes: file.len() }]),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A missing config is an empty listing, a missing directory is not.
                fs::metadata(layout.root()).map(|_| Vec::new())
            }
            Err(error) => Err(error),
        };
    }
    let mut files = Vec::new();
    let directory = layout.directory(kind);
    if kind != FileKind::Pack {
        list_directory(&directory, &mut files)?;
        return Ok(files);
    }
    for entry in fs::read_dir(&directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            list_directory(&entry.path(), &mut files)?;
        }
    }
    Ok(files)
}

fn list_directory(directory: &Path, files: &mut Vec<FileEntry>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        match entry.metadata() {
            Ok(metadata) if metadata.is_file() => files.push(FileEntry { id, size_bytes: metadata.len() }),
            Ok(_) => {}
            // Removed since the directory was read: as if the listing had begun a moment later.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let directory = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut temporary = TemporaryFile::create(directory)?;
    write_in_pieces(temporary.file(), content)?;
    temporary.file().sync_all()?;
    match temporary.rename_to(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => confirm_same(path, content)?,
        result => result?,
    }
    sync_directory(directory)
}

/// Appends all of `content`, at most [`WRITE_BYTES_MAX`] with one call.
fn write_in_pieces(file: &mut File, content: &[u8]) -> io::Result<()> {
    content.chunks(WRITE_BYTES_MAX).try_for_each(|piece| file.write_all(piece))
}

/// Creates `data/xx`, but never `data` itself: if that is missing, a disk is not mounted or somebody cleans up.
fn create_pack_directory(pack: &Path) -> io::Result<()> {
    let directory = pack.parent().ok_or(io::ErrorKind::InvalidInput)?;
    match DirBuilder::new().mode(DIRECTORY_MODE).create(directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_directory(directory.parent().ok_or(io::ErrorKind::InvalidInput)?),
    }
}

/// The file that is there already must have the content that was to be written, and must be as durable as if it
/// had been written now: whoever wrote it may have died before the sync.
fn confirm_same(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::open(path)?;
    let mut existing = Vec::new();
    if file.metadata()?.len() == content.len() as u64 {
        file.read_to_end(&mut existing)?;
    }
    if existing != content {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    file.sync_all()
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Without its directory the whole place is missing, and that is not success.
            fs::metadata(path.parent().and_then(Path::parent).unwrap_or(path)).map(|_| ())
        }
        Err(error) => Err(error),
        Ok(()) => sync_directory(path.parent().ok_or(io::ErrorKind::InvalidInput)?),
    }
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    match File::open(directory)?.sync_all() {
        // Some network file systems have no sync of directories: a rename there is as durable as they make it.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            Ok(())
        }
        result => result,
    }
}

fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)
}
