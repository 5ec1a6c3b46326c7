//! An index of any size, without a repository: what does it cost when it is as large as few repositories are?

use std::time::Instant;

use super::{Index, IndexFile, IndexLoader, IndexPack};
use crate::PackId;
use crate::pack::{BlobKind, PackedBlob};

/// Chunks of a pack of 16 MiB that do not compress.
const CHUNKS_PER_PACK: u64 = 16;

/// Chunks of the packs that one index file names.
const CHUNKS_PER_FILE: u64 = 8192;

const LOOKUPS: u64 = 1_000_000;

/// What an index of a simulated repository costs.
#[derive(Clone, Copy, Debug)]
pub struct IndexFigures {
    /// Its memory, without the spare room of allocations.
    pub memory_bytes: u64,
    /// Wall time for sorting what the index files say.
    pub sort_seconds: f64,
    /// Time to find a chunk that is there.
    pub hit_nanoseconds: f64,
    /// Time to find out that a chunk is not there.
    pub miss_nanoseconds: f64,
}

/// Fills an index with so many chunks, as opening a repository does, and looks some of them up.
#[must_use]
pub fn simulate_index(chunks: u64) -> IndexFigures {
    let mut loader = IndexLoader::default();
    for first in (0..chunks).step_by(usize::try_from(CHUNKS_PER_FILE).unwrap_or(usize::MAX)) {
        let numbers = first..(first + CHUNKS_PER_FILE).min(chunks);
        let packs = numbers.step_by(usize::try_from(CHUNKS_PER_PACK).unwrap_or(usize::MAX));
        let packs = packs.map(|first| a_pack(first..(first + CHUNKS_PER_PACK).min(chunks))).collect();
        loader.absorb(IndexFile { packs, ..IndexFile::default() });
    }
    let start = Instant::now();
    let index = loader.finish();
    let sort_seconds = start.elapsed().as_secs_f64();
    let step = (chunks / LOOKUPS).max(1);
    let hit_nanoseconds = lookups(&index, (0..chunks).step_by(usize::try_from(step).unwrap_or(1)), true);
    let miss_nanoseconds = lookups(&index, chunks..chunks + LOOKUPS, false);
    IndexFigures { memory_bytes: index.memory_bytes(), sort_seconds, hit_nanoseconds, miss_nanoseconds }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn lookups(index: &Index, numbers: impl Iterator<Item = u64>, is_there: bool) -> f64 {
    let (start, mut count) = (Instant::now(), 0_u64);
    for number in numbers {
        assert!(index.contains(BlobKind::Data, &an_id(number)) == is_there, "the index is wrong");
        count += 1;
    }
    start.elapsed().as_secs_f64() * 1e9 / count.max(1) as f64
}

fn a_pack(chunks: std::ops::Range<u64>) -> IndexPack {
    let id = PackId::from_bytes(an_id(u64::MAX - chunks.start));
    let blob = |(offset, number)| PackedBlob {
        kind: BlobKind::Data,
        id: an_id(number),
        offset,
        length: 1 << 20,
        uncompressed: 0,
    };
    let blobs: Vec<_> = (0..).step_by(1 << 20).zip(chunks).map(blob).collect();
    IndexPack::new(id, &blobs)
}

/// An id that looks like a hash: four numbers of splitmix64.
fn an_id(number: u64) -> [u8; 32] {
    let mut id = [0; 32];
    for (step, bytes) in (1..).zip(id.chunks_exact_mut(8)) {
        let mut state = number.wrapping_mul(4).wrapping_add(step).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.copy_from_slice(&(state ^ (state >> 31)).to_be_bytes());
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_stays_below_64_mb_per_tebibyte() {
        let figures = simulate_index(1 << 20);
        assert!(figures.memory_bytes < 64_000_000, "{figures:?}");
        assert!(figures.memory_bytes > 48 << 20, "it has all entries: {figures:?}");
    }
}
