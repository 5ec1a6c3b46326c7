//! Whatever order the operations of several actors reach the storage in: every listed restore point is whole.
//!
//! Each test explores all schedules of its actors with few preemptions and then walks at random beyond that. With
//! `SENDENSE_CAMPAIGN=1` the bounds are those of `docs/reliability.md`. A schedule that fails is printed and can be
//! repeated: `SENDENSE_SCHEDULE="17:1 42:3"` with the name of the test.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]

mod elsewhere;
mod founding;
mod part;
mod stage;
#[path = "../support/mod.rs"]
mod support;

use std::time::Instant;

use founding::Founding;
use part::{FIRST, Part, SECOND, THIRD};
use sendense_testkit::interleave::{Bounds, Exploration, Scenario, Walk, explore, replay, wander};
use stage::Stage;

/// How much of a scenario is explored: preemptions and crashes, in every run of the tests and in the campaign.
#[derive(Clone, Copy)]
struct Effort {
    always: (u32, u32),
    campaign: (u32, u32),
}

/// A few operations.
const SHORT: Effort = Effort { always: (2, 0), campaign: (3, 0) };
/// A prune and somebody else, or two others beside it.
const LONG: Effort = Effort { always: (1, 0), campaign: (2, 0) };
/// Somebody dies.
const MORTAL: Effort = Effort { always: (0, 1), campaign: (1, 1) };

/// Explores a scenario. Fails when a schedule does, and when the schedules were not all explored.
fn hold(name: &str, stage: &impl Scenario, effort: Effort) {
    if let Ok(schedule) = std::env::var("SENDENSE_SCHEDULE") {
        let failure = replay(stage, &schedule.parse().unwrap());
        panic!("{}", failure.map_or("it holds".into(), |failure| failure.to_string()));
    }
    let (preemptions_max, crashes_max) = if is_campaign() { effort.campaign } else { effort.always };
    let start = Instant::now();
    let seen = explore(stage, Bounds { preemptions_max, crashes_max, runs_max: 200_000 });
    report(name, &format!("{preemptions_max} preemptions, {crashes_max} crashes"), &seen, start);
    assert!(seen.is_complete, "{name}: not all schedules were explored, {seen:?}");
    let start = Instant::now();
    let runs = if is_campaign() { 2_000 } else { 50 };
    let walked = wander(stage, Walk { seed: 1, runs, crashes_max: 1 });
    report(name, "random walks", &walked, start);
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
    hold("backup, backup", &Stage::new(&[FIRST, SECOND]), SHORT);
}

#[test]
fn two_backups_of_one_process() {
    hold("backups of one process", &Stage::new(&[Part::Backups(&[1, 2, 6, 7], &[1, 7, 8])]), SHORT);
}

#[test]
fn a_backup_beside_a_forget_of_the_point_it_is_made_from() {
    hold("backup, forget", &Stage::new(&[FIRST, Part::Forget]), SHORT);
}

#[test]
fn a_backup_that_dies_beside_one_that_adopts() {
    hold("backup, adopt, crash", &Stage::new(&[FIRST, Part::Adopt]), MORTAL);
}

#[test]
fn a_backup_beside_a_prune_after_a_forget() {
    hold("backup, prune", &Stage::new(&[FIRST, Part::Prune]).after_forget(), LONG);
}

/// PSA-2025-00019-1 of a peer: the restore points are listed, a new one is made from an old one, the old one is
/// deleted before it is scanned, and the chunks that only these two have are swept.
#[test]
fn a_new_point_made_from_an_old_one_that_is_forgotten_before_the_prune_scans_it() {
    hold("backup, forget, prune", &Stage::new(&[FIRST, Part::Forget, Part::Prune]), LONG);
}

#[test]
fn a_backup_that_dies_beside_a_prune_that_dies() {
    hold("backup, prune, crash", &Stage::new(&[FIRST, Part::Prune]).after_forget(), MORTAL);
}

#[test]
fn two_backups_beside_a_prune() {
    hold("backup, backup, prune", &Stage::new(&[FIRST, SECOND, Part::Prune]).after_forget(), LONG);
}

#[test]
fn two_prunes_and_a_backup() {
    hold("prune, prune, backup", &Stage::new(&[Part::Prune, Part::Prune, FIRST]).after_forget(), LONG);
}

#[test]
fn a_backup_beside_an_exclusive_prune() {
    hold("backup, exclusive prune", &Stage::new(&[FIRST, Part::ExclusivePrune]).after_forget(), LONG);
}

#[test]
fn a_copy_to_the_repository_beside_a_prune_and_a_forget() {
    hold("copy to it, prune", &Stage::new(&[Part::CopyTo, Part::Prune]).after_forget(), LONG);
    hold("copy to it, forget, prune", &Stage::new(&[Part::CopyTo, Part::Forget, Part::Prune]), LONG);
}

#[test]
fn a_copy_to_the_repository_that_dies_beside_a_backup() {
    hold("copy to it, backup, crash", &Stage::new(&[Part::CopyTo, FIRST]), MORTAL);
}

#[test]
fn a_copy_from_the_repository_beside_a_forget_and_a_prune_without_grace() {
    hold("copy from it, forget, prune", &Stage::new(&[Part::CopyFrom, Part::Forget, Part::Prune]), LONG);
}

#[test]
fn a_repair_beside_a_backup_that_relies_on_what_is_damaged() {
    hold("repair, backup", &Stage::new(&[Part::Repair, THIRD]).after_damage(), LONG);
}

#[test]
fn a_check_that_finds_damage_beside_a_backup_that_relies_on_it() {
    hold("check, backup", &Stage::new(&[Part::Check, THIRD]).after_damage(), LONG);
}

#[test]
fn a_check_that_dies_when_it_has_found_damage() {
    hold("check, backup, crash", &Stage::new(&[Part::Check, THIRD]).after_damage(), MORTAL);
}

#[test]
fn a_repair_that_dies_beside_a_backup() {
    hold("repair, backup, crash", &Stage::new(&[Part::Repair, THIRD]).after_damage(), MORTAL);
}

#[test]
fn a_repair_beside_a_prune() {
    hold("repair, prune", &Stage::new(&[Part::Repair, Part::Prune]).after_forget(), LONG);
}

#[test]
fn a_change_of_the_password_beside_a_backup_and_another_change() {
    hold("change of the password, backup", &Stage::new(&[Part::ChangePassword, FIRST]), SHORT);
    hold("two changes of the password", &Stage::new(&[Part::ChangePassword, Part::ChangePassword]), SHORT);
}

#[test]
fn a_change_of_the_password_that_dies() {
    hold("change of the password, backup, crash", &Stage::new(&[Part::ChangePassword, FIRST]), MORTAL);
}

#[test]
fn two_who_make_a_repository_in_one_place() {
    hold("founder, founder", &Founding::default(), SHORT);
}

#[test]
fn the_explorer_finds_the_chunks_that_a_careless_prune_loses() {
    let stage = Stage::new(&[FIRST, Part::CarelessPrune]).after_forget();
    let seen = explore(&stage, Bounds { preemptions_max: 1, crashes_max: 0, runs_max: 5_000 });
    let failure = seen.failure.unwrap();
    assert!(failure.reason.starts_with("LOST"), "{failure}");
}
