//! A writer that hashes and compresses.

use std::io::{self, Write};

use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// Metadata is written once and read often.
const LEVEL: i32 = 3;

/// A document of which only its hash and its zstd frame are left.
pub(crate) struct HashedFrame {
    /// SHA-256 of the plain text.
    pub(crate) hash: [u8; 32],
    pub(crate) frame: Vec<u8>,
    pub(crate) plain_bytes: u64,
}

impl HashedFrame {
    /// Takes whatever `write` writes.
    pub(crate) fn of(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<Self> {
        Self::of_io(write).map_err(|error| Error::Internal { reason: error.to_string() })
    }

    /// Takes a text.
    pub(crate) fn of_text(text: &[u8]) -> Result<Self> {
        let frame = zstd::bulk::compress(text, LEVEL)
            .map_err(|error| Error::Internal { reason: error.to_string() })?;
        Ok(Self { hash: Sha256::digest(text).into(), frame, plain_bytes: text.len() as u64 })
    }

    fn of_io(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<Self> {
        let encoder = zstd::Encoder::new(Vec::new(), LEVEL)?;
        // serde writes a few bytes at a time; hash and compressor want more.
        let mut sink =
            io::BufWriter::with_capacity(64 << 10, Sink { hash: Sha256::new(), encoder, plain_bytes: 0 });
        write(&mut sink)?;
        let sink = sink.into_inner().map_err(io::IntoInnerError::into_error)?;
        let frame = sink.encoder.finish()?;
        Ok(Self { hash: sink.hash.finalize().into(), frame, plain_bytes: sink.plain_bytes })
    }
}

struct Sink {
    hash: Sha256,
    encoder: zstd::Encoder<'static, Vec<u8>>,
    plain_bytes: u64,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.encoder.write_all(bytes)?;
        self.hash.update(bytes);
        self.plain_bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
