//! Headers of a `chunks` body and of the frames in it.

use bytes::{BufMut, Bytes, BytesMut};

use super::Malformed;
use super::cursor::Cursor;
use crate::ChunkId;

/// Bytes of [`ChunksHeader`].
pub const CHUNKS_HEADER_BYTES: usize = 12;
/// Bytes of [`FrameHeader`].
pub const FRAME_HEADER_BYTES: usize = 44;
const MAGIC: &str = "SDC1";

/// What a `chunks` body begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunksHeader {
    /// The attempt that `open` answered with.
    pub attempt: u32,
    /// How many frames follow.
    pub frames: u32,
}

/// How a payload is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// As it is.
    Raw,
    /// One zstd frame.
    Zstd,
}

/// What stands before each payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// SHA-256 of the plain bytes.
    pub id: ChunkId,
    /// Length of the plain bytes.
    pub plain_bytes: u32,
    /// Length of the payload.
    pub stored_bytes: u32,
    /// How the payload is stored.
    pub codec: Codec,
}

impl ChunksHeader {
    /// The header's bytes.
    #[must_use]
    pub fn encode(self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(CHUNKS_HEADER_BYTES);
        bytes.put_slice(MAGIC.as_bytes());
        bytes.put_u32(self.attempt);
        bytes.put_u32(self.frames);
        bytes.freeze()
    }

    /// Reads the header.
    ///
    /// # Errors
    /// [`Malformed`] if these are not the bytes of one.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor(bytes);
        cursor.magic(MAGIC)?;
        let header = Self { attempt: cursor.u32()?, frames: cursor.u32()? };
        cursor.end()?;
        Ok(header)
    }
}

impl FrameHeader {
    /// The header's bytes.
    #[must_use]
    pub fn encode(self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(FRAME_HEADER_BYTES);
        bytes.put_slice(self.id.as_bytes());
        bytes.put_u32(self.plain_bytes);
        bytes.put_u32(self.stored_bytes);
        bytes.put_u8(match self.codec {
            Codec::Raw => 0,
            Codec::Zstd => 1,
        });
        bytes.put_bytes(0, 3);
        bytes.freeze()
    }

    /// Reads the header; lengths are compared with each other here, with the disk by the caller.
    ///
    /// # Errors
    /// [`Malformed`] if these are not the bytes of one.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut cursor = Cursor(bytes);
        let id = ChunkId::from_bytes(cursor.array()?);
        let (plain_bytes, stored_bytes) = (cursor.u32()?, cursor.u32()?);
        let codec = match cursor.u8()? {
            0 => Codec::Raw,
            1 => Codec::Zstd,
            _ => return Err(Malformed::Field("codec")),
        };
        if cursor.take(3)? != [0; 3] {
            return Err(Malformed::Field("zero"));
        }
        cursor.end()?;
        let fits = match codec {
            Codec::Raw => stored_bytes == plain_bytes,
            Codec::Zstd => stored_bytes < plain_bytes,
        };
        if plain_bytes == 0 || stored_bytes == 0 || !fits {
            return Err(Malformed::Field("stored"));
        }
        Ok(Self { id, plain_bytes, stored_bytes, codec })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_header() -> FrameHeader {
        FrameHeader { id: ChunkId::of(b"x"), plain_bytes: 1 << 20, stored_bytes: 4711, codec: Codec::Zstd }
    }

    #[test]
    fn headers_survive_the_wire() {
        let header = ChunksHeader { attempt: 3, frames: 9 };
        assert_eq!(ChunksHeader::decode(&header.encode()), Ok(header));
        assert_eq!(header.encode().len(), CHUNKS_HEADER_BYTES);
        assert_eq!(FrameHeader::decode(&a_header().encode()), Ok(a_header()));
        assert_eq!(a_header().encode().len(), FRAME_HEADER_BYTES);
    }

    #[test]
    fn lengths_that_contradict_the_codec_are_refused() {
        for (codec, plain_bytes, stored_bytes) in [
            (Codec::Raw, 10, 9),
            (Codec::Raw, 9, 10),
            (Codec::Raw, 0, 0),
            (Codec::Zstd, 10, 10),
            (Codec::Zstd, 10, 0),
        ] {
            let header = FrameHeader { plain_bytes, stored_bytes, codec, ..a_header() };
            assert_eq!(FrameHeader::decode(&header.encode()), Err(Malformed::Field("stored")), "{header:?}");
        }
    }

    #[test]
    fn an_unknown_codec_and_bytes_in_the_reserved_place_are_refused() {
        for (at, field) in [(40, "codec"), (41, "zero"), (43, "zero")] {
            let mut bytes = a_header().encode().to_vec();
            bytes[at] = 2;
            assert_eq!(FrameHeader::decode(&bytes), Err(Malformed::Field(field)));
        }
    }
}
