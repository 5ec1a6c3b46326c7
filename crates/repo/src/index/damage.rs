//! Which places of blobs are known to be damaged.
//!
//! Whoever reads a place and finds something else there notes it: from then on nobody relies on it, a capture stores
//! its chunk again and a prune keeps another place of it. A reading that finds it whole takes the note back. What is
//! known outlives the process in an index file of its own, a record, which other tools take for an empty one.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::IndexFile;
use super::file::DamagedPack;
use crate::{IndexId, PackId};

/// A pack, and where in it a blob begins.
pub(crate) type Place = (PackId, u32);

/// What index files say, and what was found since.
#[derive(Debug, Default)]
pub(crate) struct Damage {
    records: HashMap<IndexId, Record>,
    /// Damaged, and in no record.
    found: HashSet<Place>,
    /// Whole, and damaged according to a record.
    healed: HashSet<Place>,
    /// The packs in which something is damaged: a check asks of every pack.
    packs: HashSet<PackId>,
}

#[derive(Debug)]
struct Record {
    places: HashSet<Place>,
    supersedes: Vec<IndexId>,
}

/// A record that is to be written.
pub(crate) struct NewRecord {
    pub(crate) file: IndexFile,
    /// It says all that matters of what these say.
    pub(crate) older: Vec<IndexId>,
    /// It says only that these count no more.
    pub(crate) is_empty: bool,
}

impl Damage {
    /// Takes over what an index file says.
    pub(crate) fn absorb(&mut self, id: IndexId, file: &IndexFile) {
        if file.is_damage_record() {
            let of_pack = |pack: &DamagedPack| {
                let id = pack.id;
                pack.offsets.iter().map(move |offset| (id, *offset)).collect::<Vec<_>>()
            };
            let places = file.damaged.iter().flat_map(of_pack).collect();
            self.records.insert(id, Record { places, supersedes: file.supersedes.clone() });
            self.note_packs();
        }
    }

    /// What all index files say was read anew.
    pub(crate) fn replace_records(&mut self, read: Self) {
        self.records = read.records;
        self.compare_with_records();
    }

    /// Forgets what was found since and stands in a record by now, or in none any more.
    fn compare_with_records(&mut self) {
        let recorded = self.recorded();
        self.found.retain(|place| !recorded.contains(place));
        self.healed.retain(|place| recorded.contains(place));
        self.note_packs();
    }

    /// Notes which of the places of a pack that were read are damaged; the others that were are not. Says whether that
    /// is news.
    pub(crate) fn judge(&mut self, pack: PackId, is_read: impl Fn(u32) -> bool, damaged: &[u32]) -> bool {
        if damaged.is_empty() && !self.packs.contains(&pack) {
            return false;
        }
        let (recorded, mut is_news) = (self.recorded(), false);
        for place in self.places() {
            if place.0 == pack && is_read(place.1) && !damaged.contains(&place.1) {
                is_news = true;
                self.found.remove(&place);
                if recorded.contains(&place) {
                    self.healed.insert(place);
                }
            }
        }
        for place in damaged.iter().map(|offset| (pack, *offset)) {
            is_news |= self.healed.remove(&place);
            if !recorded.contains(&place) {
                is_news |= self.found.insert(place);
            }
        }
        if is_news {
            self.note_packs();
        }
        is_news
    }

    fn note_packs(&mut self) {
        self.packs = self.places().into_iter().map(|(pack, _)| pack).collect();
    }

    /// All places that are damaged as far as is known.
    pub(crate) fn places(&self) -> HashSet<Place> {
        let mut places = self.recorded();
        places.extend(&self.found);
        places.retain(|place| !self.healed.contains(place));
        places
    }

    /// What is known and in no record yet: a record of it, and of what the others say of packs that are still known.
    pub(crate) fn new_record(&self, is_known: impl Fn(&PackId) -> bool) -> Option<NewRecord> {
        if self.found.is_empty() && self.healed.is_empty() {
            return None;
        }
        let mut packs = BTreeMap::<PackId, Vec<u32>>::new();
        for (pack, offset) in self.places().into_iter().filter(|(pack, _)| is_known(pack)) {
            packs.entry(pack).or_default().push(offset);
        }
        let pack = |(id, mut offsets): (PackId, Vec<u32>)| {
            offsets.sort_unstable();
            DamagedPack { id, offsets }
        };
        let damaged: Vec<DamagedPack> = packs.into_iter().map(pack).collect();
        let mut older: Vec<IndexId> = self.records.keys().copied().collect();
        older.sort_unstable();
        let is_empty = damaged.is_empty();
        let file = IndexFile { supersedes: older.clone(), damaged, ..IndexFile::default() };
        Some(NewRecord { file, older, is_empty })
    }

    /// The record is there, and those that it supersedes are gone or count no more.
    pub(crate) fn is_recorded(&mut self, id: IndexId, record: &NewRecord) {
        self.records.clear();
        self.absorb(id, &record.file);
        self.compare_with_records();
    }

    /// What the records say that count.
    fn recorded(&self) -> HashSet<Place> {
        let superseded: HashSet<&IndexId> =
            self.records.values().flat_map(|record| &record.supersedes).collect();
        let current = self.records.iter().filter(|(id, _)| !superseded.contains(id));
        current.flat_map(|(_, record)| record.places.iter().copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_pack(number: u8) -> PackId {
        PackId::of(&[number])
    }

    fn an_id(number: u8) -> IndexId {
        IndexId::from_bytes([number; 32])
    }

    /// Writes down what is known, as the catalog does; the older records stay, as where they are protected.
    fn record(damage: &mut Damage, id: u8) -> IndexFile {
        let record = damage.new_record(|_| true).unwrap();
        damage.is_recorded(an_id(id), &record);
        record.file
    }

    #[test]
    fn a_record_says_all_and_older_ones_that_stay_count_no_more() {
        let mut damage = Damage::default();
        assert!(damage.judge(a_pack(1), |_| true, &[0, 100]));
        assert!(!damage.judge(a_pack(1), |_| true, &[0, 100]), "no news");
        let first = record(&mut damage, 1);
        assert!(damage.new_record(|_| true).is_none(), "it is written down");
        assert!(damage.judge(a_pack(1), |offset| offset == 0, &[]));
        assert!(damage.judge(a_pack(2), |_| true, &[7]));
        let second = record(&mut damage, 2);
        assert_eq!(second.supersedes, [an_id(1)]);

        let mut read = Damage::default();
        read.absorb(an_id(1), &first);
        read.absorb(an_id(2), &second);
        assert_eq!(read.places(), HashSet::from([(a_pack(1), 100), (a_pack(2), 7)]));
        damage.replace_records(read);
        assert_eq!(damage.places(), HashSet::from([(a_pack(1), 100), (a_pack(2), 7)]));
    }

    #[test]
    fn what_is_found_while_a_record_is_written_or_read_is_not_lost() {
        let mut damage = Damage::default();
        damage.judge(a_pack(1), |_| true, &[0]);
        let being_written = damage.new_record(|_| true).unwrap();
        damage.judge(a_pack(2), |_| true, &[5]);
        damage.is_recorded(an_id(1), &being_written);
        assert_eq!(damage.places(), HashSet::from([(a_pack(1), 0), (a_pack(2), 5)]));
        damage.judge(a_pack(1), |_| true, &[]);
        let mut read = Damage::default();
        read.absorb(an_id(1), &being_written.file);
        damage.replace_records(read);
        assert_eq!(damage.places(), HashSet::from([(a_pack(2), 5)]));
    }

    #[test]
    fn packs_that_are_not_known_any_more_are_left_out() {
        let mut damage = Damage::default();
        damage.judge(a_pack(1), |_| true, &[0]);
        record(&mut damage, 1);
        damage.judge(a_pack(2), |_| true, &[3, 1]);
        let record = damage.new_record(|pack| *pack == a_pack(2)).unwrap();
        assert_eq!((record.file.damaged.len(), record.is_empty), (1, false));
        assert_eq!(record.file.damaged[0].offsets, [1, 3]);
        damage.is_recorded(an_id(2), &record);
        damage.judge(a_pack(2), |_| true, &[]);
        let nothing = damage.new_record(|_| true).unwrap();
        assert!(nothing.is_empty && nothing.file.is_damage_record() && nothing.older == [an_id(2)]);
    }
}
