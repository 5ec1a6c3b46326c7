//! Random reads of a disk of a restore point.
//!
//! ```text
//! read ─► hole? zeros ─► cache? copy ─► somebody loads it? wait
//!                                   └─► claim, join neighbours in a pack, read, open, cache
//! ```
//!
//! A reader that goes on where it ended is read ahead for. What is loaded at a time is bounded in bytes by the
//! cache, which all readers share.

mod chunk_cache;
mod streams;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use tokio::sync::watch;

pub use chunk_cache::ChunkCache;
use chunk_cache::{Claim, Found};
use streams::Streams;

use crate::read_batch::{self, ReadBatch};
use crate::repository::Inner;
use crate::{ChunkId, DiskContent, Error, Result};

/// Neighbours are loaded together up to so many bytes; more would be opened by one thread while others are idle.
const LOAD_BYTES_MAX: u64 = 4 << 20;
/// What is read ahead of one reader at most; less where the cache is small.
const WINDOW_BYTES_MAX: u64 = 16 << 20;
/// Chunks of more than this are not tried for being zero.
const ZERO_CHUNK_BYTES_MAX: u64 = 16 << 20;

/// A disk of a restore point, to be read anywhere. Clones read the same disk; calls may run at the same time.
#[derive(Clone)]
pub struct DiskReader {
    shared: Arc<Shared>,
}

/// A part of a disk, and whether it is known to be zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskExtent {
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub length: u64,
    /// Whether all of it is zero. It was not read to find out.
    pub is_hole: bool,
}

struct Shared {
    repository: Arc<Inner>,
    cache: Arc<ChunkCache>,
    chunk_ids: Vec<ChunkId>,
    /// Where each chunk ends.
    ends: Vec<u64>,
    zero_ids: Vec<ChunkId>,
    streams: Mutex<Streams>,
}

/// Where the bytes of a chunk come from.
enum Source {
    Hole,
    Ready(Bytes),
    Loading(watch::Receiver<Option<Bytes>>),
}

impl DiskReader {
    /// Fails where the chunks do not make up the disk.
    pub(crate) fn new(repository: Arc<Inner>, content: DiskContent, cache: Arc<ChunkCache>) -> Result<Self> {
        let mut ends = Vec::with_capacity(content.chunk_ids.len());
        let mut end = 0_u64;
        {
            let index = repository.catalog.index();
            for id in &content.chunk_ids {
                let plain_bytes = index.readable_bytes_of(id).ok_or(Error::ChunkMissing { id: *id })?;
                end = end.saturating_add(plain_bytes.into());
                ends.push(end);
            }
        }
        if end != content.size_bytes {
            let reason = format!("the chunks add up to {end} bytes, the disk has {}", content.size_bytes);
            return Err(Error::Unacceptable { reason });
        }
        let window_bytes_max = WINDOW_BYTES_MAX.min(cache.bytes_max() as u64 / 8);
        let zero_ids = zero_ids(&ends);
        let streams = Mutex::new(Streams::new(window_bytes_max));
        let chunk_ids = content.chunk_ids;
        Ok(Self { shared: Arc::new(Shared { repository, cache, chunk_ids, ends, zero_ids, streams }) })
    }

    /// Bytes of the disk.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.shared.ends.last().copied().unwrap_or(0)
    }

    /// Exactly `length` bytes from `offset` on. Every chunk they come from was verified.
    ///
    /// # Errors
    /// [`Error::Unacceptable`] beyond the end of the disk; [`Error::ChunkMissing`], [`Error::DamagedChunk`], and what
    /// the storage says.
    pub async fn read(&self, offset: u64, length: usize) -> Result<Bytes> {
        let end = self.end_of(offset, length as u64)?;
        if length == 0 {
            return Ok(Bytes::new());
        }
        let chunks = self.shared.chunks_of(offset, end);
        let sources = self.shared.sources(chunks.clone());
        let ahead = self.shared.streams.lock().unwrap_or_else(PoisonError::into_inner).note(offset, end);
        if let Some(ahead) = ahead {
            self.shared.read_ahead(ahead);
        }
        let mut bytes = BytesMut::with_capacity(length);
        for (index, source) in chunks.clone().zip(sources) {
            let first = self.shared.start_of(index);
            let part =
                in_chunk(offset.max(first) - first)..in_chunk(end.min(self.shared.ends[index]) - first);
            match self.shared.chunk(index, source).await? {
                None => bytes.resize(bytes.len() + part.len(), 0),
                // A piece of one chunk is handed out as it lies in the cache.
                Some(plain) if chunks.len() == 1 => return Ok(plain.slice(part)),
                Some(plain) => bytes.extend_from_slice(&plain[part]),
            }
        }
        Ok(bytes.freeze())
    }

    /// Where there are holes: in order, without gaps, equal neighbours joined. Nothing is read for it.
    ///
    /// # Errors
    /// [`Error::Unacceptable`] beyond the end of the disk.
    pub fn extents(&self, offset: u64, length: u64) -> Result<Vec<DiskExtent>> {
        let end = self.end_of(offset, length)?;
        let mut extents: Vec<DiskExtent> = Vec::new();
        if length == 0 {
            return Ok(extents);
        }
        for index in self.shared.chunks_of(offset, end) {
            let is_hole = self.shared.is_hole(index);
            let start = self.shared.start_of(index).max(offset);
            let length = self.shared.ends[index].min(end) - start;
            match extents.last_mut() {
                Some(last) if last.is_hole == is_hole => last.length += length,
                _ => extents.push(DiskExtent { offset: start, length, is_hole }),
            }
        }
        Ok(extents)
    }

    fn end_of(&self, offset: u64, length: u64) -> Result<u64> {
        let end = offset.checked_add(length).filter(|end| *end <= self.size_bytes());
        end.ok_or_else(|| Error::Unacceptable {
            reason: format!("{length} bytes at {offset} are not on a disk of {} bytes", self.size_bytes()),
        })
    }
}

impl Shared {
    /// The chunks that hold `start..end`, which is not empty.
    fn chunks_of(&self, start: u64, end: u64) -> Range<usize> {
        let first = self.ends.partition_point(|chunk_end| *chunk_end <= start);
        first..self.ends.partition_point(|chunk_end| *chunk_end < end) + 1
    }

    fn start_of(&self, index: usize) -> u64 {
        index.checked_sub(1).map_or(0, |before| self.ends[before])
    }

    fn is_hole(&self, index: usize) -> bool {
        self.zero_ids.contains(&self.chunk_ids[index])
    }

    /// Says where each chunk comes from, and begins to load those that nobody has.
    fn sources(self: &Arc<Self>, chunks: Range<usize>) -> Vec<Source> {
        let mut claims = HashMap::new();
        let sources = chunks.map(|index| {
            if self.is_hole(index) {
                return Source::Hole;
            }
            match self.cache.find(&self.chunk_ids[index]) {
                Found::Ready(plain) => Source::Ready(plain),
                Found::Loading(receiver) => Source::Loading(receiver),
                Found::Claimed(claim) => {
                    let receiver = claim.subscribe();
                    claims.insert(self.chunk_ids[index], claim);
                    Source::Loading(receiver)
                }
            }
        });
        let sources = sources.collect();
        self.load(claims);
        sources
    }

    /// The bytes of a chunk; `None` for a hole.
    async fn chunk(&self, index: usize, source: Source) -> Result<Option<Bytes>> {
        let mut receiver = match source {
            Source::Hole => return Ok(None),
            Source::Ready(plain) => return Ok(Some(plain)),
            Source::Loading(receiver) => receiver,
        };
        let loaded = receiver.wait_for(Option::is_some).await.ok().and_then(|plain| plain.clone());
        match loaded {
            Some(plain) => Ok(Some(plain)),
            // It could not be loaded together with others. Alone it is tried everywhere, and says what is wrong.
            None => self.repository.read_chunk(&self.chunk_ids[index]).await.map(Some),
        }
    }

    /// Loads what was claimed, in the background: a caller that goes away takes nothing from those who wait too.
    fn load(self: &Arc<Self>, mut claims: HashMap<ChunkId, Claim>) {
        if claims.is_empty() {
            return;
        }
        for batch in read_batch::plan(&self.repository, claims.keys().copied(), LOAD_BYTES_MAX) {
            let taken: HashMap<_, _> =
                batch.chunk_ids().filter_map(|id| claims.remove(&id).map(|claim| (id, claim))).collect();
            tokio::spawn(load_batch(Arc::clone(self), batch, taken));
        }
    }

    /// Begins to load what a reader will want next, unless there is more to load than memory already.
    fn read_ahead(self: &Arc<Self>, bytes: Range<u64>) {
        let end = bytes.end.min(self.ends.last().copied().unwrap_or(0));
        let wanted = end.saturating_sub(bytes.start);
        if wanted > 0 && (self.cache.loading.available_permits() as u64) >= wanted {
            let _loading_in_the_background = self.sources(self.chunks_of(bytes.start, end));
        }
    }
}

async fn load_batch(shared: Arc<Shared>, batch: ReadBatch, mut claims: HashMap<ChunkId, Claim>) {
    let bytes = u32::try_from(batch.plain_bytes()).unwrap_or(u32::MAX);
    // A chunk of a hostile size waits for all there is, and then fails by itself.
    let permits = bytes.min(u32::try_from(shared.cache.loading_bytes_max()).unwrap_or(u32::MAX));
    let Ok(_memory) = shared.cache.loading.acquire_many(permits).await else { return };
    let visit = move |id: &ChunkId, plain: &[u8]| {
        if let Some(claim) = claims.remove(id) {
            claim.fulfil(Bytes::copy_from_slice(plain));
        }
        Ok::<_, Error>(())
    };
    // Claims that are not fulfilled tell those who wait, and each of them finds out why.
    let _found_out_by_those_who_wait = read_batch::read(&shared.repository, batch, visit).await;
}

/// The ids of chunks of zeros, of the lengths that the first and the last chunk have.
fn zero_ids(ends: &[u64]) -> Vec<ChunkId> {
    let last_start = ends.len().checked_sub(2).map_or(0, |before| ends[before]);
    let lengths = ends.first().copied().into_iter().chain(ends.last().map(|end| end - last_start));
    let possible = lengths.filter(|length| *length > 0 && *length <= ZERO_CHUNK_BYTES_MAX);
    possible.map(|length| ChunkId::of(&vec![0; in_chunk(length)])).collect()
}

/// Chunks have less than 4 GiB.
fn in_chunk(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
