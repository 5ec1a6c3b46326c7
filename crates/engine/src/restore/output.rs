//! Writing chunks to where they belong, and nothing where they are zero.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

use sendense_storage::WRITE_BYTES_MAX;

use super::placement::Placement;
use crate::ChunkId;

/// What is zero becomes a hole in pieces of this size. Smaller ones cost more system calls than they save.
const PIECE_BYTES: usize = 64 << 10;

/// After so many bytes whoever has written the last of them waits until all are on the medium, while the others go on.
/// Otherwise that has to be waited for at the end, and the memory of the machine fills with what is not written yet.
const FLUSH_BYTES: u64 = 128 << 20;

/// The file in the making.
pub(super) struct Output {
    file: File,
    placement: Placement,
    /// Bytes written so far.
    written: AtomicU64,
}

/// Why a chunk is not in the file.
pub(super) enum Failure {
    /// It could not be read.
    Read(sendense_repo::Error),
    /// It has another length than it was expected to have.
    Length(ChunkId),
    /// It could not be written.
    Write(io::Error),
}

impl From<sendense_repo::Error> for Failure {
    fn from(error: sendense_repo::Error) -> Self {
        Self::Read(error)
    }
}

impl Output {
    pub(super) fn new(file: File, placement: Placement) -> Self {
        Self { file, placement, written: AtomicU64::new(0) }
    }

    /// Writes a chunk to all its places. Returns how many there are, and how many bytes were written.
    pub(super) fn write(&self, id: &ChunkId, plain: &[u8]) -> Result<(u64, u64), Failure> {
        let offsets = self.placement.offsets_of(id, plain.len() as u64).ok_or(Failure::Length(*id))?;
        let (mut places, mut written) = (0, 0);
        for offset in offsets {
            places += 1;
            written += write_data(&self.file, plain, offset).map_err(Failure::Write)?;
        }
        self.flush_now_and_then(written).map_err(Failure::Write)?;
        Ok((places, written))
    }

    fn flush_now_and_then(&self, more: u64) -> io::Result<()> {
        let before = self.written.fetch_add(more, Ordering::Relaxed);
        if before / FLUSH_BYTES == (before + more) / FLUSH_BYTES { Ok(()) } else { self.file.sync_data() }
    }
}

/// Writes what is not zero, neighbours together.
fn write_data(file: &File, plain: &[u8], offset: u64) -> io::Result<u64> {
    let (mut position, mut written) = (0, 0);
    let piece_end = |start: usize| (start + PIECE_BYTES).min(plain.len());
    let is_zero = |start: usize| sendense_disk::is_zero(&plain[start..piece_end(start)]);
    while position < plain.len() {
        if is_zero(position) {
            position = piece_end(position);
            continue;
        }
        let start = position;
        while position < plain.len() && position - start < WRITE_BYTES_MAX && !is_zero(position) {
            position = piece_end(position);
        }
        file.write_all_at(&plain[start..position], offset + start as u64)?;
        written += (position - start) as u64;
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_stay_holes_and_everything_else_is_written() {
        let file = tempfile::tempfile().unwrap();
        let mut plain = vec![0; 5 * PIECE_BYTES + 10];
        plain[PIECE_BYTES + 7] = 1;
        plain[2 * PIECE_BYTES] = 2;
        plain[5 * PIECE_BYTES + 9] = 3;
        file.set_len(4096 + plain.len() as u64).unwrap();
        assert_eq!(write_data(&file, &plain, 4096).unwrap(), 2 * PIECE_BYTES as u64 + 10);
        let mut found = vec![9; plain.len()];
        file.read_exact_at(&mut found, 4096).unwrap();
        assert!(found == plain);
        assert_eq!(write_data(&file, &[], 0).unwrap(), 0);
        assert_eq!(write_data(&file, &[0; 100], 0).unwrap(), 0);
    }
}
