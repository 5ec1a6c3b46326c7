//! Random histories of a VM against a model: whatever happens to its disk, each restore point is the disk as it was.

#![allow(clippy::unwrap_used, reason = "what fails while a test is prepared is a failed test")]

mod lab;

use futures::{StreamExt, stream};
use lab::{CHUNK_LEN, Lab, base_of, capture, commit_options, extent, noise, source};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sendense_disk::Extent;
use sendense_engine::{Areas, Code, Committed};

const HISTORIES: u64 = 25;
const ROUNDS: usize = 10;
const SIZE_MAX: usize = 12 * CHUNK_LEN;
/// Granularity at which a hypervisor tracks changes.
const GRANULE: u64 = 64 << 10;

/// A disk, and what was changed since each restore point.
struct Vm {
    disk: Vec<u8>,
    points: Vec<Point>,
    random: StdRng,
}

struct Point {
    committed: Committed,
    disk: Vec<u8>,
    changed_since: Vec<Extent>,
}

impl Vm {
    fn new(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let disk = vec![0; random.random_range(1..SIZE_MAX)];
        Self { disk, points: Vec::new(), random }
    }

    /// A day: some writes, seldom a new size or a reset of change tracking.
    fn live(&mut self) {
        for _ in 0..self.random.random_range(0..6) {
            self.write();
        }
        if self.random.random_ratio(1, 6) {
            let size = self.random.random_range(1..SIZE_MAX);
            self.disk.resize(size, 0);
        }
        if self.random.random_ratio(1, 10) {
            self.points.clear();
        }
    }

    fn write(&mut self) {
        let offset = self.random.random_range(0..self.disk.len());
        let length = self.random.random_range(1..=(self.disk.len() - offset).min(2 << 20));
        let bytes = match self.random.random_range(0..3) {
            0 => vec![0; length],
            1 => vec![b'x'; length],
            _ => noise(self.random.random(), length),
        };
        self.disk[offset..offset + length].copy_from_slice(&bytes);
        let tracked = (offset as u64 / GRANULE * GRANULE, (offset + length) as u64);
        let end = (tracked.1.div_ceil(GRANULE) * GRANULE).min(self.disk.len() as u64);
        for point in &mut self.points {
            point.changed_since.push(extent(tracked.0, end - tracked.0));
        }
    }

    /// Captures relative to a random earlier point, or everything if there is none that can serve.
    async fn back_up(&mut self, lab: &Lab) {
        let session = lab.begin().await;
        let size = self.disk.len() as u64;
        let mut areas = Areas::Whole;
        let mut base = None;
        if !self.points.is_empty() && self.random.random_ratio(5, 6) {
            let point = &self.points[self.random.random_range(0..self.points.len())];
            base = Some(base_of(&point.committed, "2000"));
            areas = Areas::Changed(point.changed_since.clone());
        }
        if let Err(error) = session.begin_disk("2000", size, base).await {
            assert_eq!(error.code(), Code::BaseSizeDiffers);
            areas = Areas::Whole;
            session.begin_disk("2000", size, None).await.unwrap();
        }
        capture(source(&self.disk), &lab.options(&session, "2000", areas)).await.unwrap();
        let committed = session.commit(commit_options()).await.unwrap();
        self.points.push(Point { committed, disk: self.disk.clone(), changed_since: Vec::new() });
    }
}

/// Lives a history, compares every restore point at once and those that are left at the end, and counts the rounds.
async fn history(seed: u64) -> usize {
    let lab = Lab::new().await;
    let mut vm = Vm::new(seed);
    for round in 0..ROUNDS {
        vm.live();
        vm.back_up(&lab).await;
        let newest = vm.points.last().unwrap();
        assert!(lab.restore(&newest.committed, "2000").await == newest.disk, "seed {seed}, round {round}");
    }
    for point in &vm.points {
        assert!(lab.restore(&point.committed, "2000").await == point.disk, "seed {seed}, at the end");
    }
    ROUNDS
}

#[tokio::test(flavor = "multi_thread")]
async fn every_restore_point_of_every_history_is_the_disk_as_it_was() {
    let histories = stream::iter(0..HISTORIES).map(|seed| tokio::spawn(history(seed))).buffer_unordered(8);
    let compared: usize = histories.map(Result::unwrap).collect::<Vec<_>>().await.into_iter().sum();
    assert!(compared >= 200, "{compared} rounds are too few to prove anything");
}
