//! A second repository, which is not on the stage: copies come from there or go there, and repairs take from there
//! what is lost on the stage.

use std::sync::Arc;

use sendense_repo::{CopyOptions, Error, RepairOptions, RepairReport, Repository, Result, SnapshotId};
use sendense_storage::{ErrorKind, FileKind, MemoryStorage, Storage};
use tokio_util::sync::CancellationToken;

use crate::part::{DISK, Disk, back_up, bytes_of, chunk_numbers, open};
use crate::support::{DIRECTORY, password, quick_init, quick_writer, read_data, read_file};

/// What is copied to the stage: half of it is there in an old restore point.
const INCOMING: Disk = &[1, 2, 6, 10];

/// The repository that others only read from.
pub(crate) struct Elsewhere {
    storage: Arc<MemoryStorage>,
    incoming: SnapshotId,
}

impl Elsewhere {
    pub(crate) async fn new() -> Self {
        let storage = Arc::new(MemoryStorage::new());
        let repository = fresh(Arc::clone(&storage)).await;
        back_up(&repository, &[1, 2, 3, 4, 5]).await.unwrap();
        let incoming = back_up(&repository, INCOMING).await.unwrap();
        Self { storage, incoming }
    }

    /// Copies a restore point from here.
    pub(crate) async fn copy_to(&self, stage: &Repository) -> Result<(SnapshotId, Disk)> {
        let source = open(self.storage.clone()).await;
        let report = source
            .copy_to(stage, &[self.incoming], copy_options(), &|_| {}, &CancellationToken::new())
            .await?;
        Ok((report.points[0].target, INCOMING))
    }

    /// Repairs with what is here.
    pub(crate) async fn repair(&self, stage: &Repository) -> Result<RepairReport> {
        let source = open(self.storage.clone()).await;
        let options = RepairOptions { lock: quick_writer().lock, ..RepairOptions::default() };
        stage.repair(Some(&source), options, &|_| {}, &CancellationToken::new()).await
    }
}

/// Copies every restore point that is there to an empty repository. `Err` says what is listed there and not whole.
pub(crate) async fn copy_from(stage: &Repository) -> std::result::Result<Result<()>, String> {
    let target = fresh(Arc::new(MemoryStorage::new())).await;
    let outcome = copy_all(stage, &target).await;
    for point in target.restore_points().await.unwrap() {
        let content = read_file(&target, &point.id, &format!("/{DIRECTORY}/{DISK}")).await;
        if content.as_ref().is_ok_and(|content| *content == bytes_of(&chunk_numbers(&point.tags[0]))) {
            continue;
        }
        return Err(format!("LOST: the copy of {:?}: {:?}", point.tags, content.err()));
    }
    Ok(outcome)
}

async fn copy_all(stage: &Repository, target: &Repository) -> Result<()> {
    let ids: Vec<_> = stage.restore_points().await?.into_iter().map(|point| point.id).collect();
    let report = stage.copy_to(target, &ids, copy_options(), &|_| {}, &CancellationToken::new()).await?;
    assert_eq!(report.points.len(), ids.len());
    Ok(())
}

/// Whether somebody has forgotten, and pruned without a grace, what a copy was about to read: copies take no lock where
/// they come from.
pub(crate) fn is_pulled_away(error: &Error) -> bool {
    match error {
        Error::Storage(error) => error.kind() == ErrorKind::NotFound,
        error => matches!(
            error,
            Error::RestorePointMissing { .. } | Error::ChunkMissing { .. } | Error::TreeMissing { .. }
        ),
    }
}

/// Flips a bit of a chunk that all restore points need.
pub(crate) async fn damage(storage: &Arc<MemoryStorage>) {
    for pack in storage.list(FileKind::Pack).await.unwrap() {
        let whole = storage.read(FileKind::Pack, &pack.id).await.unwrap();
        let mut damaged = whole.to_vec();
        damaged[20] ^= 1;
        storage.remove(FileKind::Pack, &pack.id).await.unwrap();
        storage.write(FileKind::Pack, &pack.id, damaged.into()).await.unwrap();
        let repository = open(storage.clone()).await;
        let report = repository.check(read_data(), &|_| {}, &CancellationToken::new()).await.unwrap();
        let touched = &report.damaged_restore_points;
        let is_of_the_disk = |path: &String| *path == format!("/{DIRECTORY}/{DISK}");
        if touched.len() > 1 && touched.iter().all(|point| point.paths.iter().any(is_of_the_disk)) {
            return;
        }
        storage.remove(FileKind::Pack, &pack.id).await.unwrap();
        storage.write(FileKind::Pack, &pack.id, whole).await.unwrap();
    }
    panic!("no pack has chunks that all restore points need");
}

async fn fresh(storage: Arc<MemoryStorage>) -> Repository {
    Repository::init(storage.clone(), &password(), quick_init()).await.unwrap();
    open(storage).await
}

fn copy_options() -> CopyOptions {
    CopyOptions { lock: quick_writer().lock }
}
