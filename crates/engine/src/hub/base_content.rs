//! The content of a disk in an earlier restore point, as the start of an incremental one.

use sendense_repo::Repository;

use super::session_disk::Base;
use crate::geometry::Geometry;
use crate::restore_point::{parse_id, path_of};
use crate::{ChunkId, Error, Result};

/// The chunk ids of the base, if it fits the disk as it is now.
///
/// # Errors
/// [`Error::BaseDiskMissing`], [`Error::BaseSizeDiffers`], [`Error::BaseChunkSizeDiffers`] if the disk must be
/// captured without this base.
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
        content => content?,
    };
    if content.size_bytes != geometry.size_bytes() {
        let (size_bytes, base_bytes) = (geometry.size_bytes(), content.size_bytes);
        return Err(Error::BaseSizeDiffers { size_bytes, base_bytes });
    }
    check_chunk_sizes(&content.chunk_ids, geometry, |id| repository.plain_bytes_of(id))?;
    Ok(content.chunk_ids)
}

/// A chunk at another place than its number says would be a wrong disk without any error, so all are looked at.
fn check_chunk_sizes(
    chunks: &[ChunkId],
    geometry: &Geometry,
    plain_bytes_of: impl Fn(&ChunkId) -> Option<u64>,
) -> Result<()> {
    let fits = |(index, id)| plain_bytes_of(id) == geometry.chunk_bytes_at(index).map(u64::from);
    if chunks.len() as u64 == geometry.chunk_count() && (0..).zip(chunks).all(fits) {
        return Ok(());
    }
    Err(Error::BaseChunkSizeDiffers { chunk_bytes: geometry.chunk_bytes() })
}
