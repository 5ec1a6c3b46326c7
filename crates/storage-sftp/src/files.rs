//! Operations on files, each of one or several requests.

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, TryStreamExt, stream};
use sendense_storage::{Capacity, ErrorKind};

use crate::failure::{Failure, Outcome};
use crate::session::Session;
use crate::wire::{Attributes, Reply, Request, kind};

pub(crate) const FSYNC: &str = "fsync@openssh.com";
const STATVFS: &str = "statvfs@openssh.com";

const READ: u32 = 1;
const WRITE_NEW: u32 = 0x02 | 0x08 | 0x20;
/// Nobody but the owner reads a repository, encrypted or not.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// What every server takes and gives in one packet.
const PIECE_BYTES: usize = 32 << 10;
/// Requests of one file that are on their way at a time: 2 MiB, so that a long way does not slow it down.
const PIECES_MAX: usize = 64;

/// An open file or listing.
pub(crate) struct Handle(Bytes);

/// A file of a listing.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) attributes: Attributes,
}

impl Session {
    async fn done(&self, request: Request) -> Outcome<()> {
        self.ask(request).await?.expect(kind::STATUS)?.map(drop).ok_or_else(Failure::not_understood)
    }

    async fn answer(&self, request: Request, kind: u8) -> Outcome<Reply> {
        self.ask(request).await?.expect(kind)?.ok_or_else(Failure::not_understood)
    }

    async fn open(&self, path: &str, flags: u32) -> Outcome<Handle> {
        let request = Request::new(kind::OPEN).string(path.as_bytes()).u32(flags).permissions(FILE_MODE);
        Ok(Handle(self.answer(request, kind::HANDLE).await?.string()?))
    }

    pub(crate) async fn open_to_read(&self, path: &str) -> Outcome<Handle> {
        self.open(path, READ).await
    }

    /// Fails if there is such a file.
    pub(crate) async fn open_new(&self, path: &str) -> Outcome<Handle> {
        self.open(path, WRITE_NEW).await
    }

    pub(crate) async fn close(&self, handle: Handle) -> Outcome<()> {
        self.done(Request::new(kind::CLOSE).string(&handle.0)).await
    }

    /// Makes the file durable, where the server has a word for that.
    pub(crate) async fn sync(&self, handle: &Handle) -> Outcome<()> {
        if !self.has_extension(FSYNC) {
            return Ok(());
        }
        self.done(Request::extended(FSYNC).string(&handle.0)).await
    }

    pub(crate) async fn look_up(&self, path: &str) -> Outcome<Attributes> {
        self.answer(Request::new(kind::STAT).string(path.as_bytes()), kind::ATTRS).await?.attributes()
    }

    pub(crate) async fn size_of(&self, handle: &Handle) -> Outcome<u64> {
        let mut reply = self.answer(Request::new(kind::FSTAT).string(&handle.0), kind::ATTRS).await?;
        reply.attributes()?.size_bytes.ok_or_else(Failure::not_understood)
    }

    /// Exactly these bytes.
    pub(crate) async fn read_exact(&self, handle: &Handle, offset: u64, len: usize) -> Outcome<Bytes> {
        let pieces = (0..len).step_by(PIECE_BYTES).map(|start| {
            let start_offset = offset.saturating_add(start as u64);
            self.read_piece(handle, start_offset, PIECE_BYTES.min(len - start))
        });
        let mut pieces = stream::iter(pieces).buffered(PIECES_MAX);
        let mut content = BytesMut::new();
        while let Some(piece) = pieces.try_next().await? {
            content.extend_from_slice(&piece);
        }
        Ok(content.freeze())
    }

    async fn read_piece(&self, handle: &Handle, offset: u64, len: usize) -> Outcome<BytesMut> {
        let mut piece = BytesMut::with_capacity(len);
        while piece.len() < len {
            let missing = u32::try_from(len - piece.len()).unwrap_or(u32::MAX);
            let at = offset.saturating_add(piece.len() as u64);
            let request = Request::new(kind::READ).string(&handle.0).u64(at).u32(missing);
            let reply = self.ask(request).await?.expect(kind::DATA)?;
            let data = reply.map(|mut reply| reply.string()).transpose()?.unwrap_or_default();
            if data.is_empty() {
                return Err(Failure::new(ErrorKind::Damaged, "the file is too short"));
            }
            if data.len() > len - piece.len() {
                return Err(Failure::not_understood());
            }
            piece.extend_from_slice(&data);
        }
        Ok(piece)
    }

    pub(crate) async fn write_all(&self, handle: &Handle, content: &[u8]) -> Outcome<()> {
        let pieces = content.chunks(PIECE_BYTES).zip((0_u64..).step_by(PIECE_BYTES)).map(Ok);
        let write = |(piece, offset)| {
            self.done(Request::new(kind::WRITE).string(&handle.0).u64(offset).string(piece))
        };
        stream::iter(pieces).try_for_each_concurrent(PIECES_MAX, write).await
    }

    /// Gives a file its name unless there is a file of that name: what the protocol says, and OpenSSH does by a link.
    pub(crate) async fn rename(&self, from: &str, to: &str) -> Outcome<()> {
        self.done(Request::new(kind::RENAME).string(from.as_bytes()).string(to.as_bytes())).await
    }

    pub(crate) async fn remove(&self, path: &str) -> Outcome<()> {
        self.done(Request::new(kind::REMOVE).string(path.as_bytes())).await
    }

    /// Makes a folder, or finds that there is one. That above it must be there.
    pub(crate) async fn make_directory(&self, path: &str) -> Outcome<()> {
        let request = Request::new(kind::MKDIR).string(path.as_bytes()).permissions(DIRECTORY_MODE);
        let Err(failure) = self.done(request).await else { return Ok(()) };
        match self.look_up(path).await {
            Ok(attributes) if attributes.is_directory() => Ok(()),
            _ => Err(failure),
        }
    }

    /// All of a folder, without itself and the one above.
    pub(crate) async fn read_directory(&self, path: &str) -> Outcome<Vec<Entry>> {
        let request = Request::new(kind::OPENDIR).string(path.as_bytes());
        let handle = Handle(self.answer(request, kind::HANDLE).await?.string()?);
        let entries = self.read_entries(&handle).await;
        let closed = self.close(handle).await;
        let entries = entries?;
        closed.map(|()| entries)
    }

    async fn read_entries(&self, handle: &Handle) -> Outcome<Vec<Entry>> {
        let mut entries = Vec::new();
        loop {
            let request = Request::new(kind::READDIR).string(&handle.0);
            let Some(mut reply) = self.ask(request).await?.expect(kind::NAME)? else { return Ok(entries) };
            for _ in 0..reply.u32()? {
                let name = reply.string()?;
                let _as_ls_shows_it = reply.string()?;
                let attributes = reply.attributes()?;
                // What is no text is no file of a repository.
                let Ok(name) = String::from_utf8(name.into()) else { continue };
                if name != "." && name != ".." {
                    entries.push(Entry { name, attributes });
                }
            }
        }
    }

    /// How much room there is, where the server can tell.
    pub(crate) async fn measure(&self, path: &str) -> Outcome<Option<Capacity>> {
        if !self.has_extension(STATVFS) {
            return Ok(None);
        }
        let request = Request::extended(STATVFS).string(path.as_bytes());
        let mut reply = self.answer(request, kind::EXTENDED_REPLY).await?;
        let _preferred_block = reply.u64()?;
        let block = reply.u64()?;
        let total = reply.u64()?;
        let _free_for_root = reply.u64()?;
        let free = reply.u64()?;
        Ok(Some(Capacity {
            total_bytes: total.saturating_mul(block),
            free_bytes: free.saturating_mul(block),
        }))
    }
}
