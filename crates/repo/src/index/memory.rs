//! The index in memory: 48 bytes per blob, and some more for its table and its packs.
//!
//! Most entries lie in one sorted array. Ids are hashes, so that their first bits spread evenly: a table of where
//! each prefix begins leaves about eight entries to search. What is added later waits in a small ordered set and
//! is merged into the array when it has grown to an eighth of it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::SystemTime;

use super::{IndexFile, IndexPack, MarkedPack, Place};
use crate::pack::{self, BlobKind, PackedBlob};
use crate::{ChunkId, PackId};

/// A set smaller than this is never worth a merge.
const RECENT_MIN: usize = 1 << 16;

/// Entries per prefix, as a power of two.
const BUCKET_BITS: u32 = 3;

const TREE_BIT: u32 = 1 << 31;

/// One blob at one place. The same blob may have several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    id: [u8; 32],
    /// Number of the pack; the highest bit is set for trees.
    pack_and_kind: u32,
    offset: u32,
    length: u32,
    uncompressed: u32,
}

/// Where a blob lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) pack: PackId,
    pub(crate) blob: PackedBlob,
    /// The pack was not in the last listing, or had another size.
    pub(crate) is_missing: bool,
    /// A prune has marked the pack: it may be read as long as it is there, but nobody may rely on it.
    pub(crate) is_marked: bool,
    /// It was read, and was not what it must be.
    pub(crate) is_damaged: bool,
}

/// What the index knows of a pack.
#[derive(Clone, Debug)]
pub(crate) struct PackInfo {
    pub(crate) id: PackId,
    /// The size that its blobs make.
    pub(crate) size_bytes: u64,
    /// It was not in the last listing, or had another size.
    pub(crate) is_missing: bool,
    /// Set for a pack that is marked for deletion.
    pub(crate) mark: Option<Mark>,
}

/// A prune's mark on a pack. An index file that names the pack as any other outweighs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// When the pack was marked, as far as we know; of several marks the latest.
    pub(crate) time: Option<SystemTime>,
}

/// All blobs of a repository.
#[derive(Debug, Default)]
pub(crate) struct Index {
    sorted: Vec<Entry>,
    /// `sorted[starts[p]..starts[p + 1]]` are the ids with prefix `p`.
    starts: Vec<u32>,
    recent: BTreeSet<Entry>,
    packs: Vec<PackInfo>,
    pack_numbers: HashMap<PackId, u32>,
    damaged: HashSet<Place>,
}

/// Fills an index from many files without keeping order meanwhile.
#[derive(Debug, Default)]
pub(crate) struct IndexLoader {
    index: Index,
    /// Packs that a second file names.
    repeated: Vec<IndexPack>,
    marked: Vec<MarkedPack>,
}

impl IndexLoader {
    /// Takes over what a file says.
    pub(crate) fn absorb(&mut self, file: IndexFile) {
        for pack in file.packs {
            let (number, is_new) = self.index.pack_number(pack.id);
            if is_new {
                let blobs_bytes = pack.blobs().map(|blob| pack::blob_size_bytes(&blob)).sum::<u64>();
                self.index.packs[number as usize].size_bytes += blobs_bytes;
                self.index.sorted.extend(pack.blobs().map(|blob| Entry::new(number, &blob)));
            } else {
                self.repeated.push(pack);
            }
        }
        self.marked.extend(file.packs_to_delete);
    }

    /// The finished index.
    pub(crate) fn finish(self) -> Index {
        let mut index = self.index;
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        sort(&mut index.sorted, threads);
        index.sorted.shrink_to_fit();
        index.starts = starts(&index.sorted);
        for pack in self.repeated {
            index.insert(pack.id, pack.blobs());
        }
        for marked in self.marked {
            index.insert_marked(&marked);
        }
        index
    }
}

impl Index {
    /// Adds a pack. A pack that is known already only gains the blobs that were not, and loses its mark.
    pub(crate) fn insert(&mut self, pack: PackId, blobs: impl IntoIterator<Item = PackedBlob>) {
        let (number, is_new) = self.pack_number(pack);
        self.packs[number as usize].mark = None;
        self.insert_blobs(number, is_new, blobs);
    }

    /// Adds a pack that is marked for deletion. One that is known without a mark stays without one.
    pub(crate) fn insert_marked(&mut self, marked: &MarkedPack) {
        let (number, is_new) = self.pack_number(marked.pack.id);
        let info = &mut self.packs[number as usize];
        match &mut info.mark {
            Some(mark) => mark.time = mark.time.zip(marked.time).map(|(one, other)| one.max(other)),
            None if is_new => info.mark = Some(Mark { time: marked.time }),
            None => return,
        }
        self.insert_blobs(number, is_new, marked.pack.blobs());
    }

    fn insert_blobs(&mut self, number: u32, is_new: bool, blobs: impl IntoIterator<Item = PackedBlob>) {
        for blob in blobs {
            let entry = Entry::new(number, &blob);
            if (is_new || !self.contains_entry(&entry)) && self.recent.insert(entry) {
                self.packs[number as usize].size_bytes += pack::blob_size_bytes(&blob);
            }
        }
        if self.recent.len() > RECENT_MIN.max(self.sorted.len() >> BUCKET_BITS) {
            self.compact();
        }
    }

    /// Merges what was added lately into the sorted array.
    fn compact(&mut self) {
        self.sorted.extend(std::mem::take(&mut self.recent));
        // A stable sort merges the two sorted runs instead of starting over.
        self.sorted.sort();
        self.starts = starts(&self.sorted);
    }

    /// The places of a blob. Those in marked packs come last; otherwise in no particular order.
    pub(crate) fn find(&self, kind: BlobKind, id: &[u8; 32]) -> impl Iterator<Item = Location> {
        let places = |is_marked| {
            let of_kind = self.entries(id).filter(move |entry| entry.kind() == kind);
            of_kind.map(|entry| self.location(entry)).filter(move |location| location.is_marked == is_marked)
        };
        places(false).chain(places(true))
    }

    /// The places of a blob on which one may rely: whole as far as is known, in packs that are there and not marked.
    pub(crate) fn find_reliable(&self, kind: BlobKind, id: &[u8; 32]) -> impl Iterator<Item = Location> {
        let of_kind = self.entries(id).filter(move |entry| entry.kind() == kind);
        of_kind.map(|entry| self.location(entry)).filter(Location::is_reliable)
    }

    /// Whether a blob has a place on which one may rely.
    pub(crate) fn contains(&self, kind: BlobKind, id: &[u8; 32]) -> bool {
        self.find_reliable(kind, id).next().is_some()
    }

    /// The plain length of a chunk that may be read, be it from a place on which nobody may rely.
    pub(crate) fn readable_bytes_of(&self, id: &ChunkId) -> Option<u32> {
        let places = self.find(BlobKind::Data, id.as_bytes());
        places.min_by_key(Location::is_doubtful).map(|place| place.blob.plain_bytes())
    }

    /// The plain length of a chunk that has a place on which one may rely.
    pub(crate) fn plain_bytes_of(&self, id: &ChunkId) -> Option<u32> {
        let location = self.find_reliable(BlobKind::Data, id.as_bytes()).next();
        location.map(|location| location.blob.plain_bytes())
    }

    /// All packs, marked ones too, in the order of their numbers. Numbers hold until the index is read anew.
    pub(crate) fn packs(&self) -> &[PackInfo] {
        &self.packs
    }

    /// How many packs there are that are not marked.
    pub(crate) fn unmarked_packs_len(&self) -> usize {
        self.packs.iter().filter(|pack| pack.mark.is_none()).count()
    }

    /// What is known of a pack, if it is known.
    pub(crate) fn pack(&self, pack: &PackId) -> Option<&PackInfo> {
        self.pack_numbers.get(pack).map(|number| &self.packs[*number as usize])
    }

    /// Every blob at every place with the number of its pack (see [`Self::packs`]), one
    /// pass for whoever needs sums.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = (u32, PackedBlob)> {
        let entries = self.sorted.iter().chain(&self.recent);
        entries.map(|entry| (entry.pack_number(), entry.blob()))
    }

    pub(crate) fn contains_pack(&self, pack: &PackId) -> bool {
        self.pack_numbers.contains_key(pack)
    }

    /// The packs that were there in the last listing and are not marked, with their sizes in bytes.
    pub(crate) fn present_packs(&self) -> impl Iterator<Item = (PackId, u64)> {
        let present = self.packs.iter().filter(|pack| !pack.is_missing && pack.mark.is_none());
        present.map(|pack| (pack.id, pack.size_bytes))
    }

    /// The blobs of one pack, in the order in which they lie. Looks at every entry: for the rare case of damage.
    pub(crate) fn blobs_of(&self, pack: &PackId) -> Vec<PackedBlob> {
        let Some(number) = self.pack_numbers.get(pack) else { return Vec::new() };
        let entries = self.sorted.iter().chain(&self.recent);
        let of_pack = entries.filter(|entry| entry.pack_number() == *number);
        let mut blobs: Vec<_> = of_pack.map(Entry::blob).collect();
        blobs.sort_unstable_by_key(|blob| blob.offset);
        blobs
    }

    /// Holds the first `known_len` packs against a complete listing: whatever is not in it with the right size is
    /// missing. Returns those that are, without the marked ones.
    pub(crate) fn mark_missing(
        &mut self,
        sizes_bytes: &HashMap<PackId, u64>,
        known_len: usize,
    ) -> Vec<PackId> {
        let known_len = known_len.min(self.packs.len());
        for pack in &mut self.packs[..known_len] {
            pack.is_missing = sizes_bytes.get(&pack.id) != Some(&pack.size_bytes);
        }
        let missing = self.packs[..known_len].iter().filter(|pack| pack.is_missing && pack.mark.is_none());
        missing.map(|pack| pack.id).collect()
    }

    /// That a pack is not there was found by reading it.
    pub(crate) fn set_missing(&mut self, pack: &PackId) {
        if let Some(number) = self.pack_numbers.get(pack) {
            self.packs[*number as usize].is_missing = true;
        }
    }

    /// Which places are damaged, of packs known and unknown.
    pub(crate) fn set_damaged(&mut self, places: HashSet<Place>) {
        self.damaged = places;
    }

    /// How many places of blobs there are, those in marked packs included.
    pub(crate) fn blobs_len(&self) -> usize {
        self.sorted.len() + self.recent.len()
    }

    /// What the index takes, without the spare room of its tables and what was added lately.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let packs = self.packs.len() * (size_of::<PackInfo>() + size_of::<(PackId, u32)>() + 1);
        (self.sorted.len() * size_of::<Entry>() + self.starts.len() * size_of::<u32>() + packs) as u64
    }

    fn pack_number(&mut self, id: PackId) -> (u32, bool) {
        if let Some(number) = self.pack_numbers.get(&id) {
            return (*number, false);
        }
        // Two thousand million packs are four hundred times the largest repository that fits into memory.
        let number = u32::try_from(self.packs.len()).unwrap_or(u32::MAX).min(TREE_BIT - 1);
        self.packs.push(PackInfo { id, size_bytes: pack::size_bytes([]), is_missing: false, mark: None });
        self.pack_numbers.insert(id, number);
        (number, true)
    }

    fn contains_entry(&self, wanted: &Entry) -> bool {
        self.entries(&wanted.id).any(|entry| entry == wanted)
    }

    fn entries<'a>(&'a self, id: &[u8; 32]) -> impl Iterator<Item = &'a Entry> + use<'a> {
        self.sorted_entries(id).iter().chain(self.recent.range(Entry::first(id)..=Entry::last(id)))
    }

    fn sorted_entries(&self, id: &[u8; 32]) -> &[Entry] {
        let prefix = prefix(id, prefix_bits(self.sorted.len()));
        let (Some(&start), Some(&end)) = (self.starts.get(prefix), self.starts.get(prefix + 1)) else {
            return &[];
        };
        let bucket = &self.sorted[start as usize..end as usize];
        let first = bucket.partition_point(|entry| entry.id < *id);
        let len = bucket[first..].iter().take_while(|entry| entry.id == *id).count();
        &bucket[first..first + len]
    }

    fn location(&self, entry: &Entry) -> Location {
        let pack = &self.packs[entry.pack_number() as usize];
        Location {
            pack: pack.id,
            blob: entry.blob(),
            is_missing: pack.is_missing,
            is_marked: pack.mark.is_some(),
            // Nearly always there is none, and nothing is hashed.
            is_damaged: !self.damaged.is_empty() && self.damaged.contains(&(pack.id, entry.offset)),
        }
    }
}

impl Location {
    /// Whether a new restore point may rely on it.
    pub(crate) fn is_reliable(&self) -> bool {
        !self.is_doubtful() && !self.is_marked
    }

    /// Whether reading it is worth a try only where there is no other: packs come back, and media fail for a moment.
    pub(crate) fn is_doubtful(&self) -> bool {
        self.is_missing || self.is_damaged
    }
}

impl Entry {
    fn new(pack_number: u32, blob: &PackedBlob) -> Self {
        let kind_bit = if blob.kind == BlobKind::Tree { TREE_BIT } else { 0 };
        Self {
            id: blob.id,
            pack_and_kind: pack_number | kind_bit,
            offset: blob.offset,
            length: blob.length,
            uncompressed: blob.uncompressed,
        }
    }

    fn first(id: &[u8; 32]) -> Self {
        Self { id: *id, pack_and_kind: 0, offset: 0, length: 0, uncompressed: 0 }
    }

    fn last(id: &[u8; 32]) -> Self {
        let max = u32::MAX;
        Self { id: *id, pack_and_kind: max, offset: max, length: max, uncompressed: max }
    }

    fn pack_number(&self) -> u32 {
        self.pack_and_kind & !TREE_BIT
    }

    fn kind(&self) -> BlobKind {
        if self.pack_and_kind & TREE_BIT == 0 { BlobKind::Data } else { BlobKind::Tree }
    }

    fn blob(&self) -> PackedBlob {
        PackedBlob {
            kind: self.kind(),
            id: self.id,
            offset: self.offset,
            length: self.length,
            uncompressed: self.uncompressed,
        }
    }
}

/// Fewer entries are sorted faster by one thread.
const PARALLEL_SORT_MIN: usize = 1 << 14;

/// Sorts in place, so that opening takes no more memory than the index does.
fn sort(entries: &mut [Entry], threads: usize) {
    if threads < 2 || entries.len() < PARALLEL_SORT_MIN {
        entries.sort_unstable();
        return;
    }
    let middle = entries.len() / 2;
    let (low, _, high) = entries.select_nth_unstable(middle);
    std::thread::scope(|scope| {
        scope.spawn(|| sort(low, threads / 2));
        sort(high, threads - threads / 2);
    });
}

/// How many bits of an id choose its place in the table.
fn prefix_bits(entries_len: usize) -> u32 {
    entries_len.checked_ilog2().unwrap_or(0).saturating_sub(BUCKET_BITS)
}

fn prefix(id: &[u8; 32], bits: u32) -> usize {
    let head = u32::from_be_bytes([id[0], id[1], id[2], id[3]]);
    head.checked_shr(u32::BITS - bits).unwrap_or(0) as usize
}

/// The table of [`Index::starts`].
fn starts(sorted: &[Entry]) -> Vec<u32> {
    let bits = prefix_bits(sorted.len());
    let mut starts = Vec::with_capacity((1 << bits) + 1);
    for (position, entry) in (0_u32..).zip(sorted) {
        while starts.len() <= prefix(&entry.id, bits) {
            starts.push(position);
        }
    }
    // Four thousand million entries are 200 GB of memory: the cast cannot lose anything before that.
    starts.resize((1 << bits) + 1, u32::try_from(sorted.len()).unwrap_or(u32::MAX));
    starts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_blob(number: u32) -> PackedBlob {
        let id = *ChunkId::of(&number.to_le_bytes()).as_bytes();
        PackedBlob {
            kind: BlobKind::Data,
            id,
            offset: number % 1000 * 100,
            length: 100,
            uncompressed: number,
        }
    }

    fn a_pack(number: u32) -> PackId {
        PackId::of(&number.to_le_bytes())
    }

    #[test]
    fn every_blob_is_found_before_and_after_merges_and_no_other() {
        for len in [0, 1, 7, 8, 9, 1000, 200_000] {
            let mut index = Index::default();
            for number in 0..len {
                index.insert(a_pack(number / 1000), [a_blob(number)]);
            }
            for number in 0..len {
                let found: Vec<_> = index.find(BlobKind::Data, &a_blob(number).id).collect();
                let expected = Location {
                    pack: a_pack(number / 1000),
                    blob: a_blob(number),
                    is_missing: false,
                    is_marked: false,
                    is_damaged: false,
                };
                assert_eq!(found, [expected]);
            }
            for number in len..len + 100 {
                assert!(!index.contains(BlobKind::Data, &a_blob(number).id));
                assert!(!index.contains(BlobKind::Tree, &a_blob(number - len).id));
            }
            assert_eq!(index.blobs_len(), len as usize);
        }
    }

    #[test]
    fn a_blob_in_two_packs_has_two_places_and_survives_the_loss_of_one() {
        let mut index = Index::default();
        index.insert(a_pack(1), [a_blob(1)]);
        index.compact();
        index.insert(a_pack(2), [a_blob(1)]);
        assert_eq!(index.find(BlobKind::Data, &a_blob(1).id).count(), 2);
        let sizes = HashMap::from([(a_pack(2), pack::size_bytes(&[a_blob(1)]))]);
        assert_eq!(index.mark_missing(&sizes, 2), [a_pack(1)]);
        assert!(index.contains(BlobKind::Data, &a_blob(1).id));
        assert_eq!(index.mark_missing(&HashMap::new(), 2).len(), 2);
        assert!(!index.contains(BlobKind::Data, &a_blob(1).id));
    }

    #[test]
    fn a_pack_that_two_index_files_name_counts_once() {
        let blobs = [a_blob(1), a_blob(2)];
        let mut index = Index::default();
        index.insert(a_pack(1), blobs);
        index.compact();
        index.insert(a_pack(1), blobs);
        assert_eq!(index.present_packs().collect::<Vec<_>>(), [(a_pack(1), pack::size_bytes(&blobs))]);
        assert_eq!(index.blobs_of(&a_pack(1)), blobs);
        assert_eq!(index.blobs_len(), 2);
    }

    #[test]
    fn a_loaded_index_is_the_same_as_one_that_grew() {
        let blobs: Vec<_> = (0..5000).map(a_blob).collect();
        let (mut loader, mut grown) = (IndexLoader::default(), Index::default());
        for (number, blobs) in (0..).zip(blobs.chunks(100)) {
            // Every third pack is named by two files.
            let packs = vec![IndexPack::new(a_pack(number), blobs); if number % 3 == 0 { 2 } else { 1 }];
            loader.absorb(IndexFile { packs, ..IndexFile::default() });
            grown.insert(a_pack(number), blobs.iter().copied());
        }
        let at_once = loader.finish();
        assert_eq!(at_once.blobs_len(), grown.blobs_len());
        assert_eq!(at_once.present_packs().collect::<Vec<_>>(), grown.present_packs().collect::<Vec<_>>());
        for blob in blobs {
            let places = |index: &Index| index.find(blob.kind, &blob.id).collect::<Vec<_>>();
            assert_eq!(places(&at_once), places(&grown));
        }
    }

    #[test]
    fn a_blob_in_a_marked_pack_is_found_last_and_does_not_count_as_there() {
        let mark = |number, time| {
            let pack = IndexPack::new(a_pack(number), &[a_blob(1)]);
            MarkedPack {
                pack,
                time: Some(SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(time)),
                settled: None,
            }
        };
        let mut index = Index::default();
        index.insert_marked(&mark(1, 5));
        index.insert_marked(&mark(1, 3));
        assert!(!index.contains(BlobKind::Data, &a_blob(1).id));
        assert_eq!(index.plain_bytes_of(&ChunkId::from_bytes(a_blob(1).id)), None);
        index.insert(a_pack(2), [a_blob(1)]);
        assert!(index.contains(BlobKind::Data, &a_blob(1).id));
        let places = |index: &Index| {
            index.find(BlobKind::Data, &a_blob(1).id).map(|l| (l.pack, l.is_marked)).collect::<Vec<_>>()
        };
        assert_eq!(places(&index), [(a_pack(2), false), (a_pack(1), true)]);
        assert_eq!(index.packs()[0].mark, Some(Mark { time: mark(1, 5).time }));
        assert_eq!(index.present_packs().count(), 1);
        assert_eq!(index.mark_missing(&HashMap::new(), 2), [a_pack(2)]);

        // Whoever names it as any other pack outweighs the mark, whichever comes first.
        index.insert(a_pack(1), [a_blob(1)]);
        index.insert_marked(&mark(1, 9));
        assert!(index.pack(&a_pack(1)).unwrap().mark.is_none());
        assert_eq!(index.blobs_of(&a_pack(1)), [a_blob(1)]);
        let mut loader = IndexLoader::default();
        loader.absorb(IndexFile { packs_to_delete: vec![mark(1, 1)], ..IndexFile::default() });
        let packs = vec![IndexPack::new(a_pack(1), &[a_blob(1)])];
        loader.absorb(IndexFile { packs, ..IndexFile::default() });
        assert!(loader.finish().contains(BlobKind::Data, &a_blob(1).id));
    }

    #[test]
    fn one_pass_yields_every_blob_with_the_number_of_its_pack() {
        let mut index = Index::default();
        for number in 0..100 {
            index.insert(a_pack(number / 10), [a_blob(number)]);
        }
        index.compact();
        index.insert(a_pack(10), [a_blob(100)]);
        let mut sums = vec![0; index.packs().len()];
        for (pack, blob) in index.blobs() {
            sums[pack as usize] += blob.length;
        }
        assert_eq!(sums, [[1000; 10].as_slice(), &[100]].concat());
        assert_eq!(index.packs()[10].id, a_pack(10));
    }

    #[test]
    fn a_pack_of_another_size_than_the_index_says_is_missing() {
        let mut index = Index::default();
        index.insert(a_pack(1), [a_blob(1)]);
        let size = pack::size_bytes(&[a_blob(1)]);
        assert_eq!(index.mark_missing(&HashMap::from([(a_pack(1), size - 1)]), 1), [a_pack(1)]);
        assert_eq!(index.mark_missing(&HashMap::from([(a_pack(1), size)]), 1), []);
    }

    #[test]
    fn an_entry_takes_48_bytes() {
        assert_eq!(size_of::<Entry>(), 48);
    }
}
