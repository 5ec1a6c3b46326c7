//! Whatever order the operations of several actors reach the storage in: every listed restore point is whole.
//!
//! Each test explores all schedules of its actors with few preemptions and then walks at random beyond that. With
//! `SENDENSE_CAMPAIGN=1` the bounds are those of `docs/reliability.md`. A schedule that fails is printed and can be
//! repeated: `SENDENSE_SCHEDULE="17:1 42:3"` with the name of the test.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]

mod stage;
#[path = "../support/mod.rs"]
mod support;

use std::time::Instant;

use sendense_testkit::interleave::{Bounds, Exploration, Walk, explore, replay, wander};
use stage::{FIRST, Part, SECOND, Stage};

/// How much of a scenario is explored.
#[derive(Clone, Copy)]
struct Effort {
    preemptions_max: u32,
    crashes_max: u32,
    walks: usize,
}

const TWO: Effort = Effort { preemptions_max: 2, crashes_max: 0, walks: 100 };

/// Explores a scenario. Fails when a schedule does, and when the schedules were not all explored.
fn hold(name: &str, stage: &Stage, effort: Effort) -> usize {
    if let Ok(schedule) = std::env::var("SENDENSE_SCHEDULE") {
        let failure = replay(stage, &schedule.parse().unwrap());
        panic!("{}", failure.map_or("it holds".into(), |failure| failure.to_string()));
    }
    let factor = if is_campaign() { 20 } else { 1 };
    let Effort { preemptions_max, crashes_max, walks } = effort;
    let preemptions_max = preemptions_max + u32::from(is_campaign());
    let start = Instant::now();
    let bounds = Bounds { preemptions_max, crashes_max, runs_max: 20_000 * factor };
    let seen = explore(stage, bounds);
    report(name, &format!("{preemptions_max} preemptions, {crashes_max} crashes"), &seen, start);
    assert!(seen.is_complete && seen.unrepeatable == 0, "{name}: {} {}", seen.schedules, seen.unrepeatable);
    let start = Instant::now();
    let walked = wander(stage, Walk { seed: 1, runs: walks * factor, crashes_max: 1 });
    report(name, "random walks", &walked, start);
    seen.schedules + walked.schedules
}

fn is_campaign() -> bool {
    std::env::var_os("SENDENSE_CAMPAIGN").is_some()
}

/// One line of the table in `docs/reliability.md`.
#[allow(clippy::print_stdout, reason = "`--nocapture` shows it")]
fn report(name: &str, how: &str, seen: &Exploration, start: Instant) {
    let Exploration { schedules, turned_back, states, decisions_max, unrepeatable, .. } = seen;
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "{name} | {how} | {schedules} schedules, {turned_back} turned back, {states} states, \
         up to {decisions_max} operations, {unrepeatable} unrepeatable | {seconds:.1} s"
    );
    if let Some(failure) = &seen.failure {
        panic!("{name}: {failure}");
    }
}

#[test]
fn two_backups_of_two_processes() {
    hold("backup, backup", &Stage::new(&[FIRST, SECOND]), TWO);
}

#[test]
fn two_backups_of_one_process() {
    hold("backups of one process", &Stage::new(&[Part::Backups(&[1, 2, 6, 7], &[1, 7, 8])]), TWO);
}

#[test]
fn a_backup_beside_a_forget_of_the_point_it_is_made_from() {
    hold("backup, forget", &Stage::new(&[FIRST, Part::Forget]), TWO);
}

#[test]
fn a_backup_that_dies_beside_one_that_adopts() {
    let effort = Effort { crashes_max: 1, preemptions_max: 1, ..TWO };
    hold("backup, adopt, crash", &Stage::new(&[FIRST, Part::Adopt]), effort);
}

#[test]
fn the_explorer_finds_the_chunks_that_a_careless_prune_loses() {
    let stage = Stage::new(&[FIRST, Part::CarelessPrune]).after_forget();
    let seen = explore(&stage, Bounds { preemptions_max: 1, crashes_max: 0, runs_max: 5_000 });
    let failure = seen.failure.unwrap();
    assert!(failure.reason.starts_with("LOST"), "{failure}");
}
