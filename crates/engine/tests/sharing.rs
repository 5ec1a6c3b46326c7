//! Several captures at once share what there is: memory, cores and rates.

#![allow(clippy::unwrap_used, reason = "what fails while a test is prepared is a failed test")]

mod lab;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lab::{CHUNK, CHUNK_LEN, Lab, capture, commit_options, mixed_disk, noise, source};
use sendense_engine::{Areas, MemoryBudget, RateLimit};

#[tokio::test(flavor = "multi_thread")]
async fn four_captures_at_once_stay_within_one_budget_and_all_end() {
    let lab = Lab::new().await;
    let disks: Vec<_> = (0..4).map(|seed| mixed_disk(seed * 1000, 60)).collect();
    let session = lab.begin().await;
    let memory = MemoryBudget::new(16 * CHUNK_LEN);
    let mut captures = Vec::new();
    for (number, disk) in disks.iter().enumerate() {
        let key = format!("{}", 2000 + number);
        session.begin_disk(&key, disk.len() as u64, None).await.unwrap();
        let mut options = lab.options(&session, &key, Areas::Whole);
        options.memory = Arc::clone(&memory);
        let disk = source(disk);
        captures.push(tokio::spawn(async move { capture(disk, &options).await }));
    }
    let (most, is_running) = (AtomicUsize::new(0), AtomicBool::new(true));
    let watch = async {
        while is_running.load(Ordering::Relaxed) {
            most.fetch_max(memory.bytes(), Ordering::Relaxed);
            tokio::time::sleep(Duration::from_micros(300)).await;
        }
    };
    let all = async {
        for captured in futures::future::join_all(captures).await {
            captured.unwrap().unwrap();
        }
        is_running.store(false, Ordering::Relaxed);
    };
    tokio::join!(watch, all);
    let most = most.load(Ordering::Relaxed);
    // The first may have had everything when the three others began, and each of them has one chunk all the same.
    assert!(most > 4 * CHUNK_LEN && most <= (16 + 3) * CHUNK_LEN, "{most} bytes");
    assert_eq!(memory.bytes(), 0, "nothing is kept when nobody captures");
    let point = session.commit(commit_options()).await.unwrap();
    for (number, disk) in disks.iter().enumerate() {
        assert!(lab.restore(&point, &format!("{}", 2000 + number)).await == *disk);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_share_a_rate_keep_it_together() {
    let lab = Lab::new().await;
    let limit = Arc::new(RateLimit::new(Some(8 << 20)));
    let disks = [noise(1, 12 * CHUNK_LEN), noise(2, 12 * CHUNK_LEN)];
    let begin = Instant::now();
    let mut captures = Vec::new();
    for (number, disk) in disks.iter().enumerate() {
        let session = lab
            .begin_with(|options| {
                options.capture_id = format!("job-{number}");
                options.rate_limits = vec![Arc::clone(&limit)];
            })
            .await;
        session.begin_disk("2000", disk.len() as u64, None).await.unwrap();
        let options = lab.options(&session, "2000", Areas::Whole);
        let disk = source(disk);
        captures.push(async move {
            capture(disk, &options).await.unwrap();
            drop(session);
            begin.elapsed()
        });
    }
    let ends = futures::future::join_all(captures).await;
    // 24 chunks of half a MiB at 8 MiB a second.
    let expected = Duration::from_millis(24 * CHUNK * 1000 / (8 << 20));
    assert!(ends.iter().all(|end| *end > expected * 6 / 10), "{ends:?} of {expected:?}");
    assert!(ends.iter().any(|end| *end > expected * 9 / 10), "{ends:?} of {expected:?}");
}
