//! How a file comes into being: under a temporary name in the folder where it belongs, then by a rename that never
//! replaces.

use bytes::Bytes;
use sendense_storage::{ErrorKind, FileId, FileKind};

use crate::connection::Connection;
use crate::failure::{Failure, Outcome};
use crate::files::Handle;
use crate::leftovers::temporary_path;
use crate::session::Session;

/// Writes a file completely, or leaves none.
pub(crate) async fn upload(
    connection: &Connection,
    session: &Session,
    (kind, id): (FileKind, FileId),
    content: &Bytes,
) -> Outcome<()> {
    let path = connection.layout.file(kind, &id);
    let temporary = temporary_path(&path);
    let handle = match session.open_new(&temporary).await {
        // Other tools make the folders of packs when they need them. `data` itself is never made here: if that is
        // missing, a disk is not mounted or somebody cleans up.
        Err(failure) if failure.kind == ErrorKind::NotFound && kind == FileKind::Pack => {
            session.make_directory(&connection.layout.pack_directory(&id)).await?;
            session.open_new(&temporary).await?
        }
        opened => opened?,
    };
    let placed = place(session, &handle, (&temporary, &path), content).await;
    let closed = session.close(handle).await;
    match placed {
        Ok(Placed::Renamed) => closed,
        Ok(Placed::Existed) => {
            connection.discard(session, temporary).await;
            confirm_same(session, &path, content).await
        }
        Err(failure) => {
            connection.discard(session, temporary).await;
            Err(explain(connection, session, failure, content.len()).await)
        }
    }
}

enum Placed {
    Renamed,
    Existed,
}

async fn place(
    session: &Session,
    handle: &Handle,
    (temporary, path): (&str, &str),
    content: &[u8],
) -> Outcome<Placed> {
    session.write_all(handle, content).await?;
    session.sync(handle).await?;
    learn_time(session, temporary).await;
    if let Err(failure) = session.rename(temporary, path).await {
        // The protocol has no word for "it exists".
        return match session.look_up(path).await {
            Ok(_) => Ok(Placed::Existed),
            Err(_) => Err(failure),
        };
    }
    // Folders cannot be synced over SFTP; with the file goes its name in every journalling file system.
    session.sync(handle).await?;
    Ok(Placed::Renamed)
}

/// What time it is there, once for each connection.
async fn learn_time(session: &Session, written: &str) {
    if session.clock.now().is_none()
        && let Ok(attributes) = session.look_up(written).await
        && let Some(modified_at) = attributes.modified_at()
    {
        session.clock.set(modified_at);
    }
}

/// The file that is there already must have the content that was to be written, and must be as durable as if it had
/// been written now: whoever wrote it may have died before the sync.
async fn confirm_same(session: &Session, path: &str, content: &Bytes) -> Outcome<()> {
    let handle = session.open_to_read(path).await?;
    let same = is_same(session, &handle, content).await;
    let closed = session.close(handle).await;
    if same? { closed } else { Err(Failure::new(ErrorKind::AlreadyExists, "it exists")) }
}

async fn is_same(session: &Session, handle: &Handle, content: &Bytes) -> Outcome<bool> {
    if session.size_of(handle).await? != content.len() as u64 {
        return Ok(false);
    }
    if session.read_exact(handle, 0, content.len()).await? != content {
        return Ok(false);
    }
    session.sync(handle).await?;
    Ok(true)
}

/// The protocol has no word for "there is no room" either, but the room can be measured.
async fn explain(connection: &Connection, session: &Session, failure: Failure, len: usize) -> Failure {
    if failure.kind != ErrorKind::Other {
        return failure;
    }
    match session.measure(connection.layout.root()).await {
        Ok(Some(capacity)) if capacity.free_bytes < len as u64 => {
            Failure::new(ErrorKind::NoSpace, "there is no room left")
        }
        _ => failure,
    }
}
