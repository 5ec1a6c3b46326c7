//! Cancelled captures, broken connections, Hubs that go away: nothing is left, nothing is lost, little is sent twice.

#![allow(clippy::unwrap_used, reason = "what fails while a test is prepared is a failed test")]

mod lab;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use lab::{CHUNK, CHUNK_LEN, Lab, capture, commit_options, mixed_disk, noise, source};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sendense_engine::{
    Areas, CaptureCounters, Code, Repository, RepositoryLimits, RepositoryPlace, RestoreCounters,
    RestoreOptions, Secret, capture_disk,
};
use sendense_storage::MemoryStorage;
use sendense_testkit::storage::{Fault, FaultyStorage};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

#[tokio::test(flavor = "multi_thread")]
async fn a_capture_cancelled_at_any_moment_leaves_no_task_and_can_be_repeated() {
    let lab = Lab::new().await;
    let disk = mixed_disk(1, 40);
    let session = lab.begin().await;
    session.begin_disk("2000", disk.len() as u64, None).await.unwrap();
    let options = lab.options(&session, "2000", Areas::Whole);
    let idle_tasks = alive_tasks();
    let mut random = StdRng::seed_from_u64(1);
    let mut cancelled = 0;
    // About as long as a capture takes on this machine now, found while captures are cancelled too early or too late.
    let mut duration = Duration::from_millis(12);
    for _ in 0..40 {
        let cancel = CancellationToken::new();
        let moment = duration.mul_f64(random.random());
        let later = async {
            sleep(moment).await;
            cancel.cancel();
        };
        let run = capture_disk(source(&disk), &options, Arc::new(CaptureCounters::default()), &cancel);
        let (result, ()) = tokio::join!(run, later);
        let is_cancelled = result.is_err_and(|error| error.code() == Code::Cancelled);
        cancelled += usize::from(is_cancelled);
        duration = duration.mul_f64(if is_cancelled { 1.3 } else { 0.8 });
    }
    assert!(cancelled > 5, "only {cancelled} of 40 captures were cancelled in time");
    expect_tasks(idle_tasks).await;
    let report = capture(source(&disk), &options).await.unwrap();
    assert!(report.progress.new_bytes < disk.len() as u64 / 2, "what the others sent is not sent again");
    let point = session.commit(commit_options()).await.unwrap();
    assert!(lab.restore(&point, "2000").await == disk);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_cancelled_at_any_moment_leaves_no_file() {
    let lab = Lab::new().await;
    let disk = mixed_disk(2, 120);
    let (_, point) = lab.back_up(&disk, Areas::Whole, None).await;
    let options = RestoreOptions {
        restore_point_id: point.restore_point_id,
        file: "disk-2000.raw".into(),
        target_path: lab.folder.path().join("disk.raw"),
        overwrite: false,
    };
    let mut random = StdRng::seed_from_u64(2);
    let mut cancelled = 0;
    for _ in 0..30 {
        let cancel = CancellationToken::new();
        let moment = Duration::from_micros(random.random_range(0..6_000));
        let later = async {
            sleep(moment).await;
            cancel.cancel();
        };
        let counters = RestoreCounters::default();
        let restore = lab.repository.restore_disk(&options, &counters, &cancel);
        let (result, ()) = tokio::join!(restore, later);
        match result {
            Ok(_) => std::fs::remove_file(&options.target_path).unwrap(),
            Err(error) => {
                assert_eq!(error.code(), Code::Cancelled);
                cancelled += 1;
            }
        }
        assert_eq!(std::fs::read_dir(lab.folder.path()).unwrap().count(), 0);
    }
    assert!(cancelled > 3, "only {cancelled} of 30 restores were cancelled in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_before_the_hub_went_away_is_not_sent_again() {
    let lab = Lab::new().await;
    let disk = noise(3, 64 * CHUNK_LEN);
    let session = lab.begin_with(|options| options.bytes_per_second_max = Some(16 << 20)).await;
    session.begin_disk("2000", disk.len() as u64, None).await.unwrap();
    let mut options = lab.options(&session, "2000", Areas::Whole);
    options.target.grace = Duration::from_millis(700);
    let going_away = async {
        sleep(Duration::from_secs(1)).await;
        lab.data_plane.close().await;
    };
    let (result, ()) = tokio::join!(capture(source(&disk), &options), going_away);
    let error = result.unwrap_err();
    assert_eq!(error.code(), Code::DataPlaneUnreachable);
    assert!(error.is_temporary());
    let stored = session.counters()[0].new_bytes;
    assert!(stored > 4 * CHUNK && stored < disk.len() as u64, "{stored} bytes were stored before");
    session.abort().await.unwrap();

    let lab = Lab { data_plane: lab::listen().await, ..lab };
    let (report, point) = lab.back_up(&disk, Areas::Whole, None).await;
    assert_eq!(report.progress.new_bytes, disk.len() as u64 - stored);
    assert!(lab.restore(&point, "2000").await == disk);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_waits_for_its_storage_is_not_taken_for_dead() {
    let storage = Arc::new(FaultyStorage::new(Arc::new(MemoryStorage::new())));
    let lab = Lab::with_storage(storage.clone()).await;
    // More than a repository keeps in memory while it is written.
    let disk = noise(9, 400 * CHUNK_LEN);
    let session = lab.begin().await;
    session.begin_disk("2000", disk.len() as u64, None).await.unwrap();
    let mut options = lab.options(&session, "2000", Areas::Whole);
    options.target.patience = Duration::from_millis(300);
    options.target.grace = Duration::from_millis(200);
    // Longer than patience and grace together.
    storage.break_at(0, Fault::SlowWrites(Duration::from_secs(2)));
    let start = Instant::now();
    capture(source(&disk), &options).await.unwrap();
    assert!(start.elapsed() > Duration::from_secs(2), "the capture did not wait for the storage");
    storage.repair();
    let point = session.commit(commit_options()).await.unwrap();
    assert!(lab.restore(&point, "2000").await == disk);
}

#[tokio::test(flavor = "multi_thread")]
async fn packs_of_a_hub_that_died_are_found_again() {
    let lab = Lab::new().await;
    let folder = lab.folder.path().join("repository");
    let (place, limits) = (RepositoryPlace::local(folder), RepositoryLimits::default());
    let password = Secret::new("password");
    let dying = Lab { repository: Repository::init(&place, &limits, &password).await.unwrap(), ..lab };
    let disk = noise(6, 80 * CHUNK_LEN);
    let session = dying.begin().await;
    session.begin_disk("2000", disk.len() as u64, None).await.unwrap();
    capture(source(&disk), &dying.options(&session, "2000", Areas::Whole)).await.unwrap();
    // Neither commit nor abort: what a process that is killed leaves is what it had written by then.
    drop(session);
    let repository = Repository::open(&place, &limits, &password).await.unwrap();
    let adopted = repository.adopt_orphans().await.unwrap();
    assert!(adopted.packs > 0 && adopted.chunks > 0, "{adopted:?}");

    let lab = Lab { repository, ..dying };
    assert!(lab.repository.restore_points().await.unwrap().is_empty());
    let (report, point) = lab.back_up(&disk, Areas::Whole, None).await;
    assert_eq!(report.progress.new_bytes, disk.len() as u64 - adopted.chunks * CHUNK);
    assert!(lab.restore(&point, "2000").await == disk);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_repository_ends_the_capture_and_lists_nothing() {
    let lab = Lab::with_storage(Arc::new(MemoryStorage::with_total_bytes(24 << 20))).await;
    let (small, large) = (noise(7, 4 * CHUNK_LEN), noise(8, 80 * CHUNK_LEN));
    let (_, point) = lab.back_up(&small, Areas::Whole, None).await;
    let session = lab.begin().await;
    session.begin_disk("2000", large.len() as u64, None).await.unwrap();
    let captured = capture(source(&large), &lab.options(&session, "2000", Areas::Whole)).await;
    // Packs are written in the background, so it is the capture or the commit that meets the full disk first.
    let error = match captured {
        Ok(_) => session.commit(commit_options()).await.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(error.code(), Code::RepositoryFull, "{}", error.full_text());
    let _fails_too = session.abort().await;
    assert_eq!(lab.repository.restore_points().await.unwrap().len(), 1);
    assert!(lab.restore(&point, "2000").await == small);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_break_are_made_again_and_the_bytes_are_right() {
    let lab = Lab::new().await;
    let disk = mixed_disk(4, 90);
    let session = lab.begin().await;
    session.begin_disk("2000", disk.len() as u64, None).await.unwrap();
    let mut options = lab.options(&session, "2000", Areas::Whole);
    let (port, proxy) = breaking_proxy(lab.data_plane.port(), 5..120).await;
    options.target.port = port;
    options.target.grace = Duration::from_secs(30);
    capture(source(&disk), &options).await.unwrap();
    let broken = proxy.abort_and_count().await;
    assert!(broken > 3, "only {broken} connections were broken");
    let point = session.commit(commit_options()).await.unwrap();
    assert!(lab.restore(&point, "2000").await == disk);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_that_is_heard_before_its_connection_breaks_is_not_away() {
    let storage = Arc::new(FaultyStorage::new(Arc::new(MemoryStorage::new())));
    let lab = Lab::with_storage(storage.clone()).await;
    // More than a repository keeps in memory while it is written.
    let disk = noise(10, 400 * CHUNK_LEN);
    let session = lab.begin().await;
    session.begin_disk("2000", disk.len() as u64, None).await.unwrap();
    let mut options = lab.options(&session, "2000", Areas::Whole);
    let (port, proxy) = breaking_proxy(lab.data_plane.port(), 700..701).await;
    options.target.port = port;
    options.target.patience = Duration::from_millis(300);
    options.target.grace = Duration::from_millis(500);
    storage.break_at(0, Fault::SlowWrites(Duration::from_secs(3)));
    capture(source(&disk), &options).await.unwrap();
    let broken = proxy.abort_and_count().await;
    assert!(broken > 3, "only {broken} connections were broken");
    storage.repair();
    let point = session.commit(commit_options()).await.unwrap();
    assert!(lab.restore(&point, "2000").await == disk);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_answers_in_the_place_of_a_hub_that_is_away_is_no_sign_of_life() {
    let lab = Lab::new().await;
    let disk = noise(11, CHUNK_LEN);
    let session = lab.begin().await;
    session.begin_disk("2000", CHUNK, None).await.unwrap();
    let mut options = lab.options(&session, "2000", Areas::Whole);
    let gateway = lab::gateway::start().await;
    (options.target.port, options.target.certificate) = (gateway.port, gateway.certificate);
    options.target.grace = Duration::from_millis(500);
    let source = source(&disk);
    let captured = timeout(Duration::from_secs(20), capture(source, &options)).await;
    let error = captured.expect("the Node gives up").unwrap_err();
    assert_eq!(error.code(), Code::DataPlaneUnreachable);
}

/// Forwards connections to `port`, and breaks each after so many milliseconds until 20 are broken.
async fn breaking_proxy(port: u16, after_ms: Range<u64>) -> (u16, Proxy) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let own_port = listener.local_addr().unwrap().port();
    let broken = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = Arc::clone(&broken);
    let task = tokio::spawn(async move {
        let mut random = StdRng::seed_from_u64(4);
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            let limit = Duration::from_millis(random.random_range(after_ms.clone()));
            let counter = Arc::clone(&counter);
            tokio::spawn(async move {
                let is_spared = counter.load(std::sync::atomic::Ordering::Relaxed) >= 20;
                let limit = if is_spared { Duration::from_mins(1) } else { limit };
                if timeout(limit, copy_bidirectional(&mut near, &mut far)).await.is_err() {
                    counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            });
        }
    });
    (own_port, Proxy { task, broken })
}

struct Proxy {
    task: tokio::task::JoinHandle<()>,
    broken: Arc<std::sync::atomic::AtomicUsize>,
}

impl Proxy {
    async fn abort_and_count(self) -> usize {
        self.task.abort();
        let _cancelled = self.task.await;
        self.broken.load(std::sync::atomic::Ordering::Relaxed)
    }
}

fn alive_tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

async fn expect_tasks(expected: usize) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while alive_tasks() > expected {
        assert!(Instant::now() < deadline, "{} tasks are alive, {expected} expected", alive_tasks());
        sleep(Duration::from_millis(20)).await;
    }
}
