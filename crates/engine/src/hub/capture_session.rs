//! The owner's view of a capture on the Hub.

use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use sendense_repo::{NewFile, NewRestorePoint, Repository, WriterOptions};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::base_content::load_base;
use super::data_plane::DataPlane;
use super::rate_limit::RateLimit;
use super::session::Session;
use super::session_disk::{Base, SessionDisk, SessionDiskCounters};
use super::sessions::Sessions;
use super::ticket::Ticket;
use crate::geometry::Geometry;
use crate::restore_point::parse_id;
use crate::wire::is_name;
use crate::{ChunkId, Code, Error, Result};

/// How a session is run.
pub struct CaptureSessionOptions {
    /// Names the capture in paths.
    pub capture_id: String,
    /// Chunk size of all its disks.
    pub chunk_bytes: u32,
    /// How fast the Hub reads from the Node, all disks together.
    pub bytes_per_second_max: Option<u64>,
    /// Limits that it shares with other sessions, for example with all of a Node or of a repository.
    pub rate_limits: Vec<Arc<RateLimit>>,
    /// A session without a request for this long is aborted by itself.
    pub idle_timeout: Duration,
    /// How long the ticket is good at most.
    pub ticket_lifetime: Duration,
}

impl CaptureSessionOptions {
    /// The usual term of a ticket: longer than the longest first backup.
    pub const TICKET_LIFETIME: Duration = Duration::from_hours(7 * 24);
}

/// What the restore point says beside its disks.
pub struct CommitOptions {
    /// Name of the VM.
    pub hostname: String,
    /// The directory that holds the files, the same for all restore points of a VM: one component of a path.
    pub directory: String,
    /// When the disks were as they are.
    pub time: SystemTime,
    /// Free words.
    pub tags: Vec<String>,
    /// Id of the restore point this one follows.
    pub parent: Option<String>,
    /// Text files beside the disks.
    pub files: Vec<TextFile>,
}

impl CommitOptions {
    /// A directory for a VM of this name: what cannot stand in one component of a path is replaced.
    #[must_use]
    pub fn directory_of(hostname: &str) -> String {
        let replaced = |letter: char| if letter == '/' || letter.is_control() { '_' } else { letter };
        // 63 characters of at most 4 bytes are less than the 255 bytes that a component may have.
        let name: String = hostname.chars().map(replaced).take(63).collect();
        if name.is_empty() || name.starts_with('.') { format!("_{name}") } else { name }
    }
}

/// A small file of a restore point.
pub struct TextFile {
    /// Its name, without folders.
    pub name: String,
    /// What it says.
    pub text: String,
}

/// A restore point that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Its id.
    pub restore_point_id: String,
    /// Plain bytes of the chunks that the repository lacked.
    pub new_bytes: u64,
    /// The same as stored.
    pub stored_bytes: u64,
}

/// The Hub's side of one capture: all disks of one VM, one restore point or none. It ends by [`Self::commit`],
/// [`Self::abort`], when its Node is silent for too long, or when it is dropped. Whatever was received by then stays
/// known to the repository, except after a drop, which is like the death of the process.
pub struct CaptureSession(Arc<Owner>);

/// Shared by the handle, the repository that may close it, and the watch over its silence.
pub(crate) struct Owner {
    session: Arc<Session>,
    sessions: Arc<Sessions>,
    /// Serialises commit and abort; `true` once the session has ended.
    has_ended: tokio::sync::Mutex<bool>,
}

impl CaptureSession {
    /// Begins a session and makes it known to the listener.
    pub(crate) async fn begin(
        repository: Arc<Repository>,
        data_plane: &DataPlane,
        options: CaptureSessionOptions,
    ) -> Result<Self> {
        if !is_name(&options.capture_id) {
            return Err(Error::Request(format!("{:?} is not a name for a capture", options.capture_id)));
        }
        if options.bytes_per_second_max == Some(0) {
            return Err(Error::Request(
                "With a limit of 0 bytes per second nothing would ever arrive".into(),
            ));
        }
        Geometry::new(0, options.chunk_bytes)?;
        let ticket = Ticket::generate(options.ticket_lifetime)?;
        let digest = ticket.digest();
        let writer = repository.writer(WriterOptions::default()).await?;
        let session = Arc::new(Session {
            id: options.capture_id,
            ticket,
            chunk_bytes: options.chunk_bytes,
            rates: options
                .bytes_per_second_max
                .map(|limit| Arc::new(RateLimit::new(Some(limit))))
                .into_iter()
                .chain(options.rate_limits)
                .collect(),
            writer,
            repository,
            disks: Mutex::default(),
            ending: CancellationToken::new(),
            operations: TaskTracker::new(),
            last_request_at: Mutex::new(Instant::now()),
        });
        let sessions = Arc::clone(data_plane.sessions());
        sessions.insert(digest, Arc::clone(&session));
        let owner = Arc::new(Owner { session, sessions, has_ended: tokio::sync::Mutex::new(false) });
        tokio::spawn(abort_when_silent(Arc::downgrade(&owner), options.idle_timeout));
        Ok(Self(owner))
    }

    pub(crate) fn owner(&self) -> &Arc<Owner> {
        &self.0
    }

    /// The capture id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.0.session.id()
    }

    /// The secret that lets a Node send for this session. Show it to nobody else.
    #[must_use]
    pub fn ticket(&self) -> &str {
        self.0.session.ticket().text()
    }

    /// Whether requests are taken.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.0.session.ending.is_cancelled()
    }

    /// Adds a disk, or replaces one of the same key.
    ///
    /// # Errors
    /// [`Error::BaseDiskMissing`], [`Error::BaseSizeDiffers`], [`Error::BaseChunkSizeDiffers`],
    /// [`Error::RestorePointBeingPruned`] or [`Error::RestorePointDamaged`], or that of a restore point that is gone, if the
    /// base cannot serve; the disk is not added then.
    pub async fn begin_disk(&self, disk_key: &str, size_bytes: u64, base: Option<Base>) -> Result<()> {
        if !is_name(disk_key) {
            return Err(Error::Request(format!("{disk_key:?} is not a name for a disk")));
        }
        let session = &self.0.session;
        let geometry = Geometry::new(size_bytes, session.chunk_bytes)?;
        let base = match base {
            Some(base) => {
                let content = load_base(&session.repository, &base, &geometry).await?;
                Some((base, content))
            }
            None => None,
        };
        let disk = Arc::new(SessionDisk::new(disk_key.to_owned(), geometry, base));
        session.disks().insert(disk_key.to_owned(), disk);
        Ok(())
    }

    /// Takes a disk out again.
    ///
    /// # Errors
    /// `capture-unknown` if there is no such disk.
    pub fn drop_disk(&self, disk_key: &str) -> Result<()> {
        self.0.session.disk(disk_key)?;
        self.0.session.disks().remove(disk_key);
        Ok(())
    }

    /// What was received so far, in the order of the disk keys.
    #[must_use]
    pub fn counters(&self) -> Vec<SessionDiskCounters> {
        let disks: Vec<_> = self.0.session.disks().values().cloned().collect();
        disks.iter().map(|disk| disk.counters()).collect()
    }

    /// Writes the restore point: all disks or nothing.
    ///
    /// # Errors
    /// `capture-incomplete` if a disk is not finished; the session goes on then. After any other error it has ended,
    /// and what was stored stays known.
    pub async fn commit(&self, options: CommitOptions) -> Result<Committed> {
        self.0.commit(options).await
    }

    /// Ends the session without a restore point. May be called at any time, and again.
    ///
    /// # Errors
    /// That of the repository, if what was received cannot be written; it has to be sent again then.
    pub async fn abort(&self) -> Result<()> {
        self.0.abort().await
    }
}

impl Owner {
    async fn commit(&self, options: CommitOptions) -> Result<Committed> {
        let mut has_ended = self.has_ended.lock().await;
        if *has_ended {
            return Err(Error::protocol(Code::CaptureUnknown, "The capture has ended"));
        }
        self.check_complete()?;
        self.stop().await;
        *has_ended = true;
        let committed = self.write_restore_point(options).await;
        if committed.is_err() {
            // The first error is the one that matters.
            let _aborted = self.session.writer.abort().await;
        }
        committed
    }

    pub(crate) async fn abort(&self) -> Result<()> {
        let mut has_ended = self.has_ended.lock().await;
        if *has_ended {
            return Ok(());
        }
        self.stop().await;
        *has_ended = true;
        Ok(self.session.writer.abort().await?)
    }

    fn check_complete(&self) -> Result<()> {
        let disks = self.session.disks();
        match disks.values().find(|disk| !disk.intake().is_finished()) {
            None => Ok(()),
            Some(disk) => Err(incomplete(&format!("Disk {} is not finished", disk.key))),
        }
    }

    /// Takes no more requests, and waits for those that are being served.
    async fn stop(&self) {
        self.sessions.remove(&self.session.ticket.digest());
        self.session.ending.cancel();
        self.session.operations.close();
        self.session.operations.wait().await;
    }

    async fn write_restore_point(&self, options: CommitOptions) -> Result<Committed> {
        let disks: Vec<_> = self.session.disks().values().cloned().collect();
        let mut files = Vec::with_capacity(disks.len() + options.files.len());
        for disk in &disks {
            files.push(self.disk_file(disk, options.time).await?);
        }
        for file in options.files {
            files.push(self.text_file(file, options.time).await?);
        }
        let restore_point = NewRestorePoint {
            time: options.time,
            hostname: options.hostname,
            username: "sendense".into(),
            directory: options.directory,
            tags: options.tags,
            parent: options.parent.as_deref().map(parse_id).transpose()?,
            files,
        };
        let id = self.session.writer.commit(restore_point).await?;
        let counters: Vec<_> = disks.iter().map(|disk| disk.counters()).collect();
        Ok(Committed {
            restore_point_id: id.to_string(),
            new_bytes: counters.iter().map(|disk| disk.new_bytes).sum(),
            stored_bytes: counters.iter().map(|disk| disk.stored_bytes).sum(),
        })
    }

    async fn disk_file(&self, disk: &SessionDisk, time: SystemTime) -> Result<NewFile> {
        let (content, zero_chunks) = {
            let intake = disk.intake();
            let content = intake.content().ok_or_else(|| incomplete("A disk was opened again"))?.to_vec();
            (content, intake.zero_ids().chunks())
        };
        for (id, plain) in zero_chunks {
            if content.contains(&id) {
                self.session.writer.add_plain(plain).await?;
            }
        }
        Ok(new_file(format!("disk-{}.raw", disk.key), disk.geometry.size_bytes(), content, time))
    }

    async fn text_file(&self, file: TextFile, time: SystemTime) -> Result<NewFile> {
        let size_bytes = file.text.len() as u64;
        let content = if file.text.is_empty() {
            Vec::new()
        } else {
            vec![self.session.writer.add_plain(Bytes::from(file.text)).await?]
        };
        Ok(new_file(file.name, size_bytes, content, time))
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.sessions.remove(&self.session.ticket.digest());
        self.session.ending.cancel();
    }
}

fn new_file(name: String, size_bytes: u64, content: Vec<ChunkId>, mtime: SystemTime) -> NewFile {
    NewFile { name, size_bytes, content, mtime }
}

/// Ends a session that no request has reached for `idle_timeout`, and that serves none.
async fn abort_when_silent(owner: Weak<Owner>, idle_timeout: Duration) {
    loop {
        let Some((ending, silent_at)) = owner.upgrade().map(|owner| {
            let session = &owner.session;
            let since =
                if session.operations.is_empty() { session.last_request_at() } else { Instant::now() };
            (session.ending.clone(), since + idle_timeout)
        }) else {
            return;
        };
        if silent_at > Instant::now() {
            if ending.run_until_cancelled(sleep_until(silent_at)).await.is_none() {
                return;
            }
        } else if let Some(owner) = owner.upgrade() {
            // Nobody waits for the result; what could not be written is sent again.
            let _aborted = owner.abort().await;
            return;
        }
    }
}

fn incomplete(detail: &str) -> Error {
    Error::protocol(Code::CaptureIncomplete, detail)
}
