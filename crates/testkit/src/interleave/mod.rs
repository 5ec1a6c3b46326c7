//! Exploring in which order several actors reach one storage.
//!
//! Races between a backup, a prune and a forget are races between operations of their storage. Here each operation
//! of each actor waits until a scheduler lets it through, one at a time, and only when nothing else in the program
//! can move. So a run is decided by the scheduler's choices alone, and can be repeated from their list.
//!
//! ```text
//! actors ── an operation arrives ──► World: all wait ──► Explorer chooses: let one through, or kill its actor
//!    ▲                                                                    │
//!    └───────────────── its answer ◄── inner storage ◄────────────────────┘
//! ```
//!
//! [`explore`] goes through all schedules with few preemptions, depth first: most races need only one or two
//! (CHESS, OSDI 2008). It turns back at states it knows: the same files, and every actor having seen the same.
//! [`wander`] takes random walks beyond that bound. Both let a [`Scenario`] judge where a run ended.
//!
//! "Nothing can move" is asked of tokio: on a paused clock a sleep ends when every task waits and no blocking
//! thread is at work.

mod explorer;
mod run;
mod schedule;
mod stepped;
mod wander;
mod world;

pub use explorer::{Bounds, Exploration, explore};
pub use run::{Failure, replay};
pub use schedule::Schedule;
pub use stepped::SteppedStorage;
pub use wander::{Walk, wander};
pub use world::{Actor, Snapshot, World};

use std::sync::Arc;

/// Actors, and what must hold whatever they do to each other.
pub trait Scenario {
    /// What the actors report, for the judge.
    type Play;

    /// The files that are there before the curtain rises.
    fn snapshot(&self) -> &Snapshot;

    /// Brings the actors on stage ([`World::actor`], [`Actor::plays`]). What they do in here is not scheduled.
    fn start(&self, world: &Arc<World>) -> impl Future<Output = Self::Play>;

    /// Holds what is left against what must be. Says what is wrong, or panics; both are a failure of the schedule.
    ///
    /// # Errors
    /// What is wrong.
    fn judge(&self, world: &Arc<World>, play: Self::Play) -> impl Future<Output = Result<(), String>>;
}
