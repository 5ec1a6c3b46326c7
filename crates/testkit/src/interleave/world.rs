//! The stage: which actors there are, which operations wait, and what has happened.

use std::collections::HashMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use sendense_storage::{FileId, FileKind, MemoryStorage, Storage};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::SteppedStorage;
use crate::storage::Verb;

/// Files in the order in which they were written, to begin every run with.
#[derive(Clone, Debug, Default)]
pub struct Snapshot(Vec<(FileKind, FileId, Bytes)>);

impl Snapshot {
    /// Whether it has a file.
    #[must_use]
    pub fn contains(&self, kind: FileKind, id: &FileId) -> bool {
        self.0.iter().any(|(other_kind, other_id, _)| (*other_kind, other_id) == (kind, id))
    }
}

/// A file by its history instead of its name: names are hashes of random bytes, and differ from run to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Label {
    /// The number of the actor that wrote it; `None` for what was there before.
    writer: Option<usize>,
    kind: u8,
    /// How many files of that kind the actor had written before.
    nth: usize,
}

/// An operation as the scheduler sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Step {
    /// `None` for the beginning of an actor, which is no operation yet.
    pub(super) verb: Option<Verb>,
    pub(super) kind: Option<FileKind>,
    pub(super) label: Option<Label>,
}

/// One storage that several actors share, and the state of all of them.
#[derive(Debug)]
pub struct World {
    inner: Arc<MemoryStorage>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Until then operations pass.
    is_curtain_up: bool,
    actors: Vec<ActorState>,
    labels: HashMap<(FileKind, FileId), Label>,
    written: HashMap<(Option<usize>, FileKind), usize>,
    /// Who began, and who asked to write a lock, an index file or a restore point, in this order: such files hold
    /// times, so that two orders are two histories.
    clock: u64,
}

#[derive(Debug, Default)]
struct ActorState {
    name: String,
    /// Each waiting operation is a choice of its own, not only the first one.
    is_loose: bool,
    is_dead: bool,
    pending: Vec<Pending>,
    /// What the actor has seen so far.
    history: u64,
    task: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Pending {
    step: Step,
    release: Option<oneshot::Sender<()>>,
}

/// Something the scheduler can let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Enabled {
    pub(super) actor: usize,
    pub(super) step: Step,
    /// Position among the waiting operations of the actor.
    place: usize,
}

/// Somebody who works on the storage of a [`World`] through a storage of its own.
#[derive(Clone, Debug)]
pub struct Actor {
    world: Arc<World>,
    number: usize,
}

impl World {
    /// A world that begins with these files.
    pub async fn with(snapshot: &Snapshot) -> Arc<Self> {
        let world = Arc::new(Self { inner: Arc::new(MemoryStorage::new()), state: Mutex::default() });
        for (kind, id, content) in &snapshot.0 {
            // Memory has no reason to refuse.
            let _ = world.inner.write(*kind, id, content.clone()).await;
            world.state().label(None, *kind, id);
        }
        world
    }

    /// The files as they are now. Those of the snapshot that the world began with come first.
    ///
    /// # Panics
    /// When the storage fails, which memory does not.
    pub async fn snapshot(&self) -> Snapshot {
        let mut files = Vec::new();
        for ((kind, id), label) in self.labels() {
            if let Ok(content) = self.inner.read(kind, &id).await {
                files.push((label, kind, id, content));
            }
        }
        files.sort_by_key(|(label, ..)| *label);
        Snapshot(files.into_iter().map(|(_, kind, id, content)| (kind, id, content)).collect())
    }

    fn labels(&self) -> Vec<((FileKind, FileId), Label)> {
        self.state().labels.iter().map(|(file, label)| (*file, *label)).collect()
    }

    /// The storage that all actors share, past the scheduler: for preparing and judging.
    #[must_use]
    pub fn inner(&self) -> Arc<MemoryStorage> {
        Arc::clone(&self.inner)
    }

    /// Brings in another actor.
    pub fn actor(self: &Arc<Self>, name: impl Into<String>) -> Actor {
        let mut state = self.state();
        state.actors.push(ActorState { name: name.into(), ..ActorState::default() });
        Actor { world: Arc::clone(self), number: state.actors.len() - 1 }
    }

    /// From here on operations wait. What the actors have seen so far is the same in every run.
    pub(super) fn raise_curtain(&self) {
        let mut state = self.state();
        state.is_curtain_up = true;
        state.actors.iter_mut().for_each(|actor| actor.history = 0);
    }

    /// What can be let through now. The first operation of each actor, or all where it is loose.
    pub(super) fn enabled(&self) -> Vec<Enabled> {
        let mut state = self.state();
        let mut enabled = Vec::new();
        for (actor, actor_state) in state.actors.iter_mut().enumerate().filter(|(_, actor)| !actor.is_dead) {
            // A caller that gave up takes its operation along.
            actor_state.pending.retain(|pending| pending.release.as_ref().is_some_and(|to| !to.is_closed()));
            actor_state.pending.sort_by_key(|pending| pending.step);
            let shown = if actor_state.is_loose { usize::MAX } else { 1 };
            let steps = actor_state.pending.iter().enumerate().take(shown);
            enabled.extend(steps.map(|(place, pending)| Enabled { actor, step: pending.step, place }));
        }
        enabled
    }

    pub(super) fn let_through(&self, enabled: &Enabled) {
        let mut state = self.state();
        if enabled.step.verb.is_none() {
            state.tick(enabled.actor, &enabled.step);
        }
        let mut pending = state.actors[enabled.actor].pending.remove(enabled.place);
        if let Some(release) = pending.release.take() {
            // The caller may have given up in this very moment.
            let _ = release.send(());
        }
    }

    /// The actor's process dies: none of its operations is done any more, not even the removal of its lock.
    pub(super) fn kill(&self, actor: usize) {
        let mut state = self.state();
        let actor = &mut state.actors[actor];
        actor.is_dead = true;
        if let Some(task) = &actor.task {
            task.abort();
        }
    }

    /// Removes the locks that an actor has left.
    pub(super) async fn remove_locks_of(&self, actor: usize) {
        for ((kind, id), label) in self.labels() {
            if kind == FileKind::Lock && label.writer == Some(actor) {
                // Memory has no reason to refuse.
                let _ = self.inner.remove(kind, &id).await;
            }
        }
    }

    /// Whether anybody has died.
    #[must_use]
    pub fn has_deaths(&self) -> bool {
        self.state().actors.iter().any(|actor| actor.is_dead)
    }

    pub(super) fn name_of(&self, actor: usize) -> String {
        self.state().actors[actor].name.clone()
    }

    /// Whether every actor has ended or is dead.
    pub(super) fn is_over(&self) -> bool {
        self.state().actors.iter().all(|actor| actor.is_dead || actor.is_finished())
    }

    /// The tasks of the actors that were not killed.
    pub(super) fn take_tasks(&self) -> Vec<(String, JoinHandle<()>)> {
        let mut state = self.state();
        let alive = state.actors.iter_mut().filter(|actor| !actor.is_dead);
        alive.filter_map(|actor| Some((actor.name.clone(), actor.task.take()?))).collect()
    }

    /// Stands for everything that decides how it goes on: the files, and what each actor has seen.
    pub(super) fn fingerprint(&self, files: &[(FileKind, FileId)]) -> u64 {
        let state = self.state();
        let mut labels: Vec<_> = files.iter().filter_map(|file| state.labels.get(file)).collect();
        labels.sort_unstable();
        let actors: Vec<_> = state.actors.iter().map(|actor| (actor.is_dead, actor.history)).collect();
        hash(&(labels, actors, state.clock))
    }

    pub(super) fn describe(&self, actor: usize, step: &Step) -> String {
        let state = self.state();
        let name = &state.actors[actor].name;
        let kind = step.kind.map(|kind| format!(" {kind}")).unwrap_or_default();
        let label = step.label.map(|label| match label.writer {
            Some(writer) => format!(" {}-{}", state.actors[writer].name, label.nth),
            None => format!(" base-{}", label.nth),
        });
        let verb = step.verb.map_or("begin".into(), |verb| format!("{verb:?}").to_lowercase());
        format!("{name}: {verb}{kind}{}", label.unwrap_or_default())
    }

    /// Registers an operation and returns what to wait for; `None` where nothing is scheduled.
    pub(super) fn arrive(
        &self,
        actor: usize,
        verb: Option<Verb>,
        file: (Option<FileKind>, Option<&FileId>),
    ) -> Option<oneshot::Receiver<()>> {
        let mut state = self.state();
        let label = match file {
            (Some(kind), Some(id)) if verb == Some(Verb::Write) => Some(state.label(Some(actor), kind, id)),
            (Some(kind), Some(id)) => state.labels.get(&name(kind, id)).copied(),
            _ => None,
        };
        // Nobody begins before the curtain rises.
        if !state.is_curtain_up && verb.is_some() {
            return None;
        }
        let step = Step { verb, kind: file.0, label };
        let holds_times = matches!(file.0, Some(FileKind::Lock | FileKind::Index | FileKind::Snapshot));
        if verb == Some(Verb::Write) && holds_times {
            state.tick(actor, &step);
        }
        let (release, receiver) = oneshot::channel();
        state.actors[actor].pending.push(Pending { step, release: Some(release) });
        Some(receiver)
    }

    /// Notes what an actor has seen.
    pub(super) fn observe(
        &self,
        actor: usize,
        verb: Verb,
        file: Option<(FileKind, FileId)>,
        seen: &impl Hash,
    ) {
        let mut state = self.state();
        let label = file.and_then(|(kind, id)| state.labels.get(&name(kind, &id)).copied());
        let history = state.actors[actor].history;
        state.actors[actor].history = hash(&(history, verb, label, hash(seen)));
    }

    /// A listing in the order in which the files came to be known, and what it shows.
    pub(super) fn sort<T>(&self, kind: FileKind, entries: &mut [T], id: impl Fn(&T) -> FileId) -> u64 {
        let state = self.state();
        entries.sort_by_key(|entry| state.labels.get(&name(kind, &id(entry))).copied());
        let labels: Vec<_> = entries.iter().map(|entry| state.labels.get(&name(kind, &id(entry)))).collect();
        hash(&labels)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn label(&mut self, writer: Option<usize>, kind: FileKind, id: &FileId) -> Label {
        if let Some(label) = self.labels.get(&name(kind, id)) {
            return *label;
        }
        let written = self.written.entry((writer, kind)).or_default();
        let label = Label { writer, kind: rank(kind), nth: *written };
        *written += 1;
        self.labels.insert(name(kind, id), label);
        label
    }

    fn tick(&mut self, actor: usize, step: &Step) {
        self.clock = hash(&(self.clock, actor, step));
    }
}

impl ActorState {
    fn is_finished(&self) -> bool {
        self.task.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Actor {
    /// The actor's way to the storage.
    #[must_use]
    pub fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(SteppedStorage::new(Arc::clone(&self.world), self.number))
    }

    /// Lets the scheduler choose among all operations that this actor has under way at a time, as if each came
    /// from another machine. Otherwise they go in a fixed order.
    #[must_use]
    pub fn loose(self) -> Self {
        self.world.state().actors[self.number].is_loose = true;
        self
    }

    /// Gives the actor its part. It begins when the scheduler lets it.
    pub fn plays(&self, part: impl Future<Output = ()> + Send + 'static) {
        let (world, number) = (Arc::clone(&self.world), self.number);
        let task = tokio::spawn(async move {
            SteppedStorage::new(world, number).begin().await;
            part.await;
        });
        self.world.state().actors[self.number].task = Some(task);
    }
}

fn name(kind: FileKind, id: &FileId) -> (FileKind, FileId) {
    (kind, if kind == FileKind::Config { FileId::CONFIG } else { *id })
}

fn rank(kind: FileKind) -> u8 {
    let place = FileKind::ALL.iter().position(|other| *other == kind);
    place.and_then(|place| u8::try_from(place).ok()).unwrap_or(u8::MAX)
}

/// The same in every run and every process.
pub(super) fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.world.state().actors[self.number].name)
    }
}
