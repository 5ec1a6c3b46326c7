//! What shall become of each pack.

use std::time::SystemTime;

use sendense_storage::FileKind;

use super::blockers::Blockers;
use super::report::{Blocked, add_blocked};
use super::used::Used;
use super::view::{MarkView, PackView, View};
use super::{BlockedBy, Prune, protection};
use crate::{PackId, Result};

/// What shall become of each pack. Packs are named by their numbers in the view.
#[derive(Default)]
pub(super) struct Plan {
    /// For each blob of the view, whether this place of it is the one to keep.
    pub(super) is_kept: Vec<bool>,
    /// Stay as they are.
    pub(super) kept: Vec<u32>,
    /// Nobody needs them: to be marked.
    pub(super) condemned: Vec<u32>,
    /// As condemned ones, and no index file names them.
    pub(super) orphans: Vec<(PackId, u64)>,
    /// Too little of them is needed: to be copied and then marked.
    pub(super) repack: Vec<u32>,
    /// Were marked and are needed again.
    pub(super) unmark: Vec<u32>,
    /// Were marked, and may be deleted now.
    pub(super) delete: Vec<u32>,
    /// Stay marked.
    pub(super) wait: Vec<u32>,
    /// Index files name them, they are not there, and nobody needs them.
    pub(super) vanished: Vec<u32>,
    pub(super) blocked: Vec<Blocked>,
    /// Bytes in kept packs that nobody needs.
    pub(super) unused_bytes: u64,
    /// Needed blobs that are in no pack that is there.
    pub(super) missing_blobs: u64,
    pub(super) removed_locks: usize,
    pub(super) repack_bytes: u64,
}

/// What is needed of a pack.
#[derive(Clone, Copy, Default)]
struct Need {
    blobs: u64,
    bytes: u64,
}

impl Plan {
    pub(super) async fn make(
        view: &View,
        used: &Used<'_>,
        blockers: &Blockers,
        prune: &Prune<'_>,
    ) -> Result<Self> {
        let held: Vec<Option<SystemTime>> =
            view.packs.iter().map(|pack| held_by_index(view, pack, prune.now)).collect();
        let mut plan = Self { removed_locks: blockers.removed, ..Self::default() };
        plan.missing_blobs = used.unknown_len() as u64;
        let needs = plan.choose_places(view, used, &held);
        let mut partly = Vec::new();
        for (number, pack) in (0_u32..).zip(&view.packs) {
            let need = needs[number as usize];
            match (pack.is_live(), pack.mark) {
                (true, _) if !pack.is_present() => plan.absent(number, view, used),
                (true, _) if need.blobs == 0 => plan.condemned.push(number),
                (true, _) => partly.push((number, need)),
                (false, Some(_)) if need.blobs > 0 => plan.unmark.push(number),
                (false, Some(mark)) => plan.marked(number, pack, mark, blockers, prune),
                (false, None) => {}
            }
        }
        plan.spare_what_is_protected(view, &held, prune).await?;
        plan.choose_repacks(view, partly, &held, prune).await?;
        plan.look_at_orphans(view, blockers, prune).await?;
        Ok(plan)
    }

    /// Decides for each needed blob at which of its places it is kept, and counts what each pack must keep.
    fn choose_places(&mut self, view: &View, used: &Used<'_>, held: &[Option<SystemTime>]) -> Vec<Need> {
        // What every pack would keep if it had to keep every needed blob that it has: the fuller one wins.
        let mut rank = vec![Need::default(); view.packs.len()];
        for_each_needed(view, used, |places| {
            for blob in &view.blobs[places] {
                rank[blob.pack as usize].bytes += u64::from(blob.length);
            }
        });
        let mut needs = vec![Need::default(); view.packs.len()];
        let mut is_kept = vec![false; view.blobs.len()];
        let mut missing = 0;
        for_each_needed(view, used, |places| {
            let usable = places.filter(|place| {
                let pack = view.pack(view.blobs[*place].pack);
                pack.is_present() && (pack.is_live() || pack.mark.is_some())
            });
            // One that is whole, then one that must stay anyway, then one that need not be un-marked, then the fullest.
            let best = usable.max_by_key(|place| {
                let number = view.blobs[*place].pack as usize;
                (
                    view.is_whole(*place),
                    held[number].is_some(),
                    view.packs[number].is_live(),
                    rank[number].bytes,
                    number,
                )
            });
            match best {
                None => missing += 1,
                Some(place) => {
                    is_kept[place] = true;
                    let need = &mut needs[view.blobs[place].pack as usize];
                    need.blobs += 1;
                    need.bytes += u64::from(view.blobs[place].length);
                }
            }
        });
        self.missing_blobs += missing;
        self.is_kept = is_kept;
        needs
    }

    /// A pack that index files name and that is not there. If nobody needs anything of it, they need not name it;
    /// otherwise it stays in the index, as a place to look at when somebody brings it back.
    fn absent(&mut self, number: u32, view: &View, used: &Used<'_>) {
        let is_needed = |place: usize| {
            let blob = &view.blobs[place];
            used.is_used(view.places(blob.kind, &blob.id).start)
        };
        let mut places = (0..view.blobs.len()).filter(|place| view.blobs[*place].pack == number);
        if view.pack(number).listed_bytes.is_none() && !places.any(is_needed) {
            self.vanished.push(number);
        } else {
            self.kept.push(number);
        }
    }

    /// A pack that is marked and not needed.
    fn marked(
        &mut self,
        number: u32,
        pack: &PackView,
        mark: MarkView,
        blockers: &Blockers,
        prune: &Prune<'_>,
    ) {
        let options = prune.options;
        let Some(bytes) = pack.listed_bytes else {
            // Deleted, by us before a crash or by another tool: there is nothing to wait for.
            return;
        };
        if options.exclusive {
            self.delete.push(number);
            return;
        }
        let reason = match mark.settled {
            None => Some((BlockedBy::Grace, Some(prune.now + options.grace))),
            Some(settled) if prune.now < settled + options.grace => {
                Some((BlockedBy::Grace, Some(settled + options.grace)))
            }
            Some(settled) => blockers.of(settled, prune.now, options.margin()).map(|by| (by, None)),
        };
        match reason {
            None => self.delete.push(number),
            Some((by, until)) => {
                add_blocked(&mut self.blocked, by, bytes, until);
                self.wait.push(number);
            }
        }
    }

    /// Takes those out of the condemned and of those to be deleted that the storage would not let us remove.
    async fn spare_what_is_protected(
        &mut self,
        view: &View,
        held: &[Option<SystemTime>],
        prune: &Prune<'_>,
    ) -> Result<()> {
        let condemned = std::mem::take(&mut self.condemned);
        for (number, until) in self.protected(view, condemned, held, prune).await? {
            match until {
                None => self.condemned.push(number),
                until => {
                    let bytes = view.pack(number).listed_bytes.unwrap_or_default();
                    add_blocked(&mut self.blocked, BlockedBy::Protection, bytes, until);
                    self.kept.push(number);
                    self.unused_bytes += bytes;
                }
            }
        }
        let delete = std::mem::take(&mut self.delete);
        for (number, until) in self.protected(view, delete, held, prune).await? {
            match until {
                None => self.delete.push(number),
                until => {
                    let bytes = view.pack(number).listed_bytes.unwrap_or_default();
                    add_blocked(&mut self.blocked, BlockedBy::Protection, bytes, until);
                    self.wait.push(number);
                }
            }
        }
        let (_, free): (Vec<u32>, Vec<u32>) =
            self.vanished.iter().partition(|number| held[**number as usize].is_some());
        self.vanished = free;
        Ok(())
    }

    /// Until when each of these packs cannot be removed, itself or because of the index files that name it.
    async fn protected(
        &self,
        view: &View,
        numbers: Vec<u32>,
        held: &[Option<SystemTime>],
        prune: &Prune<'_>,
    ) -> Result<Vec<(u32, Option<SystemTime>)>> {
        let ids = numbers.iter().map(|number| view.pack(*number).id.into()).collect();
        let own = protection::look_up(prune.repository, FileKind::Pack, ids, prune.now).await?;
        let both = numbers.into_iter().zip(own);
        Ok(both.map(|(number, own)| (number, own.max(held[number as usize]))).collect())
    }

    /// Chooses the packs of which the most is wasted, until what is left is little enough.
    async fn choose_repacks(
        &mut self,
        view: &View,
        mut partly: Vec<(u32, Need)>,
        held: &[Option<SystemTime>],
        prune: &Prune<'_>,
    ) -> Result<()> {
        let size = |number: u32| view.pack(number).indexed_bytes;
        let waste = |(number, need): &(u32, Need)| waste_bytes(view, *number, *need);
        let needed: u64 = partly.iter().map(|(_, need)| need.bytes).sum();
        let mut wasted: u64 = partly.iter().map(waste).sum::<u64>() + self.unused_bytes;
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a part of a sum of sizes"
        )]
        let tolerated = (needed as f64 * prune.options.waste_ratio_max) as u64;
        // By the part of them that is wasted: u128, because two sizes are multiplied.
        partly.sort_by(|one, other| {
            let scaled = |this: &(u32, Need), that: &(u32, Need)| {
                u128::from(waste(this)) * u128::from(size(that.0).max(1))
            };
            scaled(other, one).cmp(&scaled(one, other)).then(one.0.cmp(&other.0))
        });
        let mut budget = prune.options.repack_bytes_max.unwrap_or(u64::MAX);
        let numbers = partly.iter().filter(|entry| waste(entry) > 0).map(|(number, _)| *number).collect();
        let protected: std::collections::HashMap<u32, Option<SystemTime>> = if wasted > tolerated {
            self.protected(view, numbers, held, prune).await?.into_iter().collect()
        } else {
            std::collections::HashMap::new()
        };
        for entry in partly {
            let (number, need) = entry;
            let is_free = protected.get(&number).is_some_and(Option::is_none);
            if wasted > tolerated && waste(&entry) > 0 && is_free && need.bytes <= budget {
                budget -= need.bytes;
                wasted -= waste(&entry);
                self.repack_bytes += need.bytes;
                self.repack.push(number);
            } else {
                self.unused_bytes += waste(&entry);
                self.kept.push(number);
            }
        }
        Ok(())
    }

    /// Packs that no index file names are garbage only when nobody is at work who may be about to name them, and when
    /// nothing is missing that they may hold.
    async fn look_at_orphans(&mut self, view: &View, blockers: &Blockers, prune: &Prune<'_>) -> Result<()> {
        let ids = view.orphans.iter().map(|(id, _)| (*id).into()).collect();
        let protected = protection::look_up(prune.repository, FileKind::Pack, ids, prune.now).await?;
        for ((id, bytes), until) in view.orphans.iter().zip(protected) {
            let reason = if blockers.is_anybody_there() {
                Some(BlockedBy::WritersAtWork)
            } else if self.missing_blobs > 0 {
                Some(BlockedBy::MissingBlobs)
            } else {
                until.map(|_| BlockedBy::Protection)
            };
            match reason {
                None => self.orphans.push((*id, *bytes)),
                Some(by) => add_blocked(&mut self.blocked, by, *bytes, until),
            }
        }
        Ok(())
    }
}

/// The bytes of a pack that go when it is copied.
fn waste_bytes(view: &View, number: u32, need: Need) -> u64 {
    // The header is no waste, and small compared with everything else.
    let overhead = 64 + 41 * need.blobs;
    view.pack(number).indexed_bytes.saturating_sub(need.bytes).saturating_sub(overhead)
}

/// Until when the index files that name a pack cannot all be removed.
fn held_by_index(view: &View, pack: &PackView, now: SystemTime) -> Option<SystemTime> {
    let until = pack.named_by.iter().filter_map(|file| view.files[*file as usize].held_until).max();
    until.filter(|until| now < *until)
}

/// Calls back with all places of each needed blob.
fn for_each_needed(view: &View, used: &Used<'_>, mut visit: impl FnMut(std::ops::Range<usize>)) {
    let mut start = 0;
    while start < view.blobs.len() {
        let first = view.blobs[start];
        let same =
            view.blobs[start..].iter().take_while(|blob| (blob.kind, blob.id) == (first.kind, first.id));
        let end = start + same.count();
        if used.is_used(start) {
            visit(start..end);
        }
        start = end;
    }
}
