//! Taking back what a prune has marked while it was relied on.
//!
//! A writer that began before a mark may have found a chunk in the pack that was marked then. Its lock keeps the pack
//! from being deleted; naming the pack in an index file of its own makes the mark void.

use std::collections::HashMap;

use crate::PackId;
use crate::pack::{self, BlobKind, PackedBlob};
use crate::repository::Inner;

/// Makes known again all marked packs without which one of these blobs would have no place on which one may rely.
/// They are in an index file after the next flush; then it must be seen that they are there. Returns how many there
/// are.
pub(crate) fn rescue(repository: &Inner, needed: impl Iterator<Item = (BlobKind, [u8; 32])>) -> usize {
    let packs = marked_packs_of(repository, needed);
    for (id, blobs) in &packs {
        repository.catalog.add_pack(*id, blobs, pack::size_bytes(blobs));
    }
    packs.len()
}

fn marked_packs_of(
    repository: &Inner,
    needed: impl Iterator<Item = (BlobKind, [u8; 32])>,
) -> HashMap<PackId, Vec<PackedBlob>> {
    let index = repository.catalog.index();
    let mut packs = HashMap::new();
    for (kind, id) in needed {
        if index.contains(kind, &id) {
            continue;
        }
        let mut marked =
            index.find(kind, &id).filter(|location| location.is_marked && !location.is_doubtful());
        if let Some(location) = marked.next() {
            packs.entry(location.pack).or_insert_with(Vec::new);
        }
    }
    if !packs.is_empty() {
        // One pass for all: an index has millions of entries.
        for (number, blob) in index.blobs() {
            if let Some(blobs) = packs.get_mut(&index.packs()[number as usize].id) {
                blobs.push(blob);
            }
        }
    }
    for blobs in packs.values_mut() {
        blobs.sort_unstable_by_key(|blob| blob.offset);
    }
    packs
}
