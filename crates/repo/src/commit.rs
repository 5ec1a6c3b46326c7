//! Making a restore point.
//!
//! A restore point exists from the moment its snapshot file does, so that file comes last, and before it is written
//! everything it refers to is proved to be there:
//!
//! 1. packs of all chunks;
//! 2. every chunk of every file is in the index, and the lengths add up to the size of the file;
//! 3. trees, in packs of their own, and then the index file that names all packs that were in none;
//! 4. the index files we know are still there, a complete listing of the packs shows each one with its size, and
//!    our lock is still there; if anything of that has changed, 2 is proved again with what is left;
//! 5. the protection of all those packs reaches as far as that of the snapshot file will;
//! 6. the snapshot file;
//! 7. our lock is still there, and the index files still say what they said; otherwise the snapshot file is taken back,
//!    unless the storage protects it, and with it everything that it needs.
//!
//! A crash before 6 leaves packs that the next capture uses, and trees that a prune removes. What a prune has marked
//! meanwhile is taken back wherever it is found to be needed; 7 finds what was marked between 4 and 6.

use std::sync::Arc;

use sendense_storage::{ErrorKind, FileKind};

use crate::index::Index;
use crate::lock::HeldLock;
use crate::pack::{BlobKind, PackedBlob};
use crate::packing::FailureMark;
use crate::protect::protect;
use crate::repository::Inner;
use crate::rescue::rescue;
use crate::snapshot_file::SnapshotFile;
use crate::tree::is_valid_name;
use crate::tree_writer::store_trees;
use crate::{Error, NewFile, NewRestorePoint, Result, SnapshotId, TreeId, host, sealed_json};

/// What we call ourselves in snapshot files.
const PROGRAM: &str = concat!("sendense ", env!("CARGO_PKG_VERSION"));

/// Makes the restore point under the given lock. No pack may have failed since the mark.
pub(crate) async fn commit(
    repository: &Arc<Inner>,
    lock: &HeldLock,
    mark: FailureMark,
    point: NewRestorePoint,
) -> Result<SnapshotId> {
    lock.check().await?;
    check_names(&point)?;
    repository.packer.flush_packs(mark).await?;
    let generation = repository.catalog.generation();
    check_or_rescue(repository, &point.files, &[])?;

    let trees = store_trees(repository, &point).await?;
    repository.packer.flush(mark).await?;

    let snapshot = snapshot_file(&point, trees.root);
    publish(repository, lock, &point.files, &trees.all, Some(generation), &snapshot).await
}

/// Steps 4 to 7, for a restore point of which everything is durable. The content is not looked at again where it was
/// proved to be there for that generation of the index.
pub(crate) async fn publish(
    repository: &Arc<Inner>,
    lock: &HeldLock,
    files: &[NewFile],
    trees: &[TreeId],
    proved: Option<u64>,
    snapshot: &SnapshotFile,
) -> Result<SnapshotId> {
    let proved = prove(repository, lock, files, trees, proved).await?;
    protect(repository, needed(files, trees)).await?;
    let file = sealed_json::seal(&repository.key, snapshot)?;
    let (storage, id) = (&repository.storage, SnapshotId::from(file.id));
    if let Err(error) = storage.write(FileKind::Snapshot, &file.id, file.content).await {
        // The answer alone may have been lost.
        if !storage.exists(FileKind::Snapshot, &file.id).await.unwrap_or(false) {
            return Err(error.into());
        }
    }
    match prove_again(repository, lock, files, trees, proved).await {
        Err(error) if is_lie(&error) => match storage.remove(FileKind::Snapshot, &file.id).await {
            // What it needs is protected for as long as it is: it cannot have been taken away.
            Err(kept) if kept.kind() == ErrorKind::Protected => Ok(id),
            _ => Err(error),
        },
        // Whatever else failed, the restore point is made, and was whole a moment ago.
        _ => Ok(id),
    }
}

/// How often what is needed is proved again because a prune goes on marking it.
const PROOFS_MAX: usize = 5;

/// Proves that everything is there on which the restore point relies, and that our lock is. Only what has changed
/// since the given generation of the index is looked at. Returns the generation for which it is proved.
async fn prove(
    repository: &Inner,
    lock: &HeldLock,
    files: &[NewFile],
    trees: &[TreeId],
    mut proved: Option<u64>,
) -> Result<u64> {
    for _ in 0..PROOFS_MAX {
        repository.catalog.refresh().await?;
        let generation = repository.catalog.generation();
        let listing = repository.catalog.verify_packs().await?;
        lock.confirm().await?;
        let is_unchanged = proved == Some(generation) && listing.missing.is_empty();
        let files = if is_unchanged { &[] } else { files };
        if !check_or_rescue(repository, files, trees)? {
            return Ok(generation);
        }
        // What was taken back must be named by an index file, and then still be there.
        repository.catalog.write_index().await?;
        proved = Some(generation);
    }
    Err(Error::LockLost)
}

/// Once the snapshot file is there: a prune either finds it when it looks for restore points after it has removed index
/// files, or we find that index files are gone.
async fn prove_again(
    repository: &Inner,
    lock: &HeldLock,
    files: &[NewFile],
    trees: &[TreeId],
    proved: u64,
) -> Result<()> {
    lock.confirm().await?;
    repository.catalog.refresh().await?;
    if repository.catalog.generation() != proved {
        prove(repository, lock, files, trees, Some(proved)).await?;
    }
    Ok(())
}

/// Whether the error says that the restore point is not whole, or may not stay so.
fn is_lie(error: &Error) -> bool {
    matches!(
        error,
        Error::LockLost | Error::ChunkMissing { .. } | Error::PackMissing { .. } | Error::TreeMissing { .. }
    )
}

/// Everything must be there. What a prune has marked meanwhile is taken back: then the answer is `true`, and it must be
/// proved again that it is there.
fn check_or_rescue(repository: &Inner, files: &[NewFile], trees: &[TreeId]) -> Result<bool> {
    match check_all(repository, files, trees) {
        Err(error) if is_lie(&error) && rescue(repository, needed(files, trees)) > 0 => {
            check_all(repository, files, trees).map(|()| true)
        }
        result => result.map(|()| false),
    }
}

fn check_all(repository: &Inner, files: &[NewFile], trees: &[TreeId]) -> Result<()> {
    check_content(repository, files)?;
    for tree in trees {
        find(&repository.catalog.index(), BlobKind::Tree, tree.as_bytes())?
            .ok_or(Error::TreeMissing { id: *tree })?;
    }
    Ok(())
}

/// All blobs that the restore point relies on.
fn needed<'a>(files: &'a [NewFile], trees: &'a [TreeId]) -> impl Iterator<Item = (BlobKind, [u8; 32])> + 'a {
    let chunks = files.iter().flat_map(|file| &file.content).map(|id| (BlobKind::Data, *id.as_bytes()));
    chunks.chain(trees.iter().map(|id| (BlobKind::Tree, *id.as_bytes())))
}

fn check_names(point: &NewRestorePoint) -> Result<()> {
    let mut names = std::iter::once(&point.directory).chain(point.files.iter().map(|file| &file.name));
    match names.find(|name| !is_valid_name(name)) {
        Some(name) => Err(Error::Unacceptable { reason: format!("a file or directory named {name:?}") }),
        None => Ok(()),
    }
}

/// Every chunk must be there, and the chunks of a file must be as long as the file.
fn check_content(repository: &Inner, files: &[NewFile]) -> Result<()> {
    files.iter().try_for_each(|file| check_file(repository, file))
}

fn check_file(repository: &Inner, file: &NewFile) -> Result<()> {
    let index = repository.catalog.index();
    let mut size_bytes = 0;
    for id in &file.content {
        let blob = find(&index, BlobKind::Data, id.as_bytes())?.ok_or(Error::ChunkMissing { id: *id })?;
        size_bytes += u64::from(blob.plain_bytes());
    }
    if size_bytes == file.size_bytes {
        return Ok(());
    }
    let (name, expected) = (&file.name, file.size_bytes);
    Err(Error::Unacceptable { reason: format!("{name} of {expected} bytes with chunks of {size_bytes}") })
}

/// A place of a blob in a pack that is there. Fails when all its packs are missing; `None` when it has none, or only
/// damaged ones and such in packs that will be deleted.
fn find(index: &Index, kind: BlobKind, id: &[u8; 32]) -> Result<Option<PackedBlob>> {
    let usable = index.find(kind, id).filter(|location| !location.is_marked && !location.is_damaged);
    match usable.min_by_key(|location| location.is_missing) {
        Some(location) if location.is_missing => Err(Error::PackMissing { id: location.pack }),
        location => Ok(location.map(|location| location.blob)),
    }
}

fn snapshot_file(point: &NewRestorePoint, tree: TreeId) -> SnapshotFile {
    SnapshotFile {
        time: point.time,
        parent: point.parent,
        tree,
        original: None,
        paths: vec![format!("/{}", point.directory)],
        hostname: point.hostname.clone(),
        username: point.username.clone(),
        uid: host::uid(),
        gid: host::gid(),
        tags: point.tags.clone(),
        program_version: PROGRAM.into(),
    }
}
