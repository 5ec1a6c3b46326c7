//! One run: a world, the actors, a scheduler's choices, and the judge.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use sendense_storage::{FileId, FileKind, Storage};
use tokio::task::JoinHandle;

use super::world::Enabled;
use super::{Scenario, Schedule, World};

/// A sleep of this length ends when nothing else can move. Longer than the waits of the actors that only let
/// others have their turn.
const QUIET: Duration = Duration::from_millis(10);

/// An actor that waits for time to pass gets so much at once, and so often.
const PATIENCE: Duration = Duration::from_secs(1);
const PATIENCE_MAX: u32 = 600;

/// Something that can happen next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Choice {
    Step(Enabled),
    /// The process of an actor dies. Its lock stays, or whoever looks after dead processes removes it at once.
    Kill {
        actor: usize,
        lock_stays: bool,
    },
}

/// What a policy chooses from.
pub(super) struct Moment<'a> {
    /// The usual choice first: the actor that moved last goes on.
    pub(super) options: &'a [Choice],
    /// The actor that moved last.
    pub(super) current: Option<usize>,
    /// Stands for all that decides how it goes on.
    pub(super) fingerprint: u64,
}

/// Decides how a run goes.
pub(super) trait Policy {
    /// The number of an option; `None` when it is known already how it goes on from here.
    fn choose(&mut self, moment: &Moment<'_>) -> Option<usize>;
}

/// How a run went.
pub(super) struct Run {
    /// Whether it was given up because the rest is known.
    pub(super) is_known: bool,
    pub(super) failure: Option<Failure>,
}

/// A schedule under which something went wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    /// Repeats it: [`replay`].
    pub schedule: Schedule,
    /// What is wrong.
    pub reason: String,
    /// What was let through, in order.
    pub trace: Vec<String>,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}\nschedule: {}", self.reason, self.schedule)?;
        self.trace.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

/// Repeats the run of a schedule. Returns what went wrong.
pub fn replay(scenario: &impl Scenario, schedule: &Schedule) -> Option<Failure> {
    struct Replay<'a>(&'a Schedule, usize);
    impl Policy for Replay<'_> {
        fn choose(&mut self, moment: &Moment<'_>) -> Option<usize> {
            let choice = self.0.choice(self.1);
            self.1 += 1;
            Some(choice.min(moment.options.len() - 1))
        }
    }
    run(scenario, &mut Replay(schedule, 0)).failure
}

/// Runs a scenario once, on a runtime of its own whose clock stands still while anybody moves.
///
/// # Panics
/// When there is no runtime to be had.
pub(super) fn run(scenario: &impl Scenario, policy: &mut impl Policy) -> Run {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    #[allow(clippy::expect_used, reason = "without a runtime there is nothing to test")]
    let runtime = builder
        .enable_time()
        .start_paused(true)
        // What is handed to other threads is done in the order in which it was handed over.
        .max_blocking_threads(1)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let world = World::with(scenario.snapshot()).await;
        let play = scenario.start(&world).await;
        let mut director = Director { world: &world, schedule: Schedule::default(), acts: Vec::new() };
        let outcome = director.direct(policy).await;
        let Director { schedule, acts, .. } = director;
        let reason = match outcome {
            Ok(End::Known) => return Run { is_known: true, failure: None },
            Ok(End::Over) => judge(scenario, &world, play).await.err(),
            Err(reason) => Some(reason),
        };
        let failure = reason.map(|reason| {
            let trace = acts.iter().map(|act| words(&world, act)).collect();
            Failure { schedule, reason, trace }
        });
        Run { is_known: false, failure }
    })
}

enum End {
    Over,
    Known,
}

struct Director<'a> {
    world: &'a Arc<World>,
    schedule: Schedule,
    acts: Vec<Choice>,
}

impl Director<'_> {
    async fn direct(&mut self, policy: &mut impl Policy) -> Result<End, String> {
        self.world.raise_curtain();
        let mut current = None;
        while let Some(enabled) = self.next_enabled().await? {
            let options = options(&enabled, current);
            let fingerprint = self.world.fingerprint(&files(self.world).await);
            let moment = Moment { options: &options, current, fingerprint };
            let Some(choice) = policy.choose(&moment) else { return Ok(End::Known) };
            self.schedule.push(choice);
            self.acts.push(options[choice]);
            match options[choice] {
                Choice::Step(enabled) => {
                    current = Some(enabled.actor);
                    self.world.let_through(&enabled);
                }
                Choice::Kill { actor, lock_stays } => {
                    current = None;
                    self.world.kill(actor);
                    if !lock_stays {
                        self.world.remove_locks_of(actor).await;
                    }
                }
            }
        }
        Ok(End::Over)
    }

    /// What can happen when everybody waits; `None` when all actors have ended.
    async fn next_enabled(&self) -> Result<Option<Vec<Enabled>>, String> {
        tokio::time::sleep(QUIET).await;
        for _ in 0..PATIENCE_MAX {
            let enabled = self.world.enabled();
            if !enabled.is_empty() {
                return Ok(Some(enabled));
            }
            if self.world.is_over() {
                return Ok(None);
            }
            tokio::time::sleep(PATIENCE).await;
        }
        Err("nobody can move, and not all have ended".into())
    }
}

/// The options, the usual one first, the death of whoever moved last at the end.
fn options(enabled: &[Enabled], current: Option<usize>) -> Vec<Choice> {
    let is_current = |enabled: &&Enabled| Some(enabled.actor) == current;
    let first = enabled.iter().filter(is_current);
    let others = enabled.iter().filter(|enabled| !is_current(enabled));
    let mut options: Vec<_> = first.chain(others).map(|enabled| Choice::Step(*enabled)).collect();
    if let Some(actor) = current.filter(|_| enabled.iter().any(|enabled| is_current(&enabled))) {
        options.extend([true, false].map(|lock_stays| Choice::Kill { actor, lock_stays }));
    }
    options
}

async fn files(world: &World) -> Vec<(FileKind, FileId)> {
    let mut files = Vec::new();
    for kind in FileKind::ALL {
        let entries = world.inner().list(kind).await.unwrap_or_default();
        files.extend(entries.iter().map(|entry| (kind, entry.id)));
    }
    files
}

async fn judge<S: Scenario>(scenario: &S, world: &Arc<World>, play: S::Play) -> Result<(), String> {
    for (name, task) in world.take_tasks() {
        if let Some(panic) = panic_of(task).await {
            return Err(format!("{name} panicked: {panic}"));
        }
    }
    match AssertUnwindSafe(scenario.judge(world, play)).catch_unwind().await {
        Ok(verdict) => verdict,
        Err(panic) => Err(format!("the judge panicked: {}", panic_words(&*panic))),
    }
}

async fn panic_of(task: JoinHandle<()>) -> Option<String> {
    let error = task.await.err()?;
    error.try_into_panic().ok().map(|panic| panic_words(&*panic))
}

fn panic_words(panic: &(dyn std::any::Any + Send)) -> String {
    let words = panic.downcast_ref::<String>().cloned();
    words.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).unwrap_or_default()
}

fn words(world: &World, act: &Choice) -> String {
    match act {
        Choice::Step(enabled) => world.describe(enabled.actor, &enabled.step),
        Choice::Kill { actor, lock_stays } => {
            format!("{} dies, its lock {}", world.name_of(*actor), if *lock_stays { "stays" } else { "goes" })
        }
    }
}
