//! Files in a folder of an SSH server, laid out as restic does it.
//!
//! The connection is the system's OpenSSH client as a child process, as with restic: its cryptography is the one that
//! administrators know and update. Over its pipes goes SFTP version 3, spoken here, because the promises of a storage
//! need the plain `rename` that never replaces (`docs/decisions/0025-sftp-goes-through-the-ssh-of-the-system.md`).

mod clock;
mod connection;
mod failure;
mod files;
mod key_folder;
mod layout;
mod leftovers;
mod session;
mod ssh;
mod trial;
mod upload;
mod wire;

use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use connection::Connection;
use failure::{Failure, Outcome};
use layout::Layout;
use leftovers::sweep;
use sendense_storage::{Capacity, Error, ErrorKind, FileEntry, FileId, FileKind, Result, Secret, Storage};
use session::Session;
use ssh::Destination;
pub use trial::FolderTrial;

/// Folders that are looked at or made at a time.
const FOLDERS_MAX: usize = 32;

/// Where the server is, and who we are to it.
#[derive(Clone, Debug)]
pub struct SftpOptions<'a> {
    /// Name or address.
    pub host: &'a str,
    /// Usually 22.
    pub port: u16,
    /// Whose folder it is.
    pub username: &'a str,
    /// The folder. Without a slash at its beginning it lies in the home of the user.
    pub path: &'a str,
    /// As OpenSSH writes it, without a passphrase.
    pub private_key: &'a Secret,
    /// The one host key that is accepted, as in `known_hosts`: `ssh-ed25519 AAAA…`.
    pub host_key: &'a str,
}

/// Keeps files in a folder of an SSH server, over one connection that is made again when it breaks.
pub struct SftpStorage {
    connection: Arc<Connection>,
}

impl std::fmt::Debug for SftpStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SftpStorage").field("location", &self.location()).finish_non_exhaustive()
    }
}

impl SftpStorage {
    /// Connects.
    ///
    /// # Errors
    /// [`ErrorKind::Unreachable`], [`ErrorKind::HostKeyMismatch`], [`ErrorKind::CredentialsWrong`],
    /// [`ErrorKind::Other`] for options that cannot be, and where there is no `ssh`.
    pub async fn open(options: SftpOptions<'_>) -> Result<Self> {
        let SftpOptions { host, port, username, path, private_key, host_key } = options;
        let refused = |failure: Failure| failure.into_error("connect");
        if path.contains('\0') {
            return Err(refused(Failure::new(ErrorKind::Other, "the path is not one")));
        }
        let destination = Destination::new(host, port, username, private_key, host_key).map_err(refused)?;
        let connection = Arc::new(Connection::new(Layout::below(path), destination));
        connection.session().await.map_err(refused)?;
        Ok(Self { connection })
    }

    /// Does something with the session. It is finished also if nobody waits for it any more: what is half done would
    /// leave open and temporary files on the server.
    async fn run<T, F>(
        &self,
        operation: &'static str,
        work: impl FnOnce(Arc<Connection>, Arc<Session>) -> F + Send + 'static,
    ) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Outcome<T>> + Send,
    {
        let connection = Arc::clone(&self.connection);
        let task = tokio::spawn(async move {
            let session = connection.session().await?;
            work(connection, session).await
        });
        match task.await {
            Ok(outcome) => outcome.map_err(|failure| failure.into_error(operation)),
            Err(_) => Err(Error::new(ErrorKind::Other, operation, "the task that did it is gone")),
        }
    }

    /// All of a file, or the part that `range` says by offset and length.
    async fn read_part(&self, kind: FileKind, id: &FileId, range: Option<(u64, usize)>) -> Result<Bytes> {
        let file_id = *id;
        let content = self.run("read", move |connection, session| async move {
            let handle = session.open_to_read(&connection.layout.file(kind, &file_id)).await?;
            let content = async {
                let size = session.size_of(&handle).await?;
                let whole = || usize::try_from(size).map(|size| (0, size)).map_err(|_| too_short());
                let (offset, len) = range.map_or_else(whole, Ok)?;
                // Before anything of that length is allocated.
                if offset.checked_add(len as u64).is_none_or(|end| end > size) {
                    return Err(too_short());
                }
                session.read_exact(&handle, offset, len).await
            }
            .await;
            let closed = session.close(handle).await;
            let content = content?;
            closed.map(|()| content)
        });
        content.await.map_err(|error| error.with_file(kind, id))
    }
}

#[async_trait]
impl Storage for SftpStorage {
    fn location(&self) -> String {
        self.connection.location()
    }

    async fn create(&self) -> Result<()> {
        self.run("create", |connection, session| async move {
            for folder in connection.layout.ancestors() {
                // Those above may be ones that we can pass and not see.
                match session.look_up(folder).await {
                    Err(failure) if failure.kind == ErrorKind::NotFound => {
                        session.make_directory(folder).await?;
                    }
                    looked => drop(looked?),
                }
            }
            make_directories(&session, connection.layout.directories().collect()).await?;
            make_directories(&session, connection.layout.pack_directories().collect()).await
        })
        .await
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<FileEntry>> {
        self.run("list", move |connection, session| async move {
            let folder = connection.layout.directory(kind);
            match kind {
                FileKind::Config => list_config(&connection.layout, &session).await,
                FileKind::Pack => list_packs(&session, &folder).await,
                _ => list_folder(&session, folder).await,
            }
        })
        .await
    }

    async fn size(&self, kind: FileKind, id: &FileId) -> Result<u64> {
        let file_id = *id;
        let size = self.run("look up", move |connection, session| async move {
            let attributes = session.look_up(&connection.layout.file(kind, &file_id)).await?;
            attributes.size_bytes.ok_or_else(Failure::not_understood)
        });
        size.await.map_err(|error| error.with_file(kind, id))
    }

    async fn read(&self, kind: FileKind, id: &FileId) -> Result<Bytes> {
        self.read_part(kind, id, None).await
    }

    async fn read_range(&self, kind: FileKind, id: &FileId, offset: u64, len: usize) -> Result<Bytes> {
        self.read_part(kind, id, Some((offset, len))).await
    }

    async fn write(&self, kind: FileKind, id: &FileId, content: Bytes) -> Result<()> {
        let file_id = *id;
        let written = self.run("write", move |connection, session| async move {
            upload::upload(&connection, &session, (kind, file_id), &content).await
        });
        written.await.map_err(|error| error.with_file(kind, id))
    }

    async fn remove(&self, kind: FileKind, id: &FileId) -> Result<()> {
        let file_id = *id;
        let removed = self.run("remove", move |connection, session| async move {
            match session.remove(&connection.layout.file(kind, &file_id)).await {
                Err(failure) if failure.kind == ErrorKind::NotFound => {
                    // Without its folder the whole place is missing, and that is not success.
                    session.look_up(&connection.layout.directory(kind)).await.map(drop)
                }
                removed => removed,
            }
        });
        removed.await.map_err(|error| error.with_file(kind, id))
    }

    async fn capacity(&self) -> Result<Option<Capacity>> {
        self.run(
            "measure",
            |connection, session| async move { session.measure(connection.layout.root()).await },
        )
        .await
    }
}

fn too_short() -> Failure {
    Failure::new(ErrorKind::Damaged, "the file is too short")
}

async fn make_directories(session: &Session, folders: Vec<String>) -> Outcome<()> {
    let make = |folder: String| async move { session.make_directory(&folder).await };
    stream::iter(folders.into_iter().map(Ok)).try_for_each_concurrent(FOLDERS_MAX, make).await
}

async fn list_config(layout: &Layout, session: &Session) -> Outcome<Vec<FileEntry>> {
    match session.look_up(&layout.file(FileKind::Config, &FileId::CONFIG)).await {
        Ok(attributes) => {
            let size_bytes = attributes.size_bytes.ok_or_else(Failure::not_understood)?;
            Ok(vec![FileEntry { id: FileId::CONFIG, size_bytes }])
        }
        // A missing config is an empty listing, a missing folder is not.
        Err(failure) if failure.kind == ErrorKind::NotFound => {
            session.look_up(layout.root()).await.map(|_| Vec::new())
        }
        Err(failure) => Err(failure),
    }
}

async fn list_packs(session: &Session, data: &str) -> Outcome<Vec<FileEntry>> {
    let entries = session.read_directory(data).await?;
    let folders = entries.into_iter().filter(|entry| entry.attributes.is_directory());
    let lists = folders.map(|entry| list_folder(session, format!("{data}/{}", entry.name)));
    stream::iter(lists).buffer_unordered(FOLDERS_MAX).try_concat().await
}

async fn list_folder(session: &Session, folder: String) -> Outcome<Vec<FileEntry>> {
    let entries = session.read_directory(&folder).await?;
    sweep(session, &folder, &entries).await;
    let mut files = Vec::new();
    for entry in entries {
        // What is named otherwise is no file of a repository.
        let Ok(id) = entry.name.parse() else { continue };
        if entry.attributes.is_file() {
            let size_bytes = entry.attributes.size_bytes.ok_or_else(Failure::not_understood)?;
            files.push(FileEntry { id, size_bytes });
        }
    }
    Ok(files)
}
