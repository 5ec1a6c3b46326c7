//! What each wrapper adds, and that they work together in the order that the crate recommends.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sendense_storage::{
    ByteBudget, Capacity, ErrorKind, FileId, FileKind, Guard, GuardLimits, Limit, MemoryStorage, Metrics,
    Retry, RetryPolicy, Storage, Throttle, Timeout, TimeoutPolicy, Verb, VerbMetrics,
};
use sendense_testkit::storage::{Fault, FaultyStorage, suite};
use tokio::time::Instant;

fn id(number: u8) -> FileId {
    FileId::new([number; 32])
}

fn bytes(len: usize) -> Bytes {
    vec![7; len].into()
}

fn impatient() -> RetryPolicy {
    RetryPolicy { attempts_max: 4, first_wait: Duration::from_millis(1), wait_max: Duration::from_millis(4) }
}

async fn seconds_of(work: impl Future) -> f64 {
    let start = Instant::now();
    work.await;
    start.elapsed().as_secs_f64()
}

#[tokio::test]
async fn all_wrappers_in_the_recommended_order_keep_the_promises() {
    let memory: Arc<dyn Storage> = Arc::new(MemoryStorage::with_total_bytes(64 << 20));
    let timed = Arc::new(Timeout::new(memory, TimeoutPolicy::default()));
    let limited = Arc::new(Limit::new(timed, 4, 4));
    let budget = Arc::new(ByteBudget::new(1 << 30));
    let throttled = Arc::new(Throttle::new(limited, Some(budget.clone()), Some(budget)));
    let retried = Arc::new(Retry::new(throttled, impatient()));
    let limits = GuardLimits { quota_bytes: Some(60 << 20), reserve_bytes: Some(1 << 20) };
    let metrics = Arc::new(Metrics::new(Arc::new(Guard::new(retried, limits))));
    suite(metrics.clone()).await;
    assert!(metrics.sample(Verb::Write).calls > 100);
}

#[tokio::test(start_paused = true)]
async fn a_throttle_keeps_the_average_and_lets_the_first_one_begin_at_once() {
    let budget = Arc::new(ByteBudget::new(1000));
    let storage = Throttle::new(Arc::new(MemoryStorage::new()), None, Some(budget));
    let write = |number| storage.write(FileKind::Pack, Box::leak(Box::new(id(number))), bytes(500));
    assert!(seconds_of(write(1)).await < 0.01);
    assert!((seconds_of(write(2)).await - 0.5).abs() < 0.01);
    assert!((seconds_of(write(3)).await - 0.5).abs() < 0.01);
    assert!(seconds_of(storage.read(FileKind::Pack, &id(1))).await < 0.01, "reads have no budget here");
    assert!(seconds_of(storage.list(FileKind::Pack)).await < 0.01, "a listing moves no content");
    tokio::time::sleep(Duration::from_mins(1)).await;
    write(4).await.unwrap();
    assert!((seconds_of(write(5)).await - 0.5).abs() < 0.01, "what was not used is not saved up");
}

#[tokio::test(start_paused = true)]
async fn storages_that_share_a_budget_share_its_speed() {
    let budget = Arc::new(ByteBudget::new(1000));
    let storages = [1, 2].map(|_| {
        let memory = Arc::new(MemoryStorage::new());
        Throttle::new(memory, Some(budget.clone()), Some(budget.clone()))
    });
    let elapsed = seconds_of(async {
        for storage in &storages {
            storage.write(FileKind::Pack, &id(1), bytes(1000)).await.unwrap();
            storage.read_range(FileKind::Pack, &id(1), 0, 500).await.unwrap();
            storage.read(FileKind::Pack, &id(1)).await.unwrap();
        }
    });
    let elapsed = elapsed.await;
    assert!(
        (4.0..5.1).contains(&elapsed),
        "5000 bytes, less the last one that need not be waited for: {elapsed}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_takes_too_long_is_given_up_and_repeated() {
    let faulty = Arc::new(FaultyStorage::new(Arc::new(MemoryStorage::new())));
    let policy = TimeoutPolicy {
        answer: Duration::from_secs(1),
        unmeasured: Duration::from_secs(5),
        bytes_per_second_min: 1000,
    };
    let timed = Arc::new(Timeout::new(faulty.clone(), policy));
    faulty.break_at(0, Fault::Slow(Duration::from_secs(3)));
    let error = timed.write(FileKind::Pack, &id(1), bytes(10)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(error.is_temporary());
    assert!(error.to_string().contains(&id(1).to_string()), "{error}");

    faulty.break_at(0, Fault::Slow(Duration::from_secs(3)));
    timed.write(FileKind::Pack, &id(1), bytes(5000)).await.unwrap();
    faulty.break_at(0, Fault::Slow(Duration::from_secs(3)));
    Retry::new(timed, impatient()).write(FileKind::Pack, &id(2), bytes(10)).await.unwrap();
    assert_eq!(faulty.journal().len(), 2);
}

#[tokio::test]
async fn metrics_count_what_was_done_and_what_failed() {
    let storage = Metrics::new(Arc::new(MemoryStorage::new()));
    storage.write(FileKind::Pack, &id(1), bytes(100)).await.unwrap();
    storage.write(FileKind::Pack, &id(1), bytes(99)).await.unwrap_err();
    storage.read(FileKind::Pack, &id(1)).await.unwrap();
    storage.read_range(FileKind::Pack, &id(1), 0, 10).await.unwrap();
    storage.size(FileKind::Pack, &id(2)).await.unwrap_err();
    let sums = |verb| {
        let VerbMetrics { calls, errors, bytes, .. } = storage.sample(verb);
        (calls, errors, bytes)
    };
    assert_eq!(sums(Verb::Write), (2, 1, 100));
    assert_eq!(sums(Verb::Read), (2, 0, 110));
    assert_eq!(sums(Verb::Size), (1, 1, 0));
    assert_eq!(sums(Verb::Remove), (0, 0, 0));
}

#[tokio::test]
async fn metrics_measure_the_time_that_passes() {
    let faulty = Arc::new(FaultyStorage::new(Arc::new(MemoryStorage::new())));
    let storage = Metrics::new(faulty.clone());
    faulty.break_at(0, Fault::Slow(Duration::from_millis(20)));
    storage.list(FileKind::Pack).await.unwrap();
    assert!(storage.sample(Verb::List).time >= Duration::from_millis(20));
}

fn quota(bytes: u64) -> GuardLimits {
    GuardLimits { quota_bytes: Some(bytes), reserve_bytes: None }
}

#[tokio::test]
async fn a_quota_stops_packs_and_lets_the_rest_through() {
    let memory = Arc::new(MemoryStorage::new());
    memory.write(FileKind::Pack, &id(1), bytes(600)).await.unwrap();
    let storage = Guard::new(memory, quota(1000));
    storage.write(FileKind::Pack, &id(2), bytes(300)).await.unwrap();
    let error = storage.write(FileKind::Pack, &id(3), bytes(101)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
    assert!(error.kind().is_no_space() && !error.is_temporary());
    for kind in FileKind::ALL.into_iter().filter(|kind| *kind != FileKind::Pack) {
        storage.write(kind, &id(3), bytes(200)).await.unwrap();
    }
    let capacity = storage.capacity().await.unwrap();
    assert_eq!(capacity, Some(Capacity { total_bytes: 1000, free_bytes: 0 }));
}

#[tokio::test]
async fn what_is_removed_can_be_written_again_at_once() {
    let storage = Guard::new(Arc::new(MemoryStorage::new()), quota(1000));
    storage.write(FileKind::Pack, &id(1), bytes(1000)).await.unwrap();
    storage.write(FileKind::Pack, &id(2), bytes(1000)).await.unwrap_err();
    storage.remove(FileKind::Pack, &id(1)).await.unwrap();
    storage.write(FileKind::Pack, &id(2), bytes(1000)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_others_have_removed_shows_after_a_while() {
    let memory = Arc::new(MemoryStorage::new());
    let storage = Guard::new(memory.clone(), quota(1000));
    storage.write(FileKind::Pack, &id(1), bytes(1000)).await.unwrap();
    memory.remove(FileKind::Pack, &id(1)).await.unwrap();
    storage.write(FileKind::Pack, &id(2), bytes(1000)).await.unwrap_err();
    tokio::time::sleep(Duration::from_secs(11)).await;
    storage.write(FileKind::Pack, &id(2), bytes(1000)).await.unwrap();
}

#[tokio::test]
async fn writers_at_the_same_time_do_not_exceed_a_quota_together() {
    let storage = Arc::new(Guard::new(Arc::new(MemoryStorage::new()), quota(1000)));
    let writers = (0..8).map(|number| {
        let storage = Arc::clone(&storage);
        tokio::spawn(async move { storage.write(FileKind::Pack, &id(number), bytes(300)).await.is_ok() })
    });
    let mut written = 0;
    for writer in writers.collect::<Vec<_>>() {
        written += usize::from(writer.await.unwrap());
    }
    assert_eq!(written, 3);
}

#[tokio::test]
async fn a_reserve_stays_free_for_what_must_be_finished() {
    let memory = Arc::new(MemoryStorage::with_total_bytes(1000));
    let limits = GuardLimits { quota_bytes: None, reserve_bytes: Some(200) };
    let storage = Guard::new(memory, limits);
    storage.write(FileKind::Pack, &id(1), bytes(700)).await.unwrap();
    let error = storage.write(FileKind::Pack, &id(2), bytes(101)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ReserveReached);
    assert_eq!(storage.capacity().await.unwrap(), Some(Capacity { total_bytes: 1000, free_bytes: 100 }));
    storage.write(FileKind::Pack, &id(2), bytes(100)).await.unwrap();
    storage.write(FileKind::Index, &id(1), bytes(100)).await.unwrap();
    storage.remove(FileKind::Pack, &id(1)).await.unwrap();
    storage.write(FileKind::Pack, &id(3), bytes(300)).await.unwrap();
}

#[tokio::test]
async fn a_reserve_where_nobody_knows_the_free_space_is_no_limit() {
    let limits = GuardLimits { quota_bytes: None, reserve_bytes: Some(1 << 60) };
    let storage = Guard::new(Arc::new(MemoryStorage::new()), limits);
    storage.write(FileKind::Pack, &id(1), bytes(700)).await.unwrap();
    storage.write(FileKind::Pack, &id(2), bytes(700)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_lock_is_written_while_a_large_place_is_counted() {
    let faulty = Arc::new(FaultyStorage::new(Arc::new(MemoryStorage::new())));
    faulty.break_at(0, Fault::Slow(Duration::from_hours(1)));
    let storage = Guard::new(faulty.clone(), quota(1000));
    let pack = id(1);
    let mut counted = std::pin::pin!(storage.write(FileKind::Pack, &pack, bytes(700)));
    let lock = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        storage.write(FileKind::Lock, &id(2), bytes(10)).await.unwrap();
        storage.remove(FileKind::Lock, &id(2)).await.unwrap();
    };
    tokio::select! {
        _ = &mut counted => panic!("the place was counted at once"),
        () = lock => {}
    }
    counted.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nobody_is_refused_by_a_count_that_was_outdated_when_it_ended() {
    let memory = Arc::new(MemoryStorage::new());
    memory.write(FileKind::Index, &id(1), bytes(900)).await.unwrap();
    let faulty = Arc::new(FaultyStorage::new(memory));
    // Packs are listed last.
    faulty.break_at(FileKind::ALL.len() - 1, Fault::Slow(Duration::from_hours(1)));
    let storage = Guard::new(faulty, quota(1000));
    let removal = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        storage.remove(FileKind::Index, &id(1)).await.unwrap();
    };
    let pack = id(2);
    let (written, ()) = tokio::join!(storage.write(FileKind::Pack, &pack, bytes(500)), removal);
    written.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_written_while_a_place_is_counted_counts_once() {
    let memory = Arc::new(MemoryStorage::new());
    memory.write(FileKind::Pack, &id(1), bytes(600)).await.unwrap();
    let faulty = Arc::new(FaultyStorage::new(memory));
    faulty.break_at(0, Fault::Slow(Duration::from_hours(1)));
    let storage = Guard::new(faulty, quota(1000));
    let other = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        storage.write(FileKind::Index, &id(2), bytes(300)).await.unwrap();
    };
    let pack = id(3);
    let (written, ()) = tokio::join!(storage.write(FileKind::Pack, &pack, bytes(100)), other);
    written.unwrap();
    let refused = storage.write(FileKind::Pack, &id(4), bytes(1)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::QuotaExceeded);
}

#[tokio::test(start_paused = true)]
async fn what_was_being_written_when_a_count_ended_counts_once() {
    let faulty = Arc::new(FaultyStorage::new(Arc::new(MemoryStorage::new())));
    // The place has the file already, but the answer comes later.
    faulty.break_at(0, Fault::LoseAnswer);
    let policy = RetryPolicy { first_wait: Duration::from_secs(4), ..RetryPolicy::default() };
    let storage = Guard::new(Arc::new(Retry::new(faulty, policy)), quota(1000));
    let (lost, counting) = (id(1), id(2));
    let counted = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        storage.write(FileKind::Pack, &counting, bytes(100)).await.unwrap();
    };
    let (written, ()) = tokio::join!(storage.write(FileKind::Index, &lost, bytes(300)), counted);
    written.unwrap();
    storage.write(FileKind::Pack, &id(3), bytes(600)).await.unwrap();
    let refused = storage.write(FileKind::Pack, &id(4), bytes(1)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::QuotaExceeded);
}

#[tokio::test(start_paused = true)]
async fn a_place_with_room_is_not_asked_for_it_before_every_write() {
    let faulty = Arc::new(FaultyStorage::new(Arc::new(MemoryStorage::with_total_bytes(1000))));
    faulty.break_at(0, Fault::SlowWrites(Duration::from_secs(1)));
    let limits = GuardLimits { quota_bytes: None, reserve_bytes: Some(100) };
    let storage = Arc::new(Guard::new(faulty.clone(), limits));
    let writers = (0..8).map(|number| {
        let storage = Arc::clone(&storage);
        tokio::spawn(async move {
            // Each begins while the one before it is being written.
            tokio::time::sleep(Duration::from_millis(500) * number.into()).await;
            let kind = if number == 0 { FileKind::Index } else { FileKind::Pack };
            storage.write(kind, &id(number), bytes(100)).await
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap().unwrap();
    }
    let asked = faulty.journal().iter().filter(|operation| operation.verb == Verb::Capacity).count();
    assert_eq!(asked, 1);
}

#[tokio::test(start_paused = true)]
async fn many_writers_that_need_a_count_share_one() {
    let faulty = Arc::new(FaultyStorage::new(Arc::new(MemoryStorage::new())));
    let storage = Arc::new(Guard::new(faulty.clone(), quota(1000)));
    storage.write(FileKind::Pack, &id(1), bytes(1000)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(11)).await;
    faulty.repair();
    let writers = (2..10).map(|number| {
        let storage = Arc::clone(&storage);
        tokio::spawn(async move { storage.write(FileKind::Pack, &id(number), bytes(1)).await.is_ok() })
    });
    for writer in writers.collect::<Vec<_>>() {
        assert!(!writer.await.unwrap());
    }
    assert_eq!(faulty.journal().len(), FileKind::ALL.len(), "one listing of each kind");
}
