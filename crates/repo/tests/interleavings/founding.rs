//! Several make a repository in one place at the same moment.

use std::sync::{Arc, Mutex};

use sendense_repo::{Error, Repository, Secret};
use sendense_testkit::interleave::{Scenario, Snapshot, World};

use crate::support::quick_init;

/// Their passwords, by which they are known too.
const FOUNDERS: [&str; 2] = ["one", "other"];

#[derive(Default)]
pub(crate) struct Founding {
    nothing: Snapshot,
}

impl Scenario for Founding {
    type Play = Arc<Mutex<Vec<(&'static str, Result<(), Error>)>>>;

    fn snapshot(&self) -> &Snapshot {
        &self.nothing
    }

    async fn start(&self, world: &Arc<World>) -> Self::Play {
        let play = Self::Play::default();
        for founder in FOUNDERS {
            let (actor, outcomes) = (world.actor(founder), Arc::clone(&play));
            let storage = actor.storage();
            actor.plays(async move {
                let outcome = Repository::init(storage, &Secret::new(founder), quick_init()).await;
                outcomes.lock().unwrap().push((founder, outcome.map(drop)));
            });
        }
        play
    }

    /// Who was told that the repository is his can open it, and nobody else.
    async fn judge(&self, world: &Arc<World>, play: Self::Play) -> Result<(), String> {
        let outcomes = std::mem::take(&mut *play.lock().unwrap());
        let owners = outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).count();
        if outcomes.len() == FOUNDERS.len() && owners != 1 {
            return Err(format!("{owners} own it: {outcomes:?}"));
        }
        for (founder, outcome) in &outcomes {
            let opened = Repository::open(world.inner(), &Secret::new(*founder)).await.map(drop);
            if opened.is_ok() != outcome.is_ok() {
                return Err(format!("{founder} was told {outcome:?} and finds {opened:?}"));
            }
        }
        Ok(())
    }
}
