//! All schedules with few preemptions, depth first.

use std::collections::HashMap;

use super::run::{Choice, Moment, Policy, run};
use super::{Failure, Scenario};

/// So often a run is tried that goes another way than planned; then the exploration is not complete.
const TRIES_MAX: usize = 50;

/// How far an exploration goes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How often an actor that could go on is held up for another one.
    pub preemptions_max: u32,
    /// How many actors die.
    pub crashes_max: u32,
    /// The exploration ends after so many runs, complete or not.
    pub runs_max: usize,
}

/// What an exploration saw.
#[derive(Clone, Debug, Default)]
pub struct Exploration {
    /// Runs that came to their end and were judged.
    pub schedules: usize,
    /// Runs that were given up where they reached a state that was known.
    pub turned_back: usize,
    /// Distinct states: the files, and what each actor had seen.
    pub states: usize,
    /// Decisions of the longest run.
    pub decisions_max: usize,
    /// Runs that did not repeat the way to where they were to depart from, and were tried again: something besides the
    /// schedule decides, such as the order of a hash table. They were judged nevertheless.
    pub unrepeatable: usize,
    /// Whether all schedules within the bounds were explored.
    pub is_complete: bool,
    /// The first schedule under which something was wrong; the exploration ends there.
    pub failure: Option<Failure>,
}

/// Explores all schedules within the bounds, until one fails.
pub fn explore(scenario: &impl Scenario, bounds: Bounds) -> Exploration {
    let mut explorer = Explorer { bounds, path: Vec::new(), known: HashMap::new() };
    let (mut seen, mut astray_in_a_row) = (Exploration::default(), 0);
    for _ in 0..bounds.runs_max {
        let mut walk =
            Walk { explorer: &mut explorer, decision: 0, spent: Spent::default(), is_astray: false };
        let outcome = run(scenario, &mut walk);
        seen.decisions_max = seen.decisions_max.max(walk.decision);
        let is_astray = walk.is_astray;
        seen.unrepeatable += usize::from(is_astray);
        seen.turned_back += usize::from(outcome.is_known);
        seen.schedules += usize::from(!outcome.is_known);
        seen.failure = outcome.failure;
        if seen.failure.is_some() {
            break;
        }
        astray_in_a_row = if is_astray { astray_in_a_row + 1 } else { 0 };
        let is_on_its_way = is_astray && astray_in_a_row < TRIES_MAX;
        if astray_in_a_row == TRIES_MAX || !(is_on_its_way || explorer.turn()) {
            seen.is_complete = astray_in_a_row < TRIES_MAX;
            break;
        }
    }
    seen.states = explorer.known.len();
    seen
}

/// What a way has used up of its bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Spent {
    preemptions: u32,
    crashes: u32,
}

impl Spent {
    fn after(self, choice: &Choice, moment: &Moment<'_>, number: usize) -> Self {
        let Self { mut preemptions, mut crashes } = self;
        match choice {
            Choice::Kill { .. } => crashes += 1,
            // The first option is the actor that moved last, if it can go on. Where it cannot, anybody may.
            Choice::Step(_) if number > 0 && is_preemption(moment) => preemptions += 1,
            Choice::Step(_) => {}
        }
        Self { preemptions, crashes }
    }

    fn is_within(self, bounds: &Bounds) -> bool {
        self.preemptions <= bounds.preemptions_max && self.crashes <= bounds.crashes_max
    }
}

fn is_preemption(moment: &Moment<'_>) -> bool {
    matches!(moment.options.first(), Some(Choice::Step(step)) if Some(step.actor) == moment.current)
}

struct Explorer {
    bounds: Bounds,
    /// The decisions of the run that comes next, as far as they are fixed.
    path: Vec<Fork>,
    /// The states that were seen, with what had been spent on the way there.
    known: HashMap<(u64, Option<usize>), Vec<Spent>>,
}

struct Fork {
    fingerprint: u64,
    /// Options that the bounds allow; the first of them is the one taken.
    rest: Vec<(usize, Spent)>,
}

impl Explorer {
    /// Turns the path to the next way that was not taken. `false` when there is none.
    fn turn(&mut self) -> bool {
        while let Some(fork) = self.path.last_mut() {
            fork.rest.remove(0);
            if !fork.rest.is_empty() {
                return true;
            }
            self.path.pop();
        }
        false
    }

    /// Whether the way from here was explored with as much left to spend.
    fn is_known(&mut self, moment: &Moment<'_>, spent: Spent) -> bool {
        let before = self.known.entry((moment.fingerprint, moment.current)).or_default();
        let is_known = before
            .iter()
            .any(|known| known.preemptions <= spent.preemptions && known.crashes <= spent.crashes);
        if !is_known {
            before.push(spent);
        }
        is_known
    }
}

struct Walk<'a> {
    explorer: &'a mut Explorer,
    decision: usize,
    spent: Spent,
    is_astray: bool,
}

impl Policy for Walk<'_> {
    fn choose(&mut self, moment: &Moment<'_>) -> Option<usize> {
        let decision = self.decision;
        self.decision += 1;
        if self.is_astray {
            return Some(0);
        }
        if let Some(fork) = self.explorer.path.get(decision) {
            let (choice, spent) = fork.rest[0];
            if fork.fingerprint != moment.fingerprint || choice >= moment.options.len() {
                self.is_astray = true;
                return Some(0);
            }
            self.spent = spent;
            return Some(choice);
        }
        if self.explorer.is_known(moment, self.spent) {
            return None;
        }
        let (bounds, spent) = (self.explorer.bounds, self.spent);
        let numbered = moment.options.iter().enumerate();
        let rest: Vec<_> = numbered
            .map(|(number, choice)| (number, spent.after(choice, moment, number)))
            .filter(|(_, spent)| spent.is_within(&bounds))
            .collect();
        let (choice, spent) = *rest.first()?;
        self.explorer.path.push(Fork { fingerprint: moment.fingerprint, rest });
        self.spent = spent;
        Some(choice)
    }
}
