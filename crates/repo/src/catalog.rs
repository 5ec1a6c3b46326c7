//! What the repository has: the index in memory and the index files it comes from.
//!
//! A pack is known from the moment it is durable, and its entries wait for the next index file. Four locks, always
//! taken in this order: `files` (held over storage operations: one refresh or one index file at a time),
//! `unindexed`, `damage`, `index`.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Instant;

use futures::{StreamExt, TryStreamExt};
use sendense_storage::{ErrorKind, FileKind, Storage};

use crate::blocking::blocking;
use crate::crypto::Key;
use crate::index::{Damage, Index, IndexFile, IndexLoader, IndexPack, MarkedPack};
use crate::pack::PackedBlob;
use crate::{Error, IndexId, PackId, Result, sealed_json};

/// Index files read at a time. One takes some 50 MB of memory while it is read.
const READS_MAX: usize = 4;

/// How often a refresh begins again because another tool replaces index files meanwhile.
const REFRESHES_MAX: usize = 10;

/// Other tools read a whole index file into memory.
pub(crate) const BLOBS_PER_FILE: usize = 50_000;

/// An index file that could not be read. Its packs look like packs without index until it is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DamagedIndex {
    /// The file.
    pub id: IndexId,
    /// What is wrong with it.
    pub reason: String,
}

pub(crate) struct Catalog {
    storage: Arc<dyn Storage>,
    key: Key,
    files: tokio::sync::Mutex<Files>,
    unindexed: Mutex<Unindexed>,
    damage: Mutex<Damage>,
    index: RwLock<Index>,
    /// How often the index was read anew or damage was found: only then can one rely on less than before.
    generation: AtomicU64,
}

/// The index files that were read or written.
#[derive(Default)]
struct Files {
    known: HashSet<IndexId>,
    /// Those that could not be read. Each refresh tries again: a medium or a line may have failed once.
    damaged: Vec<DamagedIndex>,
}

/// Packs that are durable and in no index file yet.
#[derive(Default)]
struct Unindexed {
    packs: Vec<IndexPack>,
    stored_bytes: u64,
    since: Option<Instant>,
}

/// How much there is that a crash would leave to be found by the headers of packs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct UnindexedAmount {
    pub(crate) stored_bytes: u64,
    pub(crate) since: Option<Instant>,
}

impl Catalog {
    pub(crate) fn new(storage: Arc<dyn Storage>, key: Key) -> Self {
        Self {
            storage,
            key,
            files: tokio::sync::Mutex::default(),
            unindexed: Mutex::default(),
            damage: Mutex::default(),
            index: RwLock::default(),
            generation: AtomicU64::new(0),
        }
    }

    pub(crate) fn index(&self) -> RwLockReadGuard<'_, Index> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn damage(&self) -> MutexGuard<'_, Damage> {
        self.damage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings the index up to date with the index files. Those that are new are read; when one has vanished,
    /// somebody has pruned, and everything is read anew.
    pub(crate) async fn refresh(&self) -> Result<()> {
        let mut files = self.files.lock().await;
        for _ in 1..REFRESHES_MAX {
            match self.refresh_once(&mut files).await {
                // While a prune replaces files, a listing may show neither the old one nor the new one: what was
                // read anew counts when the next listing shows all of it.
                Ok(Refreshed::Anew) => {}
                Ok(Refreshed::Grown) => return Ok(()),
                // A file has vanished between the listing and the reading.
                Err(Error::Storage(error)) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        self.refresh_once(&mut files).await.map(|_| ())
    }

    async fn refresh_once(&self, files: &mut Files) -> Result<Refreshed> {
        let entries = self.storage.list(FileKind::Index).await?;
        let listed: HashSet<IndexId> = entries.iter().map(|entry| entry.id.into()).collect();
        files.damaged.retain(|damaged| listed.contains(&damaged.id));
        if listed.is_empty() && files.known.is_empty() {
            return Ok(Refreshed::Grown);
        }
        let is_first = files.known.is_empty() && files.damaged.is_empty();
        if is_first || !files.known.is_subset(&listed) {
            *files = self.read_anew(listed).await?;
            return Ok(Refreshed::Anew);
        }
        let new: Vec<IndexId> = listed.difference(&files.known).copied().collect();
        if self.read_new(files, new).await? == Refreshed::Anew {
            *files = self.read_anew(listed).await?;
            return Ok(Refreshed::Anew);
        }
        Ok(Refreshed::Grown)
    }

    /// While this number stays the same, there is only more on which one may rely.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Relaxed)
    }

    /// The index files that say what the index says.
    pub(crate) async fn index_files(&self) -> Vec<IndexId> {
        self.files.lock().await.known.iter().copied().collect()
    }

    /// The index files that could not be read.
    pub(crate) async fn damaged(&self) -> Vec<DamagedIndex> {
        self.files.lock().await.damaged.clone()
    }

    /// Adds a durable pack.
    pub(crate) fn add_pack(&self, pack: PackId, blobs: &[PackedBlob], stored_bytes: u64) {
        // Both under one lock: a refresh that starts anew must find the pack in one of the two.
        let mut unindexed = self.unindexed.lock().unwrap_or_else(PoisonError::into_inner);
        unindexed.packs.push(IndexPack::new(pack, blobs));
        unindexed.stored_bytes += stored_bytes;
        unindexed.since.get_or_insert_with(Instant::now);
        self.index_mut().insert(pack, blobs.iter().copied());
    }

    pub(crate) fn unindexed_amount(&self) -> UnindexedAmount {
        let unindexed = self.unindexed.lock().unwrap_or_else(PoisonError::into_inner);
        UnindexedAmount { stored_bytes: unindexed.stored_bytes, since: unindexed.since }
    }

    /// Writes index files until every pack that was durable before the call is in one.
    pub(crate) async fn write_index(&self) -> Result<()> {
        let mut files = self.files.lock().await;
        let packs = std::mem::take(&mut *self.unindexed.lock().unwrap_or_else(PoisonError::into_inner));
        let mut rest = packs.packs.as_slice();
        while !rest.is_empty() {
            let (file_packs, next) = rest.split_at(packs_per_file(rest));
            match self.write_file(file_packs).await {
                Ok(id) => files.known.insert(id),
                Err(error) => {
                    // What is not in a file yet waits for the next try.
                    let mut unindexed = self.unindexed.lock().unwrap_or_else(PoisonError::into_inner);
                    unindexed.packs.extend_from_slice(rest);
                    unindexed.since.get_or_insert_with(Instant::now);
                    return Err(error);
                }
            };
            rest = next;
        }
        self.write_damage(&mut files).await
    }

    /// Notes which of the places of a pack that were read are damaged; the others that were are whole. Nobody relies on
    /// a damaged one from now on, and after the next index file no other process does.
    pub(crate) fn judge(&self, pack: PackId, is_read: impl Fn(u32) -> bool, damaged: &[u32]) {
        let mut damage = self.damage();
        if !damage.judge(pack, is_read, damaged) {
            return;
        }
        self.index_mut().set_damaged(damage.places());
        if !damaged.is_empty() {
            self.generation.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes that a pack was not there when it was to be read. The next listing says whether that holds.
    pub(crate) fn miss(&self, pack: &PackId) {
        self.index_mut().set_missing(pack);
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    /// Writes down what is damaged, if that has changed.
    pub(crate) async fn record_damage(&self) -> Result<()> {
        let mut files = self.files.lock().await;
        self.write_damage(&mut files).await
    }

    async fn write_damage(&self, files: &mut Files) -> Result<()> {
        let record = self.damage().new_record(|pack| self.index().contains_pack(pack));
        let Some(record) = record else { return Ok(()) };
        let id = self.seal_and_write(record.file.clone()).await?;
        files.known.insert(id);
        self.damage().is_recorded(id, &record);
        let mut is_alone = true;
        for older in &record.older {
            is_alone &= self.try_remove(files, *older).await;
        }
        if record.is_empty && is_alone {
            self.try_remove(files, id).await;
        }
        Ok(())
    }

    /// Removes a record that counts no more. One that stays, because the storage protects it or we may not remove
    /// anything, does no harm.
    async fn try_remove(&self, files: &mut Files, id: IndexId) -> bool {
        let removed = self.storage.remove(FileKind::Index, &id.into()).await.is_ok();
        if removed {
            files.known.remove(&id);
        }
        removed
    }

    /// Holds all packs against a complete listing of the storage. Returns those that are missing or have a wrong
    /// size; their blobs count as absent from now on. Also returns the packs that no index file names.
    pub(crate) async fn verify_packs(&self) -> Result<PackListing> {
        // No refresh meanwhile: it may number the packs anew.
        let _files = self.files.lock().await;
        let known_len = self.index().packs().len();
        let entries = self.storage.list(FileKind::Pack).await?;
        let sizes: HashMap<PackId, u64> = entries.iter().map(|e| (e.id.into(), e.size_bytes)).collect();
        let mut index = self.index_mut();
        // A pack that became known after the listing began need not be in it.
        let missing = index.mark_missing(&sizes, known_len);
        let orphans = sizes.into_iter().filter(|(id, _)| !index.contains_pack(id)).collect();
        Ok(PackListing { missing, orphans })
    }

    async fn write_file(&self, packs: &[IndexPack]) -> Result<IndexId> {
        self.seal_and_write(IndexFile { packs: packs.to_vec(), ..IndexFile::default() }).await
    }

    async fn seal_and_write(&self, file: IndexFile) -> Result<IndexId> {
        let key = self.key.clone();
        let sealed = blocking(move || sealed_json::seal(&key, &file)).await?;
        self.storage.write(FileKind::Index, &sealed.id, sealed.content).await?;
        Ok(sealed.id.into())
    }

    /// Adds what new files say. Says so when that is not enough: a prune has marked a pack that was in no file yet, and
    /// in memory it looks as if one might rely on it.
    async fn read_new(&self, files: &mut Files, ids: Vec<IndexId>) -> Result<Refreshed> {
        let (mut refreshed, mut is_damage_told) = (Refreshed::Grown, false);
        files.damaged.retain(|damaged| !ids.contains(&damaged.id));
        let mut contents = std::pin::pin!(self.contents(ids));
        while let Some((id, content)) = contents.try_next().await? {
            match content {
                Ok(file) => {
                    if file.is_damage_record() {
                        is_damage_told = true;
                        self.damage().absorb(id, &file);
                    }
                    if self.is_unindexed(&file.packs_to_delete) {
                        refreshed = Refreshed::Anew;
                    }
                    let mut index = self.index_mut();
                    for pack in file.packs {
                        index.insert(pack.id, pack.blobs());
                    }
                    file.packs_to_delete.iter().for_each(|marked| index.insert_marked(marked));
                    files.known.insert(id);
                }
                Err(damaged) => files.damaged.push(damaged),
            }
        }
        if is_damage_told {
            let damage = self.damage();
            self.index_mut().set_damaged(damage.places());
            self.generation.fetch_add(1, Ordering::Relaxed);
        }
        Ok(refreshed)
    }

    fn is_unindexed(&self, marked: &[MarkedPack]) -> bool {
        let unindexed = self.unindexed.lock().unwrap_or_else(PoisonError::into_inner);
        marked.iter().any(|marked| unindexed.packs.iter().any(|pack| pack.id == marked.pack.id))
    }

    async fn read_anew(&self, listed: HashSet<IndexId>) -> Result<Files> {
        let mut reading = self.read_files(listed.iter().copied().collect()).await?;
        if reading.superseded.iter().any(|id| reading.with_packs.contains(id)) {
            // Rare: a tool died between writing a new index and removing the old ones. What they say is old.
            let current = listed.iter().filter(|id| !reading.superseded.contains(id));
            reading = self.read_files(current.copied().collect()).await?;
        }
        let Reading { loader, damaged, damage: recorded, .. } = reading;
        let mut index = blocking(move || Ok(loader.finish())).await?;
        let mut unindexed = self.unindexed.lock().unwrap_or_else(PoisonError::into_inner);
        // A pack that a prune has found in no index file and marked: only who relied on it before may take it back.
        unindexed.packs.retain(|pack| {
            let is_marked = index.pack(&pack.id).is_some_and(|known| known.mark.is_some());
            if is_marked {
                index.insert_marked(&MarkedPack { pack: pack.clone(), time: None, settled: None });
            } else {
                index.insert(pack.id, pack.blobs());
            }
            !is_marked
        });
        let mut damage = self.damage();
        damage.replace_records(recorded);
        index.set_damaged(damage.places());
        *self.index_mut() = index;
        self.generation.fetch_add(1, Ordering::Relaxed);
        let mut known = listed;
        known.retain(|id| damaged.iter().all(|damaged| damaged.id != *id));
        Ok(Files { known, damaged })
    }

    async fn read_files(&self, ids: Vec<IndexId>) -> Result<Reading> {
        let mut reading = Reading::default();
        let mut contents = std::pin::pin!(self.contents(ids));
        while let Some((id, content)) = contents.try_next().await? {
            match content {
                Ok(file) => {
                    reading.superseded.extend(file.supersedes.iter().copied());
                    if !file.packs.is_empty() {
                        reading.with_packs.insert(id);
                    }
                    reading.damage.absorb(id, &file);
                    reading.loader.absorb(file);
                }
                Err(damaged) => reading.damaged.push(damaged),
            }
        }
        Ok(reading)
    }

    /// Reads and opens index files, some at a time. Damage is a result, not an error.
    fn contents(
        &self,
        ids: Vec<IndexId>,
    ) -> impl futures::Stream<Item = Result<(IndexId, Result<IndexFile, DamagedIndex>)>> {
        futures::stream::iter(ids).map(|id| self.content(id)).buffer_unordered(READS_MAX)
    }

    async fn content(&self, id: IndexId) -> Result<(IndexId, Result<IndexFile, DamagedIndex>)> {
        match self.open(id).await {
            Ok(file) => Ok((id, Ok(file))),
            Err(Error::Damaged { reason, .. }) => Ok((id, Err(DamagedIndex { id, reason }))),
            Err(Error::Storage(error)) if error.kind() == ErrorKind::Damaged => {
                Ok((id, Err(DamagedIndex { id, reason: error.to_string() })))
            }
            Err(error) => Err(error),
        }
    }

    async fn open(&self, id: IndexId) -> Result<IndexFile> {
        let content = self.storage.read(FileKind::Index, &id.into()).await?;
        let key = self.key.clone();
        blocking(move || {
            let (kind, name) = (FileKind::Index, id.into());
            let file = sealed_json::open_with(&key, kind, &name, &content, IndexFile::parse)?;
            file.check().map_err(|reason| Error::damaged(FileKind::Index, &id, &reason))?;
            Ok(file)
        })
        .await
    }
}

/// What index files say that were read together.
#[derive(Default)]
struct Reading {
    loader: IndexLoader,
    superseded: HashSet<IndexId>,
    /// Files that name packs which are not marked. To read a file of marks that a newer one replaces does no harm.
    with_packs: HashSet<IndexId>,
    damage: Damage,
    damaged: Vec<DamagedIndex>,
}

/// How the index came up to date.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refreshed {
    /// By what new files say.
    Grown,
    /// From nothing.
    Anew,
}

/// What a listing of the packs says.
pub(crate) struct PackListing {
    /// Packs that the index names and that are not there, or have another size.
    pub(crate) missing: Vec<PackId>,
    /// Packs that are there and in no index, with their sizes in bytes.
    pub(crate) orphans: Vec<(PackId, u64)>,
}

/// How many of these packs one index file takes; at least one.
fn packs_per_file(packs: &[IndexPack]) -> usize {
    let mut blobs = 0;
    let fitting = packs.iter().take_while(|pack| {
        blobs += pack.blobs_len();
        blobs <= BLOBS_PER_FILE
    });
    fitting.count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ChunkId;
    use crate::pack::BlobKind;
    use sendense_storage::{FileId, MemoryStorage};
    use sendense_testkit::storage::{Fault, FaultyStorage, Operation, Verb};

    fn a_blob(number: u32) -> PackedBlob {
        let id = *ChunkId::of(&number.to_le_bytes()).as_bytes();
        PackedBlob { kind: BlobKind::Data, id, offset: 0, length: 100, uncompressed: 0 }
    }

    fn a_pack(number: u32) -> PackId {
        PackId::of(&number.to_le_bytes())
    }

    fn has(catalog: &Catalog, number: u32) -> bool {
        catalog.index().contains(BlobKind::Data, &a_blob(number).id)
    }

    fn a_catalog(storage: &Arc<MemoryStorage>, key: &Key) -> Catalog {
        Catalog::new(storage.clone(), key.clone())
    }

    /// An index file of another tool.
    async fn put(storage: &MemoryStorage, key: &Key, json: &str) -> FileId {
        let document: serde_json::Value = serde_json::from_str(json).unwrap();
        let file = sealed_json::seal(key, &document).unwrap();
        storage.write(FileKind::Index, &file.id, file.content).await.unwrap();
        file.id
    }

    fn pack_json(number: u32) -> String {
        serde_json::to_string(&IndexPack::new(a_pack(number), &[a_blob(number)])).unwrap()
    }

    #[tokio::test]
    async fn what_a_newer_index_file_supersedes_is_ignored() {
        let (storage, key) = (Arc::new(MemoryStorage::new()), Key::random());
        let old = put(&storage, &key, &format!(r#"{{"packs":[{}]}}"#, pack_json(1))).await;
        let json = format!(r#"{{"supersedes":["{old}"],"packs":[{}]}}"#, pack_json(2));
        put(&storage, &key, &json).await;
        let catalog = a_catalog(&storage, &key);
        catalog.refresh().await.unwrap();
        assert!(!has(&catalog, 1) && has(&catalog, 2));
    }

    #[tokio::test]
    async fn packs_that_a_prune_has_marked_are_neither_relied_on_nor_orphans() {
        let (storage, key) = (Arc::new(MemoryStorage::new()), Key::random());
        put(&storage, &key, &format!(r#"{{"packs":[],"packs_to_delete":[{}]}}"#, pack_json(1))).await;
        for number in [1, 2] {
            storage.write(FileKind::Pack, &a_pack(number).into(), vec![0; 9].into()).await.unwrap();
        }
        let catalog = a_catalog(&storage, &key);
        catalog.refresh().await.unwrap();
        assert!(!has(&catalog, 1));
        assert!(catalog.index().find(BlobKind::Data, &a_blob(1).id).all(|location| location.is_marked));
        assert_eq!(catalog.verify_packs().await.unwrap().orphans, [(a_pack(2), 9)]);
    }

    #[tokio::test]
    async fn a_marked_pack_that_an_index_file_names_again_may_be_relied_on() {
        let (storage, key) = (Arc::new(MemoryStorage::new()), Key::random());
        put(&storage, &key, &format!(r#"{{"packs":[],"packs_to_delete":[{}]}}"#, pack_json(1))).await;
        let catalog = a_catalog(&storage, &key);
        catalog.refresh().await.unwrap();
        catalog.add_pack(a_pack(1), &[a_blob(1)], 100);
        assert!(has(&catalog, 1));
        catalog.write_index().await.unwrap();
        let another = a_catalog(&storage, &key);
        another.refresh().await.unwrap();
        assert!(has(&another, 1));
    }

    #[tokio::test]
    async fn an_index_that_is_read_anew_keeps_the_packs_that_are_in_no_file_yet() {
        let (storage, key) = (Arc::new(MemoryStorage::new()), Key::random());
        let catalog = a_catalog(&storage, &key);
        catalog.add_pack(a_pack(1), &[a_blob(1)], 100);
        catalog.write_index().await.unwrap();
        catalog.add_pack(a_pack(2), &[a_blob(2)], 100);
        let pruned = storage.list(FileKind::Index).await.unwrap()[0].id;
        storage.remove(FileKind::Index, &pruned).await.unwrap();
        let generation = catalog.generation();
        catalog.refresh().await.unwrap();
        assert!(!has(&catalog, 1) && has(&catalog, 2));
        assert_ne!(catalog.generation(), generation);
        catalog.write_index().await.unwrap();
        let another = a_catalog(&storage, &key);
        another.refresh().await.unwrap();
        assert!(has(&another, 2));
    }

    #[tokio::test]
    async fn packs_wait_for_the_next_try_when_an_index_file_cannot_be_written() {
        let faulty = Arc::new(FaultyStorage::new(Arc::new(MemoryStorage::new())));
        let catalog = Catalog::new(faulty.clone(), Key::random());
        catalog.add_pack(a_pack(1), &[a_blob(1)], 100);
        faulty.break_at(0, Fault::Fail(ErrorKind::NoSpace));
        assert!(catalog.write_index().await.is_err());
        assert!(catalog.unindexed_amount().since.is_some());
        catalog.write_index().await.unwrap();
        assert!(catalog.unindexed_amount().since.is_none());
        assert_eq!(faulty.list(FileKind::Index).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn an_index_of_which_nothing_can_be_read_is_read_twice_and_not_ten_times() {
        let (storage, key) = (Arc::new(MemoryStorage::new()), Key::random());
        put(&storage, &Key::random(), &format!(r#"{{"packs":[{}]}}"#, pack_json(1))).await;
        let faulty = Arc::new(FaultyStorage::new(storage));
        let catalog = Catalog::new(faulty.clone(), key);
        catalog.refresh().await.unwrap();
        assert_eq!(catalog.damaged().await.len(), 1);
        let reads = |journal: Vec<Operation>| journal.iter().filter(|one| one.verb == Verb::Read).count();
        assert!(reads(faulty.journal()) <= 2, "{:?}", faulty.journal());
        faulty.repair();
        catalog.refresh().await.unwrap();
        assert_eq!(catalog.damaged().await.len(), 1);
        assert!(reads(faulty.journal()) <= 1, "{:?}", faulty.journal());
    }

    #[tokio::test]
    async fn many_blobs_are_spread_over_index_files() {
        let (storage, key) = (Arc::new(MemoryStorage::new()), Key::random());
        let catalog = a_catalog(&storage, &key);
        for pack in 0..7 {
            let blobs: Vec<_> = (0..20_000).map(|number| a_blob(pack * 20_000 + number)).collect();
            catalog.add_pack(a_pack(pack), &blobs, 1);
        }
        catalog.write_index().await.unwrap();
        assert_eq!(storage.list(FileKind::Index).await.unwrap().len(), 4);
        let another = a_catalog(&storage, &key);
        another.refresh().await.unwrap();
        assert_eq!(another.index().blobs_len(), 140_000);
    }
}
