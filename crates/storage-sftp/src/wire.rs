//! Packets of SFTP version 3 (draft-ietf-secsh-filexfer-02), the version that OpenSSH speaks.

use std::time::{Duration, SystemTime};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::failure::{Failure, Outcome};

pub(crate) mod kind {
    pub(crate) const INIT: u8 = 1;
    pub(crate) const VERSION: u8 = 2;
    pub(crate) const OPEN: u8 = 3;
    pub(crate) const CLOSE: u8 = 4;
    pub(crate) const READ: u8 = 5;
    pub(crate) const WRITE: u8 = 6;
    pub(crate) const FSTAT: u8 = 8;
    pub(crate) const OPENDIR: u8 = 11;
    pub(crate) const READDIR: u8 = 12;
    pub(crate) const REMOVE: u8 = 13;
    pub(crate) const MKDIR: u8 = 14;
    pub(crate) const STAT: u8 = 17;
    pub(crate) const RENAME: u8 = 18;
    pub(crate) const STATUS: u8 = 101;
    pub(crate) const HANDLE: u8 = 102;
    pub(crate) const DATA: u8 = 103;
    pub(crate) const NAME: u8 = 104;
    pub(crate) const ATTRS: u8 = 105;
    pub(crate) const EXTENDED: u8 = 200;
    pub(crate) const EXTENDED_REPLY: u8 = 201;
}

pub(crate) const VERSION: u32 = 3;
/// A status that is no failure.
const STATUS_OK: u32 = 0;
const STATUS_EOF: u32 = 1;

/// No server sends longer packets to somebody who asks for no more than 32 KiB; it bounds our memory.
const PACKET_BYTES_MAX: usize = 1 << 20;
/// Length, kind and id.
const HEADER_BYTES: usize = 9;

const HAS_SIZE: u32 = 1;
const HAS_OWNER: u32 = 2;
const HAS_PERMISSIONS: u32 = 4;
const HAS_TIMES: u32 = 8;
const HAS_EXTENSIONS: u32 = 1 << 31;

/// A request, without its id.
pub(crate) struct Request(BytesMut);

impl Request {
    pub(crate) fn new(kind: u8) -> Self {
        let mut packet = BytesMut::with_capacity(128);
        packet.put_u32(0);
        packet.put_u8(kind);
        packet.put_u32(0);
        Self(packet)
    }

    /// A request of an extension.
    pub(crate) fn extended(name: &str) -> Self {
        Self::new(kind::EXTENDED).string(name.as_bytes())
    }

    pub(crate) fn u32(mut self, value: u32) -> Self {
        self.0.put_u32(value);
        self
    }

    pub(crate) fn u64(mut self, value: u64) -> Self {
        self.0.put_u64(value);
        self
    }

    pub(crate) fn string(mut self, value: &[u8]) -> Self {
        self.0.put_u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
        self.0.put_slice(value);
        self
    }

    /// Attributes that say nothing but who may do what.
    pub(crate) fn permissions(self, mode: u32) -> Self {
        self.u32(HAS_PERMISSIONS).u32(mode)
    }

    /// The packet as it is sent.
    pub(crate) fn seal(mut self, id: u32) -> Bytes {
        let length = u32::try_from(self.0.len() - 4).unwrap_or(u32::MAX);
        self.0[..4].copy_from_slice(&length.to_be_bytes());
        self.0[5..HEADER_BYTES].copy_from_slice(&id.to_be_bytes());
        self.0.freeze()
    }
}

/// What a server says of a file.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Attributes {
    pub(crate) size_bytes: Option<u64>,
    permissions: Option<u32>,
    /// Seconds since 1970.
    modified: Option<u32>,
}

impl Attributes {
    #[cfg(test)]
    pub(crate) fn of_file(modified: u32) -> Self {
        Self { size_bytes: Some(0), permissions: Some(0o100_644), modified: Some(modified) }
    }

    /// When the content was last changed, by the clock of the server.
    pub(crate) fn modified_at(self) -> Option<SystemTime> {
        self.modified.map(|seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.into()))
    }

    pub(crate) fn is_directory(self) -> bool {
        self.has_type(0o040_000)
    }

    pub(crate) fn is_file(self) -> bool {
        self.has_type(0o100_000)
    }

    fn has_type(self, file_type: u32) -> bool {
        self.permissions.is_some_and(|mode| mode & 0o170_000 == file_type)
    }
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) kind: u8,
    body: Bytes,
}

impl Reply {
    pub(crate) fn u32(&mut self) -> Outcome<u32> {
        self.body.try_get_u32().map_err(|_| Failure::not_understood())
    }

    pub(crate) fn u64(&mut self) -> Outcome<u64> {
        self.body.try_get_u64().map_err(|_| Failure::not_understood())
    }

    pub(crate) fn string(&mut self) -> Outcome<Bytes> {
        let length = self.u32()? as usize;
        if length > self.body.len() {
            return Err(Failure::not_understood());
        }
        Ok(self.body.split_to(length))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    pub(crate) fn attributes(&mut self) -> Outcome<Attributes> {
        let flags = self.u32()?;
        let mut attributes = Attributes::default();
        if flags & HAS_SIZE != 0 {
            attributes.size_bytes = Some(self.u64()?);
        }
        if flags & HAS_OWNER != 0 {
            self.u64()?;
        }
        if flags & HAS_PERMISSIONS != 0 {
            attributes.permissions = Some(self.u32()?);
        }
        if flags & HAS_TIMES != 0 {
            let _accessed = self.u32()?;
            attributes.modified = Some(self.u32()?);
        }
        if flags & HAS_EXTENSIONS != 0 {
            for _ in 0..self.u32()? {
                self.string()?;
                self.string()?;
            }
        }
        Ok(attributes)
    }

    /// The answer of the kind that was asked for; `None` at the end of a file or a listing.
    pub(crate) fn expect(mut self, kind: u8) -> Outcome<Option<Self>> {
        if self.kind == kind && kind != kind::STATUS {
            return Ok(Some(self));
        }
        if self.kind != kind::STATUS {
            return Err(Failure::not_understood());
        }
        match self.u32()? {
            STATUS_OK if kind == kind::STATUS => Ok(Some(self)),
            STATUS_OK => Err(Failure::not_understood()),
            STATUS_EOF => Ok(None),
            code => Err(Failure::of_status(code, &self.string().unwrap_or_default())),
        }
    }
}

/// Reads a packet: its kind, and what follows. `None` when the stream has ended or is not SFTP.
pub(crate) async fn read_packet(stream: &mut (impl AsyncRead + Unpin)) -> Option<Reply> {
    let length = stream.read_u32().await.ok()? as usize;
    if length == 0 || length > PACKET_BYTES_MAX {
        return None;
    }
    let mut packet = vec![0; length];
    stream.read_exact(&mut packet).await.ok()?;
    let mut body = Bytes::from(packet);
    let kind = body.get_u8();
    Some(Reply { kind, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_too_long_or_breaks_off_is_no_packet() {
        for stream in [&b"\xff\xff\xff\xff"[..], b"\0\0\0\x05\x65", b"Welcome to this server\n", b""] {
            assert!(read_packet(&mut &stream[..]).await.is_none());
        }
    }

    #[tokio::test]
    async fn lengths_inside_of_a_packet_are_not_believed() {
        let packet = Request::new(kind::NAME).u32(u32::MAX).seal(7);
        let mut reply = read_packet(&mut &packet[..]).await.unwrap();
        assert_eq!(reply.u32().unwrap(), 7);
        assert!(reply.string().is_err());
        assert!(reply.attributes().is_err());
    }
}
