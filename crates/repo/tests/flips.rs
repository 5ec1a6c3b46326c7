//! A flipped bit, wherever it is, is found, and what it touches is never served as data.
//!
//! `SENDENSE_CAMPAIGN=1` flips a thousand bits, one at a time, and prints what has found them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sendense_repo::{Repository, SnapshotId};
use sendense_storage::{FileId, FileKind, MemoryStorage, Storage};
use support::*;
use tokio_util::sync::CancellationToken;

const PATH: &str = "/vm-17/disk-2000.raw";
const KINDS: [FileKind; 5] =
    [FileKind::Pack, FileKind::Index, FileKind::Snapshot, FileKind::Key, FileKind::Config];

/// Two restore points, and what their disks hold.
struct Subject {
    storage: Arc<MemoryStorage>,
    points: Vec<(SnapshotId, Vec<u8>)>,
}

impl Subject {
    async fn new() -> Self {
        let storage = Arc::new(MemoryStorage::new());
        let repository = a_repository(storage.clone()).await;
        let mut points = Vec::new();
        for seed in 1..3 {
            let mut disk = a_disk(1, 12 * CHUNK_BYTES);
            fill(&mut disk[..2 * CHUNK_BYTES], seed, 0xff);
            points.push((capture(&repository, &[("disk-2000.raw", &disk)]).await.unwrap().0, disk));
        }
        Self { storage, points }
    }

    async fn flip(&self, kind: FileKind, id: &FileId, bit: usize) {
        let mut content = self.storage.read(kind, id).await.unwrap().to_vec();
        content[bit / 8] ^= 1 << (bit % 8);
        self.storage.remove(kind, id).await.unwrap();
        self.storage.write(kind, id, content.into()).await.unwrap();
    }

    /// Who finds that something is wrong. `None` when nobody does.
    async fn find(&self) -> Option<&'static str> {
        let Ok(repository) = Repository::open_with(self.storage.clone(), &password(), small_packs()).await
        else {
            return Some("opening refuses it");
        };
        self.assert_no_lie(&repository).await;
        let cancel = CancellationToken::new();
        let report = repository.check(read_data(), &|_| {}, &cancel).await.unwrap();
        for (point, _) in &self.points {
            match repository.verify_restore_point(point, &|_| {}, &cancel).await {
                Ok(verified) if verified.is_healthy() => {}
                _ => {
                    assert!(!report.is_healthy(), "check finds what verify finds");
                    return Some("verify and check");
                }
            }
        }
        (!report.is_healthy()).then_some("check")
    }

    /// Whatever is read is what was written, or an error.
    async fn assert_no_lie(&self, repository: &Repository) {
        for (point, disk) in &self.points {
            if let Ok(content) = read_file(repository, point, PATH).await {
                assert!(content == *disk, "a changed disk was served");
            }
            if let Ok(json) = repository.load_file(point, "/vm-17/vm.json").await {
                assert_eq!(json, "{\"name\":\"web-1\"}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[allow(clippy::print_stdout, reason = "`--nocapture` shows it")]
async fn every_flipped_bit_is_found_and_none_is_served() {
    let flips = if std::env::var_os("SENDENSE_CAMPAIGN").is_some() { 1000 } else { 150 };
    let (subject, mut random, start) = (Subject::new().await, StdRng::seed_from_u64(4), Instant::now());
    assert_eq!(subject.find().await, None, "nothing is wrong yet");
    let mut found = BTreeMap::<(FileKind, &str), usize>::new();
    for number in 0..flips {
        let kind = KINDS[number % KINDS.len()];
        let mut files = subject.storage.list(kind).await.unwrap();
        files.sort_unstable();
        let file = files[random.random_range(0..files.len())];
        let bit = random.random_range(0..usize::try_from(file.size_bytes).unwrap() * 8);
        subject.flip(kind, &file.id, bit).await;
        let finder = subject.find().await;
        let finder = finder.unwrap_or_else(|| panic!("bit {bit} of {kind} {} was not found", file.id));
        *found.entry((kind, finder)).or_default() += 1;
        subject.flip(kind, &file.id, bit).await;
    }
    assert_eq!(subject.find().await, None, "and nothing is wrong any more");
    println!("{flips} bits, {:.0} s", start.elapsed().as_secs_f64());
    for ((kind, finder), count) in found {
        println!("{kind} | {finder} | {count}");
    }
}
