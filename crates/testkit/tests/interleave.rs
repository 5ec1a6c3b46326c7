//! The explorer finds races that are there, repeats them, and does not see any where there are none.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use sendense_storage::{FileId, FileKind, Storage};
use sendense_testkit::interleave::{Bounds, Scenario, Snapshot, Walk, World, explore, replay, wander};

const BOUNDS: Bounds = Bounds { preemptions_max: 1, crashes_max: 0, runs_max: 10_000 };

/// How two actors agree on who may work.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    /// Look for a lock, then write one: both may find nothing.
    LookFirst,
    /// Write a lock, then look for others: at least one of the two sees the other.
    WriteFirst,
}

/// Two actors who must never both believe that they are alone.
struct Exclusion {
    protocol: Protocol,
    snapshot: Snapshot,
}

impl Exclusion {
    fn new(protocol: Protocol) -> Self {
        Self { protocol, snapshot: Snapshot::default() }
    }
}

impl Scenario for Exclusion {
    type Play = Arc<AtomicUsize>;

    fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    async fn start(&self, world: &Arc<World>) -> Self::Play {
        let winners = Arc::new(AtomicUsize::new(0));
        for number in 0..2_u8 {
            let actor = world.actor(format!("actor-{number}"));
            let (storage, protocol, winners) = (actor.storage(), self.protocol, Arc::clone(&winners));
            actor.plays(async move {
                if is_alone(&*storage, protocol, number).await {
                    winners.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        winners
    }

    async fn judge(&self, _world: &Arc<World>, winners: Self::Play) -> Result<(), String> {
        match winners.load(Ordering::Relaxed) {
            2 => Err("both are alone".into()),
            _ => Ok(()),
        }
    }
}

async fn is_alone(storage: &dyn Storage, protocol: Protocol, number: u8) -> bool {
    let id = FileId::new([number; 32]);
    let is_free = protocol == Protocol::WriteFirst || locks_len(storage).await == 0;
    // Work on another thread is waited for, and is no reason to let another actor go on.
    tokio::task::spawn_blocking(|| std::thread::sleep(Duration::from_millis(2))).await.unwrap();
    storage.write(FileKind::Lock, &id, Bytes::from_static(b"lock")).await.unwrap();
    match protocol {
        Protocol::LookFirst => is_free,
        Protocol::WriteFirst => locks_len(storage).await == 1,
    }
}

async fn locks_len(storage: &dyn Storage) -> usize {
    storage.list(FileKind::Lock).await.unwrap().len()
}

#[test]
fn a_race_is_found_with_one_preemption_and_not_without() {
    let scenario = Exclusion::new(Protocol::LookFirst);
    let calm = explore(&scenario, Bounds { preemptions_max: 0, ..BOUNDS });
    assert!(calm.failure.is_none() && calm.is_complete && calm.schedules == 2, "{calm:?}");
    let found = explore(&scenario, BOUNDS);
    let failure = found.failure.unwrap();
    assert_eq!(failure.reason, "both are alone");
    assert_eq!((failure.trace.len(), found.unrepeatable), (6, 0), "{failure}");
}

#[test]
fn a_failure_is_repeated_from_its_schedule() {
    let scenario = Exclusion::new(Protocol::LookFirst);
    let failure = explore(&scenario, BOUNDS).failure.unwrap();
    for _ in 0..5 {
        let again = replay(&scenario, &failure.schedule.to_string().parse().unwrap()).unwrap();
        assert_eq!(again.trace, failure.trace);
    }
}

#[test]
fn a_protocol_that_holds_is_explored_completely() {
    let seen = explore(&Exclusion::new(Protocol::WriteFirst), Bounds { preemptions_max: 9, ..BOUNDS });
    assert!(seen.is_complete && seen.failure.is_none() && seen.unrepeatable == 0, "{seen:?}");
    assert!(seen.states > 10 && seen.turned_back > 0, "{seen:?}");
}

#[test]
fn a_walk_finds_the_race_too_and_is_the_same_for_the_same_seed() {
    let scenario = Exclusion::new(Protocol::LookFirst);
    let walk = Walk { seed: 1, runs: 200, crashes_max: 0 };
    let failures = [(); 2].map(|()| wander(&scenario, walk).failure.unwrap());
    assert_eq!(failures[0].trace, failures[1].trace);
    assert!(wander(&Exclusion::new(Protocol::WriteFirst), walk).failure.is_none());
}

/// One actor who writes a lock, then a pack, and removes the lock.
#[derive(Default)]
struct Mortal {
    snapshot: Snapshot,
    /// Locks and packs that were left.
    ends: Mutex<Vec<(usize, usize)>>,
}

impl Scenario for Mortal {
    type Play = ();

    fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    async fn start(&self, world: &Arc<World>) {
        let actor = world.actor("mortal");
        let storage = actor.storage();
        actor.plays(async move {
            let id = FileId::new([1; 32]);
            storage.write(FileKind::Lock, &id, Bytes::from_static(b"lock")).await.unwrap();
            storage.write(FileKind::Pack, &id, Bytes::from_static(b"pack")).await.unwrap();
            storage.remove(FileKind::Lock, &id).await.unwrap();
        });
    }

    async fn judge(&self, world: &Arc<World>, (): ()) -> Result<(), String> {
        let inner = world.inner();
        let end = (locks_len(&*inner).await, inner.list(FileKind::Pack).await.unwrap().len());
        self.ends.lock().unwrap().push(end);
        Ok(())
    }
}

#[test]
fn an_actor_dies_at_every_operation_and_its_lock_stays_or_goes() {
    let scenario = Mortal::default();
    let seen = explore(&scenario, Bounds { crashes_max: 1, ..BOUNDS });
    assert!(seen.is_complete && seen.failure.is_none(), "{seen:?}");
    let mut ends = scenario.ends.into_inner().unwrap();
    ends.sort_unstable();
    ends.dedup();
    assert_eq!(ends, [(0, 0), (0, 1), (1, 0), (1, 1)]);
}
