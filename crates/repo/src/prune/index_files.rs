//! Reading and writing index files one by one.

use std::collections::HashSet;
use std::sync::Arc;

use sendense_storage::FileKind;

use crate::blocking::blocking;
use crate::catalog::BLOBS_PER_FILE;
use crate::index::{IndexFile, IndexPack, MarkedPack};
use crate::repository::Inner;
use crate::{Error, IndexId, PackId, Result, sealed_json};

/// Reads an index file that must be readable.
pub(crate) async fn read_index_file(repository: &Arc<Inner>, id: IndexId) -> Result<IndexFile> {
    let content = repository.storage.read(FileKind::Index, &id.into()).await?;
    let key = repository.key.clone();
    blocking(move || {
        let damaged =
            |reason: String| Error::RepairNeeded { reason: format!("index file {id} is damaged: {reason}") };
        let file: IndexFile = sealed_json::open(&key, FileKind::Index, &id.into(), &content)
            .map_err(|error| damaged(error.to_string()))?;
        file.check().map_err(|reason| damaged(reason.into()))?;
        Ok(file)
    })
    .await
}

/// Collects packs into index files and writes those that are full.
pub(crate) struct IndexWriter<'a> {
    repository: &'a Arc<Inner>,
    packs: Vec<IndexPack>,
    blobs: usize,
    /// Packs that were added, with their numbers of blobs: two files that name a pack say the same.
    seen: HashSet<(PackId, usize)>,
    written: Vec<IndexId>,
}

impl<'a> IndexWriter<'a> {
    pub(crate) fn new(repository: &'a Arc<Inner>) -> Self {
        Self { repository, packs: Vec::new(), blobs: 0, seen: HashSet::new(), written: Vec::new() }
    }

    pub(crate) async fn add(&mut self, pack: IndexPack) -> Result<()> {
        if !self.seen.insert((pack.id, pack.blobs_len())) {
            return Ok(());
        }
        if self.blobs + pack.blobs_len() > BLOBS_PER_FILE && !self.packs.is_empty() {
            self.write().await?;
        }
        self.blobs += pack.blobs_len();
        self.packs.push(pack);
        Ok(())
    }

    pub(crate) async fn finish(mut self) -> Result<Vec<IndexId>> {
        if !self.packs.is_empty() {
            self.write().await?;
        }
        Ok(self.written)
    }

    async fn write(&mut self) -> Result<()> {
        self.blobs = 0;
        let packs = std::mem::take(&mut self.packs);
        self.written
            .push(write_index_file(self.repository, IndexFile { packs, ..IndexFile::default() }).await?);
        Ok(())
    }
}

/// Writes files of nothing but marks. The last one says that all together replace the older ones: until it is
/// there, those count too.
pub(super) async fn write_mark_files(
    repository: &Arc<Inner>,
    marks: Vec<MarkedPack>,
    supersedes: Vec<IndexId>,
) -> Result<Vec<IndexId>> {
    let (mut written, mut file, mut blobs) = (Vec::new(), IndexFile::default(), 0);
    for mark in marks {
        if blobs + mark.pack.blobs_len() > BLOBS_PER_FILE && !file.packs_to_delete.is_empty() {
            written.push(write_index_file(repository, std::mem::take(&mut file)).await?);
            blobs = 0;
        }
        blobs += mark.pack.blobs_len();
        file.packs_to_delete.push(mark);
    }
    if !file.packs_to_delete.is_empty() {
        file.supersedes = supersedes;
        written.push(write_index_file(repository, file).await?);
    }
    Ok(written)
}

async fn write_index_file(repository: &Arc<Inner>, file: IndexFile) -> Result<IndexId> {
    let key = repository.key.clone();
    let sealed = blocking(move || sealed_json::seal(&key, &file)).await?;
    repository.storage.write(FileKind::Index, &sealed.id, sealed.content).await?;
    Ok(sealed.id.into())
}
