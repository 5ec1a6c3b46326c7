//! What index files and packs there are, read from the storage and nowhere else.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use futures::{StreamExt, TryStreamExt};
use sendense_storage::{ErrorKind, FileKind};
use tokio_util::sync::CancellationToken;

use super::index_files::read_index_file;
use super::protection;
use crate::index::{Damage, IndexFile, IndexPack, Place};
use crate::pack::{self, BlobKind, PackedBlob};
use crate::repository::Inner;
use crate::{Error, IndexId, PackId, Result};

/// Index files that are read at a time.
const READS_MAX: usize = 4;

/// How often reading begins again because somebody who takes no lock replaces index files meanwhile.
const READINGS_MAX: usize = 5;

/// All index files and packs.
#[derive(Default)]
pub(super) struct View {
    pub(super) files: Vec<FileView>,
    pub(super) packs: Vec<PackView>,
    numbers: HashMap<PackId, u32>,
    /// In the order of kind and id.
    pub(super) blobs: Vec<BlobView>,
    /// Packs that no index file names, with their sizes.
    pub(super) orphans: Vec<(PackId, u64)>,
    recorded: Damage,
    damaged: HashSet<Place>,
}

/// An index file.
pub(super) struct FileView {
    pub(super) id: IndexId,
    /// Numbers of the packs that it names as any other.
    pub(super) packs: Vec<u32>,
    /// Whether it names packs that are marked.
    pub(super) has_marks: bool,
    pub(super) blobs_len: usize,
    /// Whether another file says that what this one says counts no more.
    pub(super) is_superseded: bool,
    /// If it is a record of damage, the packs that it speaks of.
    pub(super) damaged_packs: Option<Vec<PackId>>,
    /// Until when it cannot be removed.
    pub(super) held_until: Option<SystemTime>,
    supersedes: Vec<IndexId>,
    marks: Vec<(u32, Option<SystemTime>)>,
}

impl FileView {
    /// Whether marks are all it has: then it is one of ours, and a newer one can replace what it says.
    pub(super) fn is_mark_file(&self) -> bool {
        self.has_marks && self.packs.is_empty()
    }

    /// Whether it only says something of packs that others name.
    pub(super) fn holds_no_packs(&self) -> bool {
        self.is_mark_file() || self.damaged_packs.is_some()
    }
}

/// A pack that an index file names.
pub(super) struct PackView {
    pub(super) id: PackId,
    /// The size that its blobs make.
    pub(super) indexed_bytes: u64,
    /// Its size in the listing of packs, if it is there.
    pub(super) listed_bytes: Option<u64>,
    /// Numbers of the files that name it as any other.
    pub(super) named_by: Vec<u32>,
    /// Its mark, where no file names it as any other.
    pub(super) mark: Option<MarkView>,
}

/// What all valid marks of a pack say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MarkView {
    /// Since when the mark is known to have been the only thing that index files said; `None` while that is unknown.
    pub(super) settled: Option<SystemTime>,
}

impl PackView {
    /// Whether it is there with the size that it must have. A marked one may be of unknown size.
    pub(super) fn is_present(&self) -> bool {
        let Some(listed_bytes) = self.listed_bytes else { return false };
        listed_bytes == self.indexed_bytes
    }

    /// Whether writers and readers may rely on it.
    pub(super) fn is_live(&self) -> bool {
        !self.named_by.is_empty()
    }
}

/// A blob at one place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BlobView {
    pub(super) kind: BlobKind,
    pub(super) id: [u8; 32],
    pub(super) pack: u32,
    pub(super) offset: u32,
    pub(super) length: u32,
    pub(super) uncompressed: u32,
}

impl BlobView {
    pub(super) fn blob(&self) -> PackedBlob {
        let Self { kind, id, offset, length, uncompressed, .. } = *self;
        PackedBlob { kind, id, offset, length, uncompressed }
    }
}

impl View {
    /// Reads all index files, then lists the packs. Fails when an index file cannot be read: what only that file
    /// names would look like garbage.
    pub(super) async fn read(
        repository: &Arc<Inner>,
        now: SystemTime,
        cancel: &CancellationToken,
    ) -> Result<Self> {
        for _ in 1..READINGS_MAX {
            if cancel.is_cancelled() {
                return Err(Error::Cancelled);
            }
            if let Some(mut view) = Self::read_once(repository).await? {
                view.list_packs(repository).await?;
                protection::look_up_files(repository, &mut view.files, now).await?;
                return Ok(view);
            }
        }
        let reason = "index files are being replaced by somebody who takes no lock".into();
        Err(Error::RepairNeeded { reason })
    }

    /// `None` when an index file vanished meanwhile: what it said may be in a file that the listing does not show.
    async fn read_once(repository: &Arc<Inner>) -> Result<Option<Self>> {
        let mut view = Self::default();
        let entries = repository.storage.list(FileKind::Index).await?;
        let mut files = futures::stream::iter(entries)
            .map(|entry| async move {
                let id = IndexId::from(entry.id);
                read_index_file(repository, id).await.map(|file| (id, file))
            })
            .buffer_unordered(READS_MAX);
        loop {
            match files.try_next().await {
                Ok(Some((id, file))) => view.absorb(id, &file),
                Ok(None) => break,
                Err(Error::Storage(error)) if error.kind() == ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        drop(files);
        let listed = repository.storage.list(FileKind::Index).await?;
        let listed: HashSet<IndexId> = listed.into_iter().map(|entry| entry.id.into()).collect();
        if view.files.iter().any(|file| !listed.contains(&file.id)) {
            return Ok(None);
        }
        view.finish();
        Ok(Some(view))
    }

    fn absorb(&mut self, id: IndexId, file: &IndexFile) {
        let file_number = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        let mut view = FileView {
            id,
            packs: Vec::with_capacity(file.packs.len()),
            has_marks: !file.packs_to_delete.is_empty(),
            blobs_len: file.packs.iter().map(IndexPack::blobs_len).sum(),
            is_superseded: false,
            damaged_packs: file.is_damage_record().then(|| file.damaged.iter().map(|pack| pack.id).collect()),
            held_until: None,
            supersedes: file.supersedes.clone(),
            marks: Vec::with_capacity(file.packs_to_delete.len()),
        };
        for pack in &file.packs {
            let number = self.absorb_pack(pack);
            self.packs[number as usize].named_by.push(file_number);
            view.packs.push(number);
        }
        for marked in &file.packs_to_delete {
            let number = self.absorb_pack(&marked.pack);
            view.marks.push((number, marked.settled));
        }
        self.recorded.absorb(id, file);
        self.files.push(view);
    }

    fn absorb_pack(&mut self, pack: &IndexPack) -> u32 {
        let next = u32::try_from(self.packs.len()).unwrap_or(u32::MAX);
        let number = *self.numbers.entry(pack.id).or_insert(next);
        if number == next {
            self.packs.push(PackView {
                id: pack.id,
                indexed_bytes: pack::size_bytes([]),
                listed_bytes: None,
                named_by: Vec::new(),
                mark: None,
            });
        }
        self.blobs.extend(pack.blobs().map(|blob| BlobView {
            kind: blob.kind,
            id: blob.id,
            pack: number,
            offset: blob.offset,
            length: blob.length,
            uncompressed: blob.uncompressed,
        }));
        number
    }

    /// Orders the blobs, counts the sizes of packs and decides which marks are valid.
    fn finish(&mut self) {
        self.blobs.sort_unstable();
        // A pack that two files name has each blob twice.
        self.blobs.dedup();
        for blob in &self.blobs {
            self.packs[blob.pack as usize].indexed_bytes +=
                pack::size_bytes([&blob.blob()]) - pack::size_bytes([]);
        }
        self.damaged = self.recorded.places();
        let superseded: HashSet<IndexId> =
            self.files.iter().flat_map(|file| file.supersedes.iter().copied()).collect();
        for file in &mut self.files {
            // Packs that a superseded file names count all the same: at worst they stay too long.
            file.is_superseded = file.holds_no_packs() && superseded.contains(&file.id);
        }
        let valid = self.files.iter().filter(|file| !file.is_superseded);
        for (number, settled) in valid.flat_map(|file| file.marks.iter().copied()) {
            let pack = &mut self.packs[number as usize];
            if pack.named_by.is_empty() {
                // The weakest counts: one that is not settled says that we do not know.
                let settled = match pack.mark {
                    Some(other) => other.settled.zip(settled).map(|(one, two)| one.max(two)),
                    None => settled,
                };
                pack.mark = Some(MarkView { settled });
            }
        }
    }

    async fn list_packs(&mut self, repository: &Inner) -> Result<()> {
        for entry in repository.storage.list(FileKind::Pack).await? {
            let id = PackId::from(entry.id);
            match self.numbers.get(&id) {
                Some(number) => {
                    let pack = &mut self.packs[*number as usize];
                    pack.listed_bytes = Some(entry.size_bytes);
                    if pack.is_live() || pack.mark.is_some() {
                        continue;
                    }
                    // Only a mark that no longer counts names it.
                    self.orphans.push((id, entry.size_bytes));
                }
                None => self.orphans.push((id, entry.size_bytes)),
            }
        }
        Ok(())
    }

    /// All places of a blob: the numbers of their entries.
    pub(super) fn places(&self, kind: BlobKind, id: &[u8; 32]) -> std::ops::Range<usize> {
        let start = self.blobs.partition_point(|blob| (blob.kind, blob.id) < (kind, *id));
        let len = self.blobs[start..].iter().take_while(|blob| blob.kind == kind && blob.id == *id).count();
        start..start + len
    }

    /// Whether a place is in a pack that is there, and whole as far as is known.
    pub(super) fn is_whole(&self, place: usize) -> bool {
        let blob = &self.blobs[place];
        let pack = self.pack(blob.pack);
        pack.is_present() && !self.damaged.contains(&(pack.id, blob.offset))
    }

    pub(super) fn pack(&self, number: u32) -> &PackView {
        &self.packs[number as usize]
    }

    pub(super) fn find(&self, id: &PackId) -> Option<&PackView> {
        self.numbers.get(id).map(|number| self.pack(*number))
    }
}
