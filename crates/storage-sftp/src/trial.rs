//! What a folder of a server tells before there is a repository in it.

use std::time::{Duration, Instant};

use sendense_storage::{ErrorKind, Result};

use crate::SftpStorage;
use crate::failure::{Failure, Outcome};
use crate::files::FSYNC;
use crate::leftovers::{is_ours, probe_name, sweep};
use crate::session::Session;

const TEXT: &[u8] = b"This file was made by a test of the place and may be removed.\n";

/// The outcome of a trial: a small file was written, read back, listed and removed.
#[derive(Clone, Copy, Debug)]
pub struct FolderTrial {
    /// Whether there is nothing but what trials and writers that died have left.
    pub is_empty: bool,
    /// How long the writing took.
    pub latency: Duration,
    /// Whether the server can be told to make a file durable. Where it cannot, a power failure of the server may take
    /// what was written last.
    pub is_durable: bool,
}

impl SftpStorage {
    /// Tries the folder out; it needs no repository.
    ///
    /// # Errors
    /// The first thing that does not work, by its kind; [`ErrorKind::ContainerMissing`] for a folder that is not
    /// there.
    pub async fn try_folder(&self) -> Result<FolderTrial> {
        self.run("probe", |connection, session| async move {
            let layout = &connection.layout;
            let entries =
                session.read_directory(layout.root()).await.map_err(|failure| match failure.kind {
                    ErrorKind::NotFound => {
                        Failure::new(ErrorKind::ContainerMissing, "the folder does not exist")
                    }
                    _ => failure,
                })?;
            let name = probe_name();
            let path = layout.join(&name);
            let tried = try_file(&session, layout.root(), &name, &path).await;
            if tried.is_err() {
                connection.discard(&session, path).await;
            }
            let latency = tried?;
            sweep(&session, layout.root(), &entries).await;
            let is_durable = session.has_extension(FSYNC);
            // What a trial before this one may have left is nothing that anybody needs.
            let is_empty = entries.iter().all(|entry| is_ours(&entry.name));
            Ok(FolderTrial { is_empty, latency, is_durable })
        })
        .await
    }
}

async fn try_file(session: &Session, root: &str, name: &str, path: &str) -> Outcome<Duration> {
    let wrong = |message: &str| Err(Failure::new(ErrorKind::Other, message));
    let start = Instant::now();
    let handle = session.open_new(path).await?;
    session.write_all(&handle, TEXT).await?;
    session.sync(&handle).await?;
    session.close(handle).await?;
    let latency = start.elapsed();
    let handle = session.open_to_read(path).await?;
    let content = session.read_exact(&handle, 0, TEXT.len()).await;
    session.close(handle).await?;
    if content? != TEXT {
        return wrong("what was written cannot be read back");
    }
    let entries = session.read_directory(root).await?;
    let Some(listed) = entries.iter().find(|entry| entry.name == name) else {
        return wrong("what was written is not listed");
    };
    if let Some(modified_at) = listed.attributes.modified_at() {
        session.clock.set(modified_at);
    }
    session.remove(path).await?;
    Ok(latency)
}
