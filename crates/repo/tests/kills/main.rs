//! A process that is killed at any system call leaves a repository whose restore points are whole, and that the next
//! job can use.
//!
//! Each round starts this program again as a process of its own, lets it do one job on a local folder, and kills it
//! (SIGKILL) as it enters a random one of the system calls that change or read files. The same repository goes
//! through all rounds, with everything that the dead have left. `SENDENSE_CAMPAIGN=1` makes it 500 kills.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]

#[path = "../support/mod.rs"]
mod support;
mod victim;
mod worker;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sendense_repo::{Repository, RestorePoint, SnapshotId};
use sendense_storage::{FileKind, LocalStorage};
use support::restic::Restic;
use support::{DIRECTORY, a_repository, read_data, read_file};
use tokio_util::sync::CancellationToken;
use victim::{Aim, Fate};
use worker::{Job, disk, open, open_at, source, target};

/// So many restore points stay; older ones are forgotten.
const POINTS_MAX: usize = 5;

/// Stock restic judges every so many kills: it takes a second.
const JUDGED_EVERY: usize = 10;

/// Not a test of its own: the process that is killed is this program with the name of this test.
#[test]
fn the_process_that_is_killed() {
    worker::work();
}

#[tokio::test]
async fn whatever_is_killed_every_listed_point_is_whole_and_the_next_job_works() {
    let kills_min = if std::env::var_os("SENDENSE_CAMPAIGN").is_some() { 500 } else { 40 };
    let start = Instant::now();
    let place = tempfile::tempdir().unwrap();
    for folder in [source(place.path()), target(place.path())] {
        a_repository(Arc::new(LocalStorage::open(folder).await.unwrap())).await;
    }
    let mut torture = Torture::new(place.path());
    while torture.kills() < kills_min {
        torture.round().await;
    }
    torture.report(start);
}

/// One repository and what it must hold.
struct Torture<'a> {
    place: &'a Path,
    random: StdRng,
    aim: Aim,
    restic: Restic,
    rounds: usize,
    /// Restore points whose makers have said so, and the numbers of their disks.
    expected: HashMap<SnapshotId, u64>,
    /// Kills by job and by system call.
    kills: BTreeMap<(&'static str, &'static str), usize>,
    survived: usize,
    judged: usize,
    verified_points: usize,
}

impl<'a> Torture<'a> {
    fn new(place: &'a Path) -> Self {
        Self {
            place,
            random: StdRng::seed_from_u64(9),
            aim: Aim::default(),
            restic: Restic::new(&source(place)),
            rounds: 0,
            expected: HashMap::new(),
            kills: BTreeMap::new(),
            survived: 0,
            judged: 0,
            verified_points: 0,
        }
    }

    fn kills(&self) -> usize {
        self.kills.values().sum()
    }

    /// One job is killed, and what it left is looked at.
    async fn round(&mut self) {
        self.rounds += 1;
        let job = self.next_job();
        if job == Job::Repair {
            self.let_an_index_file_rot().await;
        }
        let call = match victim::run(job, self.place, &mut self.aim, &mut self.random) {
            Fate::Killed(call) => call,
            Fate::Survived(point) => {
                self.survived += 1;
                if let (Some(point), Job::Capture(number)) = (point, job) {
                    self.expected.insert(point, number);
                }
                return;
            }
        };
        *self.kills.entry((job.noun(), call)).or_default() += 1;
        let what = format!("round {}, {job:?}, killed at {call}", self.rounds);
        if matches!(job, Job::Repair | Job::Copy) {
            let again = job.run(self.place).await;
            again.unwrap_or_else(|error| panic!("{what}: {error:?}"));
        }
        self.look(&what).await;
        self.look_after(job, &what).await;
        // The next job works: here it is one that nobody kills.
        let number = 10_000 + self.rounds as u64;
        let made = Job::Capture(number).run(self.place).await.unwrap_or_else(|e| panic!("{what}: {e:?}"));
        self.expected.insert(made.unwrap(), number);
        self.forget_old_ones().await;
        if self.kills().is_multiple_of(JUDGED_EVERY) {
            self.look(&what).await;
            self.judged += 1;
            open(self.place).await.remove_stale_locks().await.unwrap();
            self.restic.set_password(open_at(&source(self.place)).await.1);
            self.restic.check();
        }
    }

    /// What a job leaves besides restore points.
    async fn look_after(&mut self, job: Job, what: &str) {
        let repository = open(self.place).await;
        if job == Job::Copy {
            let copy = open_at(&target(self.place)).await.0;
            let copies = self.assert_whole(&copy, what).await;
            let originals = repository.restore_points().await.unwrap().len();
            assert!(copies.len() >= originals, "{what}: {} copies of {originals}", copies.len());
            for point in &copies {
                copy.forget(&point.id).await.unwrap();
            }
        }
        if job == Job::ChangePassword {
            // A key that nobody has removed opens, too. An administrator removes it.
            for key in repository.keys().await.unwrap().iter().filter(|key| !key.is_current) {
                repository.remove_key(&key.id, support::quick_writer().lock).await.unwrap();
            }
        }
    }

    async fn let_an_index_file_rot(&self) {
        let storage = open(self.place).await.storage().clone();
        let files = storage.list(FileKind::Index).await.unwrap();
        let Some(file) = files.first() else { return };
        let mut content = storage.read(FileKind::Index, &file.id).await.unwrap().to_vec();
        content[30] ^= 1;
        storage.remove(FileKind::Index, &file.id).await.unwrap();
        storage.write(FileKind::Index, &file.id, content.into()).await.unwrap();
    }

    fn next_job(&mut self) -> Job {
        match self.random.random_range(0..9) {
            0 => Job::Adopt,
            1 | 2 => Job::Prune,
            3 => Job::Copy,
            4 => Job::Repair,
            5 => Job::ChangePassword,
            _ => Job::Capture(self.rounds as u64),
        }
    }

    /// Every restore point that is listed is whole, and those are listed of which we know.
    async fn look(&mut self, what: &str) {
        let repository = open(self.place).await;
        let points = self.assert_whole(&repository, what).await;
        for id in self.expected.keys() {
            assert!(points.iter().any(|point| point.id == *id), "{what}: {id} is not listed");
        }
    }

    async fn assert_whole(&mut self, repository: &Repository, what: &str) -> Vec<RestorePoint> {
        let points = repository.restore_points().await.unwrap();
        for point in &points {
            let expected = disk(point.tags[0].parse().unwrap());
            let path = format!("/{DIRECTORY}/disk-2000.raw");
            let content = read_file(repository, &point.id, &path).await;
            assert!(content.is_ok_and(|content| content == expected), "{what}: {point:?} is not whole");
        }
        self.verified_points += points.len();
        self.check(repository, what).await;
        points
    }

    async fn check(&self, repository: &Repository, what: &str) {
        let cancel = CancellationToken::new();
        let report = repository.check(read_data(), &|_| {}, &cancel).await.unwrap();
        assert!(report.is_healthy(), "{what}: {report:?}");
    }

    /// Makes garbage.
    async fn forget_old_ones(&mut self) {
        let repository = open(self.place).await;
        let mut points = repository.restore_points().await.unwrap();
        points.sort_by_key(|point| point.tags[0].parse::<u64>().unwrap() % 10_000);
        let surplus = points.len().saturating_sub(POINTS_MAX);
        for point in &points[..surplus] {
            repository.forget(&point.id).await.unwrap();
            self.expected.remove(&point.id);
        }
    }

    /// The table in `docs/reliability.md`.
    #[allow(clippy::print_stdout, reason = "`--nocapture` shows it")]
    fn report(&self, start: Instant) {
        let Self { rounds, survived, judged, verified_points, .. } = self;
        println!(
            "{} kills in {rounds} rounds ({survived} jobs survived), {verified_points} restore points read, \
             {judged} times judged by restic, {:.0} s",
            self.kills(),
            start.elapsed().as_secs_f64()
        );
        for ((job, call), count) in &self.kills {
            println!("{job} | {call} | {count}");
        }
    }
}
