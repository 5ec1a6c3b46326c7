//! A storage that breaks at a chosen moment.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use sendense_storage::{
    Capacity, Error, ErrorKind, FileEntry, FileId, FileKind, Protection, ProtectionPolicy, Result, Storage,
    Verb,
};

/// What happens at the chosen operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// This one operation fails without having done anything.
    Fail(ErrorKind),
    /// This one operation is done, but its answer is lost: the caller sees a temporary error.
    LoseAnswer,
    /// This one operation takes so much longer.
    Slow(Duration),
    /// From here on every write takes so much longer.
    SlowWrites(Duration),
    /// This operation and the following ones, so many in all, fail like a server that is overloaded: a temporary
    /// error, and nothing was done.
    Overload {
        /// How many operations fail.
        operations: usize,
    },
    /// This one operation breaks off half-way with a temporary error: of a listing or a file some bytes had arrived,
    /// a write had begun. Nothing of it is seen.
    BreakOff,
    /// A disk that returns other bytes than were written: of this one write, a bit of the first quarter is flipped.
    /// Other operations are done as they are.
    FlipBit,
    /// From here on there is no room for any write.
    NoSpace,
    /// The process dies before the operation: it is not done, and every later one fails too.
    CrashBefore,
    /// The process dies after the operation: it is done, and every later one fails.
    CrashAfter,
    /// A disk that lied about its sync: of a write only so many bytes are there, under the final name. Then as
    /// [`Fault::CrashBefore`]; other operations are not done.
    Tear {
        /// The bytes of the file that survive.
        keep_bytes: usize,
    },
}

/// One line of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// What was asked.
    pub verb: Verb,
    /// Of which kind of file; `None` for operations on the whole place.
    pub kind: Option<FileKind>,
    /// The file, where one was named.
    pub id: Option<FileId>,
}

#[derive(Debug, Default)]
struct State {
    journal: Vec<Operation>,
    plan: Option<(usize, Fault)>,
    is_dead: bool,
    is_full: bool,
    write_delay: Option<Duration>,
}

/// What the state decided for one operation.
enum Verdict {
    Go,
    Refuse(Error),
    WaitThenGo(Duration),
    GoThenRefuse,
    TearThenRefuse(usize),
    Flip,
}

/// Passes everything on to an inner storage until the chosen operation. Keeps a journal of what was asked.
#[derive(Debug)]
pub struct FaultyStorage {
    inner: Arc<dyn Storage>,
    state: Mutex<State>,
}

impl FaultyStorage {
    /// Wraps `inner`; nothing breaks until [`Self::break_at`].
    #[must_use]
    pub fn new(inner: Arc<dyn Storage>) -> Self {
        Self { inner, state: Mutex::default() }
    }

    /// Breaks at the `nth` operation from now on, counted from 0, and forgets the journal so far.
    pub fn break_at(&self, nth: usize, fault: Fault) {
        *self.state() = State { plan: Some((nth, fault)), ..State::default() };
    }

    /// Works again, with an empty journal.
    pub fn repair(&self) {
        *self.state() = State::default();
    }

    /// What was asked since the start, [`Self::break_at`] or [`Self::repair`]; refused operations included.
    #[must_use]
    pub fn journal(&self) -> Vec<Operation> {
        self.state().journal.clone()
    }

    /// Whether the chosen operation has come.
    #[must_use]
    pub fn has_broken(&self) -> bool {
        let state = self.state();
        state.plan.is_some_and(|(nth, _)| state.journal.len() > nth)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn decide(&self, verb: Verb, kind: Option<FileKind>, id: Option<&FileId>) -> Verdict {
        let mut state = self.state();
        let number = state.journal.len();
        state.journal.push(Operation { verb, kind, id: id.copied() });
        if state.is_dead {
            return Verdict::Refuse(dead());
        }
        let fault = state.plan.and_then(|(nth, fault)| {
            let last = if let Fault::Overload { operations } = fault { nth + operations } else { nth + 1 };
            (nth..last).contains(&number).then_some(fault)
        });
        match fault {
            Some(Fault::NoSpace) => state.is_full = true,
            Some(Fault::SlowWrites(delay)) => state.write_delay = Some(delay),
            Some(Fault::CrashBefore | Fault::CrashAfter | Fault::Tear { .. }) => state.is_dead = true,
            _ => {}
        }
        match fault {
            Some(Fault::Slow(delay)) => Verdict::WaitThenGo(delay),
            Some(Fault::FlipBit) if verb == Verb::Write => Verdict::Flip,
            Some(Fault::Overload { .. }) => Verdict::Refuse(temporary("the server is overloaded")),
            Some(Fault::BreakOff) if verb.is_write() => Verdict::Refuse(temporary("it broke off")),
            Some(Fault::Fail(kind)) => Verdict::Refuse(Error::new(kind, "work", "a planned fault")),
            Some(Fault::BreakOff | Fault::LoseAnswer | Fault::CrashAfter) => Verdict::GoThenRefuse,
            Some(Fault::Tear { keep_bytes }) if verb == Verb::Write => Verdict::TearThenRefuse(keep_bytes),
            Some(Fault::CrashBefore | Fault::Tear { .. }) => Verdict::Refuse(dead()),
            _ if state.is_full && verb == Verb::Write => {
                Verdict::Refuse(Error::new(ErrorKind::NoSpace, "write", "a planned lack of room"))
            }
            _ => match state.write_delay {
                Some(delay) if verb == Verb::Write => Verdict::WaitThenGo(delay),
                _ => Verdict::Go,
            },
        }
    }

    /// The error of an operation that was done although it fails.
    fn lost(&self) -> Error {
        if self.state().is_dead {
            dead()
        } else {
            Error::new(ErrorKind::Timeout, "work", "a planned loss of an answer")
        }
    }

    async fn run<T>(
        &self,
        verb: Verb,
        kind: Option<FileKind>,
        id: Option<&FileId>,
        operation: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        match self.decide(verb, kind, id) {
            Verdict::Go | Verdict::Flip => operation.await,
            Verdict::WaitThenGo(delay) => {
                tokio::time::sleep(delay).await;
                operation.await
            }
            Verdict::Refuse(error) => Err(error),
            Verdict::GoThenRefuse | Verdict::TearThenRefuse(_) => {
                operation.await?;
                Err(self.lost())
            }
        }
    }
}

fn temporary(message: &str) -> Error {
    Error::new(ErrorKind::Other, "work", message).temporary()
}

fn dead() -> Error {
    Error::new(ErrorKind::Other, "work", "the process is dead")
}

#[async_trait]
impl Storage for FaultyStorage {
    fn location(&self) -> String {
        self.inner.location()
    }

    async fn create(&self) -> Result<()> {
        self.run(Verb::Create, None, None, self.inner.create()).await
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<FileEntry>> {
        self.run(Verb::List, Some(kind), None, self.inner.list(kind)).await
    }

    async fn size(&self, kind: FileKind, id: &FileId) -> Result<u64> {
        self.run(Verb::Size, Some(kind), Some(id), self.inner.size(kind, id)).await
    }

    async fn read(&self, kind: FileKind, id: &FileId) -> Result<Bytes> {
        self.run(Verb::Read, Some(kind), Some(id), self.inner.read(kind, id)).await
    }

    async fn read_range(&self, kind: FileKind, id: &FileId, offset: u64, len: usize) -> Result<Bytes> {
        self.run(Verb::Read, Some(kind), Some(id), self.inner.read_range(kind, id, offset, len)).await
    }

    async fn write(&self, kind: FileKind, id: &FileId, content: Bytes) -> Result<()> {
        match self.decide(Verb::Write, Some(kind), Some(id)) {
            Verdict::Go => self.inner.write(kind, id, content).await,
            Verdict::WaitThenGo(delay) => {
                tokio::time::sleep(delay).await;
                self.inner.write(kind, id, content).await
            }
            Verdict::Refuse(error) => Err(error.with_file(kind, id)),
            Verdict::Flip => {
                let mut flipped = content.to_vec();
                if let Some(byte) = flipped.get_mut(content.len() / 4) {
                    *byte ^= 1;
                }
                self.inner.write(kind, id, flipped.into()).await
            }
            Verdict::GoThenRefuse => {
                self.inner.write(kind, id, content).await?;
                Err(self.lost())
            }
            Verdict::TearThenRefuse(keep_bytes) => {
                self.inner.write(kind, id, content.slice(..keep_bytes.min(content.len()))).await?;
                Err(dead())
            }
        }
    }

    async fn remove(&self, kind: FileKind, id: &FileId) -> Result<()> {
        self.run(Verb::Remove, Some(kind), Some(id), self.inner.remove(kind, id)).await
    }

    async fn capacity(&self) -> Result<Option<Capacity>> {
        self.run(Verb::Capacity, None, None, self.inner.capacity()).await
    }

    fn protection_policy(&self) -> Option<ProtectionPolicy> {
        self.inner.protection_policy()
    }

    async fn protection(&self, kind: FileKind, id: &FileId) -> Result<Option<Protection>> {
        self.run(Verb::Protection, Some(kind), Some(id), self.inner.protection(kind, id)).await
    }

    async fn extend_protection(
        &self,
        kind: FileKind,
        id: &FileId,
        until: SystemTime,
    ) -> Result<Option<Protection>> {
        let extension = self.inner.extend_protection(kind, id, until);
        self.run(Verb::ExtendProtection, Some(kind), Some(id), extension).await
    }
}
