//! The content of a disk in an earlier restore point, as the start of an incremental one.

use sendense_repo::{Repository, Standing};

use super::session_disk::Base;
use crate::geometry::Geometry;
use crate::restore_point::{parse_id, path_of};
use crate::{ChunkId, Error, Result};

/// The chunk ids of the base, if it fits the disk as it is now and can be relied on.
///
/// # Errors
/// [`Error::BaseDiskMissing`], [`Error::BaseSizeDiffers`], [`Error::BaseChunkSizeDiffers`],
/// [`Error::RestorePointBeingPruned`], [`Error::RestorePointDamaged`] if the disk must be captured without this base.
pub(super) async fn load_base(
    repository: &Repository,
    base: &Base,
    geometry: &Geometry,
) -> Result<Vec<ChunkId>> {
    let point = repository.restore_point(&parse_id(&base.restore_point_id)?).await?;
    let content = match repository.disk_content(&point.id, &path_of(&point, &base.file)).await {
        Err(sendense_repo::Error::FileMissing { .. }) => {
            let (restore_point, file) = (base.restore_point_id.clone(), base.file.clone());
            return Err(Error::BaseDiskMissing { restore_point, file });
        }
        content => content.map_err(Error::of_reading)?,
    };
    if content.size_bytes != geometry.size_bytes() {
        let (size_bytes, base_bytes) = (geometry.size_bytes(), content.size_bytes);
        return Err(Error::BaseSizeDiffers { size_bytes, base_bytes });
    }
    check_standing(repository, &content.chunk_ids)?;
    check_chunk_sizes(repository, &content.chunk_ids, geometry)?;
    Ok(content.chunk_ids)
}

/// What is not read again must be there, now and for as long as the new restore point is.
fn check_standing(repository: &Repository, chunks: &[ChunkId]) -> Result<()> {
    chunks.iter().try_for_each(|chunk| match repository.standing_of(chunk) {
        Standing::Reliable => Ok(()),
        Standing::Marked => Err(Error::RestorePointBeingPruned { chunk: *chunk }),
        Standing::Lost => Err(Error::RestorePointDamaged(sendense_repo::Error::ChunkMissing { id: *chunk })),
    })
}

/// A chunk at another place than its number says would be a wrong disk without any error, so all are looked at.
fn check_chunk_sizes(repository: &Repository, chunks: &[ChunkId], geometry: &Geometry) -> Result<()> {
    let fits = |(index, id)| repository.plain_bytes_of(id) == geometry.chunk_bytes_at(index).map(u64::from);
    if chunks.len() as u64 == geometry.chunk_count() && (0..).zip(chunks).all(fits) {
        return Ok(());
    }
    Err(Error::BaseChunkSizeDiffers { chunk_bytes: geometry.chunk_bytes() })
}
