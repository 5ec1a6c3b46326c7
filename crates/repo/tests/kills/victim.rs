//! Starting the process, and killing it at a system call.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use rand::Rng;
use sendense_repo::SnapshotId;

use crate::worker::{DONE, JOB_VARIABLE, Job, PLACE_VARIABLE};

/// The system calls at which it dies, those twice that change something, and the highest number of the call to begin
/// with.
const CALLS: [(&str, u32); 11] = [
    ("write", 100),
    ("write", 30),
    ("fsync", 10),
    ("fsync", 10),
    ("renameat2", 5),
    ("renameat2", 5),
    ("unlink", 5),
    ("unlink", 5),
    ("openat", 100),
    ("getdents64", 100),
    ("flock", 5),
];

/// How many of its calls a job has, as far as its survivals have shown.
#[derive(Default)]
pub(crate) struct Aim(HashMap<(&'static str, &'static str), u32>);

impl Aim {
    /// A call and its number, the small ones as often as the large ones.
    fn take(&mut self, job: Job, random: &mut impl Rng) -> (&'static str, u32) {
        let (call, start) = CALLS[random.random_range(0..CALLS.len())];
        let limit = *self.0.entry((job.noun(), call)).or_insert(start);
        let ceiling = 1 << random.random_range(0..=limit.ilog2());
        (call, random.random_range(1..=limit.min(2 * ceiling)))
    }

    fn learn(&mut self, job: Job, call: &'static str, number: u32, is_killed: bool) {
        let limit = self.0.entry((job.noun(), call)).or_insert(number);
        *limit = if is_killed { (number * 2).max(*limit) } else { (number - 1).max(1) };
    }
}

/// What became of the process.
pub(crate) enum Fate {
    /// It was killed as it entered this system call.
    Killed(&'static str),
    /// It had done its job before. A capture names its restore point.
    Survived(Option<SnapshotId>),
}

/// Lets a process do the job, and kills it at a random system call.
pub(crate) fn run(job: Job, place: &Path, aim: &mut Aim, random: &mut impl Rng) -> Fate {
    let (call, number) = aim.take(job, random);
    let output = Command::new("strace")
        .args(["--follow-forks", "--seccomp-bpf", "--quiet=all", "--output=/dev/null"])
        .arg(format!("--trace={call}"))
        .arg(format!("--inject={call}:signal=KILL:when={number}"))
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "the_process_that_is_killed", "--nocapture", "--test-threads=1"])
        .env(JOB_VARIABLE, job.to_word())
        .env(PLACE_VARIABLE, place)
        .output()
        .expect("this test needs strace (Debian package `strace`)");
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    let done = words.lines().find_map(|line| line.split_once(DONE)).map(|(_, point)| point.trim().to_owned());
    aim.learn(job, call, number, done.is_none());
    match done {
        // Whoever dies after the job is done has done it.
        Some(point) => Fate::Survived(point.parse().ok()),
        None if is_killed(output.status) => Fate::Killed(call),
        None => panic!("{job:?} failed: {words}{}", String::from_utf8_lossy(&output.stderr)),
    }
}

/// strace ends as the process did that it has started.
fn is_killed(status: std::process::ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    status.signal() == Some(9) || status.code() == Some(128 + 9)
}
