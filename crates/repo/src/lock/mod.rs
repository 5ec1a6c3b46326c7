//! Holding a lock on a repository.
//!
//! Locks are files, and they only bind those who look. restic's rules: write your lock, wait a moment, look again;
//! many may hold a shared lock, an exclusive one tolerates no other; refresh every five minutes; what was not
//! refreshed for half an hour is stale. A writer holds a shared lock from its start to its commit, so that no
//! prune removes the packs it is going to refer to. A prune of ours holds a shared one too, with a role that other
//! prunes of ours respect: it works beside writers.

mod file;
mod listing;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use sendense_storage::{FileKind, Storage};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::task::{AbortHandle, JoinHandle};

use crate::crypto::Key;

use crate::{Error, LockId, Result, sealed_json};
use file::Holding;
pub(crate) use file::{LockFile, STALE_AFTER};
pub use listing::LockInfo;
pub(crate) use listing::{Locks, infos, look_twice, remove_older_than, remove_stale};

/// Others believe in a lock for half an hour. We stop believing in ours well before, so that a slow clock and a
/// slow storage have room.
const TRUST_FOR: Duration = STALE_AFTER.saturating_sub(Duration::from_mins(8));

/// How soon a failed refresh is repeated.
const RETRY_AFTER: Duration = Duration::from_secs(30);

/// When locks are looked at and refreshed.
#[derive(Clone, Copy, Debug)]
pub struct LockTiming {
    /// The wait between writing a lock and looking for others, in which their writes become visible.
    pub settle: Duration,
    /// The time between two refreshes.
    pub refresh: Duration,
}

impl Default for LockTiming {
    /// The times that restic uses.
    fn default() -> Self {
        Self { settle: Duration::from_millis(200), refresh: Duration::from_mins(5) }
    }
}

/// What the holder of a lock of ours does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LockRole {
    /// Adds to the repository.
    Write,
    /// Rearranges it: one at a time, beside any number of writers.
    Prune,
}

/// How much of the repository a lock claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockKind {
    /// Many at a time, and only an exclusive lock keeps it out.
    Writer,
    /// As a writer, but one at a time.
    Prune,
    /// Tolerates no other lock at all.
    Exclusive,
}

impl LockKind {
    fn role(self) -> LockRole {
        match self {
            Self::Writer => LockRole::Write,
            Self::Prune | Self::Exclusive => LockRole::Prune,
        }
    }

    /// Whether such a lock cannot be had beside the other one.
    fn collides_with(self, other: &LockFile) -> bool {
        let is_prune = other.sendense.as_ref().is_some_and(|holding| holding.role == LockRole::Prune);
        match self {
            Self::Writer => other.exclusive,
            Self::Prune => other.exclusive || is_prune,
            Self::Exclusive => true,
        }
    }
}

/// A lock of ours, refreshed in the background. Dropping it removes it as soon as the runtime gets to it;
/// [`HeldLock::release`] waits for that.
pub(crate) struct HeldLock {
    holder: Arc<Holder>,
    refresher: JoinHandle<()>,
}

struct Holder {
    storage: Arc<dyn Storage>,
    key: Key,
    kind: LockKind,
    holding: Holding,
    state: Mutex<State>,
}

struct State {
    /// `None` before it is there, and once it is released or lost.
    id: Option<LockId>,
    /// Files that may be there or still come: writes of which we do not know how they ended, and what could not be
    /// removed yet.
    strays: Vec<LockId>,
    refreshed_at: Instant,
    /// The same by the clock on the wall, which goes on while the machine sleeps.
    refreshed_on: SystemTime,
}

impl State {
    fn new() -> Self {
        let (refreshed_at, refreshed_on) = (Instant::now(), SystemTime::now());
        Self { id: None, strays: Vec::new(), refreshed_at, refreshed_on }
    }

    fn age(&self) -> Duration {
        self.refreshed_at.elapsed().max(self.refreshed_on.elapsed().unwrap_or_default())
    }
}

impl HeldLock {
    /// Takes a writer's lock. Fails with [`Error::Locked`] when somebody holds an exclusive one. Locks whose
    /// process was on this machine and is dead are removed on the way.
    pub(crate) async fn acquire(storage: &Arc<dyn Storage>, key: &Key, timing: LockTiming) -> Result<Self> {
        Self::acquire_as(LockKind::Writer, storage, key, timing).await
    }

    /// Takes a lock of any kind. Of two that collide and are taken at the same moment, both may fail.
    pub(crate) async fn acquire_as(
        kind: LockKind,
        storage: &Arc<dyn Storage>,
        key: &Key,
        timing: LockTiming,
    ) -> Result<Self> {
        let holding = Holding::begin(kind.role());
        listing::look_for_collision(&**storage, key, kind, &holding).await?;
        let holder = Arc::new(Holder {
            storage: Arc::clone(storage),
            key: key.clone(),
            kind,
            holding,
            state: Mutex::new(State::new()),
        });
        // From here on dropping the lock removes the file.
        let refresher = tokio::spawn(refresh_forever(Arc::clone(&holder), timing.refresh));
        let lock = Self { holder, refresher };
        match lock.settle(timing).await {
            Ok(()) => Ok(lock),
            Err(error) => {
                // The reason not to get it matters more than whether the file could be removed.
                let _ = lock.release().await;
                Err(error)
            }
        }
    }

    /// Writes the lock, and looks whether somebody else has done so meanwhile.
    async fn settle(&self, timing: LockTiming) -> Result<()> {
        let Holder { storage, key, kind, holding, state } = &*self.holder;
        self.holder.write(&mut *state.lock().await).await?;
        tokio::time::sleep(timing.settle).await;
        listing::look_for_collision(&**storage, key, *kind, holding).await
    }

    /// Whether the lock still protects us, as far as we know without asking the storage.
    pub(crate) async fn check(&self) -> Result<()> {
        let state = self.holder.state.lock().await;
        if state.id.is_some() && state.age() < TRUST_FOR { Ok(()) } else { Err(Error::LockLost) }
    }

    /// Whether the lock still protects us: its file must be there.
    pub(crate) async fn confirm(&self) -> Result<()> {
        self.check().await?;
        let mut state = self.holder.state.lock().await;
        self.holder.confirm(&mut state).await.map(|_| ())
    }

    /// The id of the holder, which all its lock files name.
    pub(crate) fn writer(&self) -> &str {
        &self.holder.holding.writer
    }

    /// Removes the lock.
    pub(crate) async fn release(self) -> Result<()> {
        self.holder.remove(&self.refresher.abort_handle()).await
    }
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        // Without a runtime the process is about to end; the next writer on this machine sweeps the file.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (holder, refresher) = (Arc::clone(&self.holder), self.refresher.abort_handle());
            runtime.spawn(async move { holder.remove(&refresher).await });
        } else {
            self.refresher.abort();
        }
    }
}

impl Holder {
    /// The id of the lock if its file is there. If it is not, somebody decided that we are dead.
    async fn confirm(&self, state: &mut State) -> Result<LockId> {
        let id = state.id.ok_or(Error::LockLost)?;
        if self.storage.exists(FileKind::Lock, &id.into()).await? {
            return Ok(id);
        }
        state.id = None;
        Err(Error::LockLost)
    }

    /// Replaces the lock by a new one: first write, then remove, so that there is always one.
    async fn refresh(&self) -> Result<()> {
        let mut state = self.state.lock().await;
        let old = self.confirm(&mut state).await?;
        self.write(&mut state).await?;
        state.strays.push(old);
        // What cannot be removed now waits for the next time.
        let _ = self.remove_strays(&mut state).await;
        Ok(())
    }

    /// Writes a lock. It is known before it is written: a write whose answer is lost may have done its work.
    async fn write(&self, state: &mut State) -> Result<()> {
        let (now, holding) = (SystemTime::now(), Some(self.holding.clone()));
        let lock = match self.kind {
            LockKind::Exclusive => LockFile::exclusive(now, holding),
            LockKind::Writer | LockKind::Prune => LockFile::shared(now, holding),
        };
        let file = sealed_json::seal(&self.key, &lock)?;
        let id = LockId::from(file.id);
        state.strays.push(id);
        self.storage.write(FileKind::Lock, &file.id, file.content).await?;
        state.strays.retain(|stray| *stray != id);
        *state = State { id: Some(id), strays: std::mem::take(&mut state.strays), ..State::new() };
        Ok(())
    }

    /// Removes the lock. A refresh that is under way ends first: what it writes would be known to nobody.
    async fn remove(&self, refresher: &AbortHandle) -> Result<()> {
        let mut state = self.state.lock().await;
        refresher.abort();
        let id = state.id.take();
        state.strays.extend(id);
        self.remove_strays(&mut state).await
    }

    async fn remove_strays(&self, state: &mut State) -> Result<()> {
        while let Some(id) = state.strays.last() {
            self.storage.remove(FileKind::Lock, &(*id).into()).await?;
            state.strays.pop();
        }
        Ok(())
    }
}

async fn refresh_forever(holder: Arc<Holder>, every: Duration) {
    let mut wait = every;
    loop {
        tokio::time::sleep(wait).await;
        wait = match holder.refresh().await {
            Ok(()) => every,
            Err(Error::LockLost) => return,
            // The lock is good for a while; `check` says when that is over.
            Err(_) => RETRY_AFTER.min(every),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sendense_storage::MemoryStorage;
    use sendense_testkit::storage::{Fault, FaultyStorage, Verb};

    const QUICK: LockTiming = LockTiming { settle: Duration::ZERO, refresh: Duration::from_mins(5) };

    fn a_place() -> (Arc<dyn Storage>, Key) {
        (Arc::new(MemoryStorage::new()), Key::random())
    }

    async fn put(storage: &dyn Storage, key: &Key, lock: &LockFile) -> LockId {
        let file = sealed_json::seal(key, lock).unwrap();
        storage.write(FileKind::Lock, &file.id, file.content).await.unwrap();
        file.id.into()
    }

    async fn locks_len(storage: &dyn Storage) -> usize {
        storage.list(FileKind::Lock).await.unwrap().len()
    }

    #[tokio::test]
    async fn many_hold_a_shared_lock_and_each_removes_its_own() {
        let (storage, key) = a_place();
        let first = HeldLock::acquire(&storage, &key, QUICK).await.unwrap();
        let second = HeldLock::acquire(&storage, &key, QUICK).await.unwrap();
        assert_eq!(locks_len(&*storage).await, 2);
        first.release().await.unwrap();
        second.confirm().await.unwrap();
        assert_eq!(locks_len(&*storage).await, 1);
        second.release().await.unwrap();
        assert_eq!(locks_len(&*storage).await, 0);
    }

    #[tokio::test]
    async fn an_exclusive_lock_keeps_us_out_and_is_left_alone() {
        let (storage, key) = a_place();
        put(&*storage, &key, &LockFile::exclusive(SystemTime::now(), None)).await;
        let error = HeldLock::acquire(&storage, &key, QUICK).await.err().unwrap();
        assert!(matches!(error, Error::Locked { pid, is_stale: false, .. } if pid == crate::host::pid()));
        assert!(error.is_temporary());
        assert_eq!(locks_len(&*storage).await, 1);
    }

    #[tokio::test]
    async fn an_exclusive_lock_that_comes_at_the_same_moment_wins() {
        let (storage, key) = a_place();
        let timing = LockTiming { settle: Duration::from_millis(100), ..QUICK };
        let ours = {
            let (storage, key) = (Arc::clone(&storage), key.clone());
            tokio::spawn(async move { HeldLock::acquire(&storage, &key, timing).await.map(drop) })
        };
        tokio::time::sleep(Duration::from_millis(20)).await;
        let theirs = put(&*storage, &key, &LockFile::exclusive(SystemTime::now(), None)).await;
        assert!(matches!(ours.await.unwrap(), Err(Error::Locked { .. })));
        let left: Vec<LockId> =
            storage.list(FileKind::Lock).await.unwrap().iter().map(|lock| lock.id.into()).collect();
        assert_eq!(left, [theirs]);
    }

    #[tokio::test]
    async fn an_old_exclusive_lock_still_holds_until_somebody_decides() {
        let (storage, key) = a_place();
        let an_hour_ago = SystemTime::now() - Duration::from_hours(1);
        put(&*storage, &key, &LockFile::exclusive(an_hour_ago, None)).await;
        let error = HeldLock::acquire(&storage, &key, QUICK).await.err().unwrap();
        assert!(matches!(error, Error::Locked { is_stale: true, .. }) && !error.is_temporary());
        assert_eq!(remove_stale(&*storage, &key).await.unwrap(), 1);
        HeldLock::acquire(&storage, &key, QUICK).await.unwrap();
    }

    #[tokio::test]
    async fn a_lock_of_a_dead_process_of_this_machine_is_swept() {
        let (storage, key) = a_place();
        put(&*storage, &key, &LockFile::of_dead_process(SystemTime::now())).await;
        let lock = HeldLock::acquire(&storage, &key, QUICK).await.unwrap();
        assert_eq!(locks_len(&*storage).await, 1);
        lock.confirm().await.unwrap();
    }

    #[tokio::test]
    async fn a_lock_that_cannot_be_read_binds_nobody() {
        let (storage, key) = a_place();
        put(&*storage, &Key::random(), &LockFile::exclusive(SystemTime::now(), None)).await;
        HeldLock::acquire(&storage, &key, QUICK).await.unwrap();
    }

    #[tokio::test]
    async fn a_lock_is_refreshed_and_there_is_one_at_every_moment() {
        let (storage, key) = a_place();
        let timing = LockTiming { refresh: Duration::from_millis(5), ..QUICK };
        let lock = HeldLock::acquire(&storage, &key, timing).await.unwrap();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..100 {
            let locks = storage.list(FileKind::Lock).await.unwrap();
            assert!((1..=2).contains(&locks.len()), "{locks:?}");
            seen.extend(locks.iter().map(|lock| lock.id));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(seen.len() > 5, "{}", seen.len());
        lock.release().await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(locks_len(&*storage).await, 0);
    }

    #[tokio::test]
    async fn a_lock_that_somebody_removed_is_lost_for_good() {
        let (storage, key) = a_place();
        let timing = LockTiming { refresh: Duration::from_millis(5), ..QUICK };
        let lock = HeldLock::acquire(&storage, &key, timing).await.unwrap();
        for file in storage.list(FileKind::Lock).await.unwrap() {
            storage.remove(FileKind::Lock, &file.id).await.unwrap();
        }
        assert!(matches!(lock.confirm().await, Err(Error::LockLost)));
        tokio::time::sleep(Duration::from_millis(30)).await;
        assert!(matches!(lock.check().await, Err(Error::LockLost)));
        assert_eq!(locks_len(&*storage).await, 0, "it does not come back");
    }

    async fn acquire_as(kind: LockKind, storage: &Arc<dyn Storage>, key: &Key) -> Result<HeldLock> {
        HeldLock::acquire_as(kind, storage, key, QUICK).await
    }

    #[tokio::test]
    async fn one_prune_works_at_a_time_beside_any_number_of_writers() {
        let (storage, key) = a_place();
        let _writer = HeldLock::acquire(&storage, &key, QUICK).await.unwrap();
        let prune = acquire_as(LockKind::Prune, &storage, &key).await.unwrap();
        let _second_writer = HeldLock::acquire(&storage, &key, QUICK).await.unwrap();
        assert!(matches!(acquire_as(LockKind::Prune, &storage, &key).await, Err(Error::Locked { .. })));
        prune.release().await.unwrap();
        acquire_as(LockKind::Prune, &storage, &key).await.unwrap();
    }

    #[tokio::test]
    async fn an_exclusive_lock_of_ours_tolerates_no_other() {
        let (storage, key) = a_place();
        let writer = HeldLock::acquire(&storage, &key, QUICK).await.unwrap();
        assert!(matches!(acquire_as(LockKind::Exclusive, &storage, &key).await, Err(Error::Locked { .. })));
        assert_eq!(locks_len(&*storage).await, 1, "an attempt leaves nothing");
        writer.release().await.unwrap();
        let exclusive = acquire_as(LockKind::Exclusive, &storage, &key).await.unwrap();
        assert!(matches!(HeldLock::acquire(&storage, &key, QUICK).await, Err(Error::Locked { .. })));
        exclusive.release().await.unwrap();
    }

    #[tokio::test]
    async fn a_refresh_keeps_the_holder_and_the_time_it_began() {
        let (storage, key) = a_place();
        let timing = LockTiming { refresh: Duration::from_millis(5), ..QUICK };
        let lock = HeldLock::acquire(&storage, &key, timing).await.unwrap();
        let first = look_twice(&*storage, &key).await.unwrap();
        let first = first.alive[0].1.sendense.clone().unwrap();
        assert_eq!(first.writer, lock.writer());
        tokio::time::sleep(Duration::from_millis(30)).await;
        let later = look_twice(&*storage, &key).await.unwrap();
        assert!(later.alive.iter().all(|(_, lock)| lock.sendense.as_ref() == Some(&first)));
        assert!(later.alive.iter().all(|(_, lock)| lock.time > first.started));
    }

    #[tokio::test]
    async fn a_dropped_lock_goes_away() {
        let (storage, key) = a_place();
        drop(HeldLock::acquire(&storage, &key, QUICK).await.unwrap());
        while locks_len(&*storage).await > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn a_lock_is_removed_also_when_an_answer_about_it_was_lost() {
        for nth in 0.. {
            let (inner, key) = a_place();
            let faulty = Arc::new(FaultyStorage::new(Arc::clone(&inner)));
            let storage: Arc<dyn Storage> = faulty.clone();
            faulty.break_at(nth, Fault::LoseAnswer);
            let timing = LockTiming { refresh: Duration::from_millis(5), ..QUICK };
            if let Ok(lock) = HeldLock::acquire(&storage, &key, timing).await {
                tokio::time::sleep(Duration::from_millis(20)).await;
                let _ = lock.release().await;
            }
            assert_eq!(locks_len(&*inner).await, 0, "{nth}");
            if !faulty.has_broken() {
                assert!(nth > 5, "{nth}");
                return;
            }
        }
    }

    /// Where operations go on although nobody waits for them, the file would come after the lock was released.
    #[tokio::test]
    async fn a_refresh_that_is_under_way_ends_before_the_lock_is_removed() {
        let (inner, key) = a_place();
        let faulty = Arc::new(FaultyStorage::new(inner));
        let storage: Arc<dyn Storage> = faulty.clone();
        for is_dropped in [false, true] {
            faulty.repair();
            let timing = LockTiming { refresh: Duration::from_millis(30), ..QUICK };
            let lock = HeldLock::acquire(&storage, &key, timing).await.unwrap();
            // The look at the old file comes first.
            faulty.break_at(1, Fault::Slow(Duration::from_millis(60)));
            while !faulty.has_broken() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            if is_dropped {
                drop(lock);
            } else {
                lock.release().await.unwrap();
            }
            while locks_len(&*storage).await > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let ids = |verb| {
                faulty.journal().iter().filter(|one| one.verb == verb).map(|one| one.id).collect::<Vec<_>>()
            };
            let (written, removed) = (ids(Verb::Write), ids(Verb::Remove));
            assert!(
                !written.is_empty() && written.iter().all(|id| removed.contains(id)),
                "{written:?} {removed:?}"
            );
        }
    }
}
