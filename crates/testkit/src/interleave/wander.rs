//! Random walks, for what lies beyond the bounds of an exploration.

use std::collections::HashSet;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::run::{Choice, Moment, Policy, run};
use super::{Exploration, Scenario};

/// Which walks are taken.
#[derive(Clone, Copy, Debug)]
pub struct Walk {
    /// The seed of the first walk; each one has the next number.
    pub seed: u64,
    /// How many.
    pub runs: usize,
    /// How many actors may die in one of them.
    pub crashes_max: u32,
}

/// Takes random walks until one fails.
pub fn wander(scenario: &impl Scenario, walk: Walk) -> Exploration {
    let (mut seen, mut states) = (Exploration::default(), HashSet::new());
    for seed in (walk.seed..).take(walk.runs) {
        let mut stroll = Stroll::new(seed, walk.crashes_max, &mut states);
        let outcome = run(scenario, &mut stroll);
        seen.decisions_max = seen.decisions_max.max(stroll.decisions);
        seen.schedules += 1;
        seen.failure = outcome.failure;
        if seen.failure.is_some() {
            break;
        }
    }
    seen.states = states.len();
    seen
}

/// One walk. How fickle it is, and whether somebody may die, is drawn once: a mean of everything would have long
/// runs of neither.
struct Stroll<'a> {
    random: StdRng,
    fickleness: f64,
    crashes_left: u32,
    decisions: usize,
    states: &'a mut HashSet<u64>,
}

impl<'a> Stroll<'a> {
    fn new(seed: u64, crashes_max: u32, states: &'a mut HashSet<u64>) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let fickleness = [0.03, 0.1, 0.3, 0.7][random.random_range(0..4)];
        let crashes_left = random.random_range(0..=crashes_max);
        Self { random, fickleness, crashes_left, decisions: 0, states }
    }
}

impl Policy for Stroll<'_> {
    fn choose(&mut self, moment: &Moment<'_>) -> Option<usize> {
        self.decisions += 1;
        self.states.insert(moment.fingerprint);
        let steps = moment.options.iter().filter(|choice| matches!(choice, Choice::Step(_))).count();
        let deaths = moment.options.len() - steps;
        if self.crashes_left > 0 && deaths > 0 && self.random.random_bool(0.02) {
            self.crashes_left -= 1;
            return Some(steps + self.random.random_range(0..deaths));
        }
        let is_bound = moment.current.is_some() && deaths > 0;
        if is_bound && !self.random.random_bool(self.fickleness) {
            return Some(0);
        }
        Some(self.random.random_range(0..steps))
    }
}
