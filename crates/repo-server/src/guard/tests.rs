use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;

use super::*;

const DAY: u64 = 86_400;
const START: u64 = 1_800_000_000;
const ID: FileId = FileId::new([7; 32]);
const OTHER: FileId = FileId::new([8; 32]);

/// A clock whose hands a test moves: the time of day, and the steady one.
#[derive(Debug)]
struct TestClock(Mutex<(u64, u64)>);

impl TestClock {
    fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new((START, 0))))
    }

    fn pass(&self, seconds: u64) {
        let mut hands = self.0.lock().unwrap();
        *hands = (hands.0 + seconds, hands.1 + seconds);
    }

    fn set(&self, wall: u64) {
        self.0.lock().unwrap().0 = wall;
    }
}

impl Clock for TestClock {
    fn wall(&self) -> SystemTime {
        to_time(self.0.lock().unwrap().0)
    }

    fn steady(&self) -> Duration {
        Duration::from_secs(self.0.lock().unwrap().1)
    }
}

fn rules(window_days: u64) -> GuardRules {
    GuardRules {
        window: Duration::from_secs(window_days * DAY),
        protection_max: Duration::from_secs(3653 * DAY),
    }
}

async fn open(folder: &Path, clock: &Arc<TestClock>, window_days: u64) -> (Guard, GuardStart) {
    let clock: Arc<dyn Clock> = Arc::<TestClock>::clone(clock);
    // The thread of a guard that was dropped lets go of the journal a moment later.
    for _ in 0..200 {
        match Guard::open(folder, rules(window_days), Arc::clone(&clock), true).await {
            Err(error) if error.to_string().contains("another server") => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            opened => return opened.unwrap(),
        }
    }
    panic!("the journal stays locked");
}

async fn open_empty(folder: &Path, clock: &Arc<TestClock>, window_days: u64) -> Guard {
    let clock: Arc<dyn Clock> = Arc::<TestClock>::clone(clock);
    Guard::open(folder, rules(window_days), clock, false).await.unwrap().0
}

#[tokio::test]
async fn a_file_is_protected_for_the_window_and_not_longer() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), TestClock::new());
    let guard = open_empty(folder.path(), &clock, 30).await;
    let until = guard.protect_new(FileKind::Pack, &ID).await.unwrap();
    assert_eq!(until, Some(to_time(START + 30 * DAY)));
    clock.pass(30 * DAY - 1);
    assert_eq!(guard.protection(FileKind::Pack, &ID).await.unwrap(), until);
    clock.pass(1);
    assert_eq!(guard.protection(FileKind::Pack, &ID).await.unwrap(), None);
}

#[tokio::test]
async fn protections_survive_a_restart_with_a_shorter_window() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), TestClock::new());
    let guard = open_empty(folder.path(), &clock, 30).await;
    guard.protect_new(FileKind::Pack, &ID).await.unwrap();
    let until = to_time(START + 90 * DAY);
    guard.extend(FileKind::Pack, &OTHER, until).await.unwrap();
    drop(guard);
    let (guard, start) = open(folder.path(), &clock, 1).await;
    assert_eq!(start, GuardStart { damaged_records: 0, everything_until: None });
    assert_eq!(guard.protection(FileKind::Pack, &ID).await.unwrap(), Some(to_time(START + 30 * DAY)));
    assert_eq!(guard.protection(FileKind::Pack, &OTHER).await.unwrap(), Some(until));
}

#[tokio::test]
async fn a_protection_is_extended_within_the_limit_and_never_shortened() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), TestClock::new());
    let guard = open_empty(folder.path(), &clock, 30).await;
    guard.protect_new(FileKind::Pack, &ID).await.unwrap();
    for (asked_days, expected_days) in [(60, 60), (40, 60), (0, 60)] {
        let now = guard.extend(FileKind::Pack, &ID, to_time(START + asked_days * DAY)).await.unwrap();
        assert_eq!(now, Some(to_time(START + expected_days * DAY)), "{asked_days}");
    }
    let refused = guard.extend(FileKind::Pack, &ID, to_time(START + 4000 * DAY)).await;
    assert!(matches!(refused, Err(Refused::TooLong(_))), "{refused:?}");
}

#[tokio::test]
async fn a_file_that_is_not_known_is_protected_from_now_on() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), TestClock::new());
    let guard = open_empty(folder.path(), &clock, 30).await;
    clock.pass(100 * DAY);
    let until = Some(to_time(START + 130 * DAY));
    assert_eq!(guard.protection(FileKind::Index, &ID).await.unwrap(), until);
    clock.pass(DAY);
    assert_eq!(guard.protection(FileKind::Index, &ID).await.unwrap(), until);
}

#[tokio::test]
async fn a_missing_journal_protects_everything_anew() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), TestClock::new());
    let (guard, start) = open(folder.path(), &clock, 30).await;
    assert_eq!(start.everything_until, Some(to_time(START + 30 * DAY)));
    assert!(guard.protection(FileKind::Snapshot, &ID).await.unwrap().is_some());
}

#[tokio::test]
async fn a_damaged_record_protects_everything_anew_and_a_torn_one_does_not() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), TestClock::new());
    let guard = open_empty(folder.path(), &clock, 30).await;
    guard.protect_new(FileKind::Pack, &ID).await.unwrap();
    guard.protect_new(FileKind::Pack, &OTHER).await.unwrap();
    drop(guard);
    let journal = folder.path().join("journal");
    OpenOptions::new().append(true).open(&journal).unwrap().write_all(b"SG half a record").unwrap();
    let (guard, start) = open(folder.path(), &clock, 30).await;
    assert_eq!(start, GuardStart { damaged_records: 0, everything_until: None });
    assert!(guard.protection(FileKind::Pack, &OTHER).await.unwrap().is_some());
    drop(guard);
    clock.pass(100 * DAY);
    OpenOptions::new().write(true).open(&journal).unwrap().write_all_at(b"x", 70).unwrap();
    let (guard, start) = open(folder.path(), &clock, 30).await;
    assert_eq!(start.damaged_records, 1);
    assert_eq!(guard.protection(FileKind::Pack, &ID).await.unwrap(), Some(to_time(START + 130 * DAY)));
}

#[tokio::test]
async fn config_and_keys_are_protected_as_long_as_any_file() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), TestClock::new());
    let guard = open_empty(folder.path(), &clock, 30).await;
    guard.protect_new(FileKind::Config, &FileId::CONFIG).await.unwrap();
    guard.protect_new(FileKind::Key, &ID).await.unwrap();
    clock.pass(29 * DAY);
    guard.protect_new(FileKind::Snapshot, &ID).await.unwrap();
    clock.pass(29 * DAY);
    let until = Some(to_time(START + 59 * DAY));
    assert_eq!(guard.protection(FileKind::Config, &FileId::CONFIG).await.unwrap(), until);
    assert_eq!(guard.protection(FileKind::Key, &ID).await.unwrap(), until);
    clock.pass(DAY);
    assert_eq!(guard.protection(FileKind::Key, &ID).await.unwrap(), None);
}

#[tokio::test]
async fn locks_are_never_protected() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), TestClock::new());
    let guard = open_empty(folder.path(), &clock, 30).await;
    assert_eq!(guard.protect_new(FileKind::Lock, &ID).await.unwrap(), None);
    assert_eq!(guard.extend(FileKind::Lock, &ID, to_time(START + DAY)).await.unwrap(), None);
}

#[tokio::test]
async fn the_window_is_made_longer_for_good_and_never_shorter() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), TestClock::new());
    let guard = open_empty(folder.path(), &clock, 30).await;
    assert_eq!(guard.lengthen_window(60 * DAY).await.unwrap(), 60 * DAY);
    assert!(matches!(guard.lengthen_window(59 * DAY).await, Err(Refused::Shorter(_))));
    drop(guard);
    let (guard, _) = open(folder.path(), &clock, 30).await;
    assert_eq!(guard.window(), 60 * DAY);
}

#[tokio::test]
async fn a_clock_that_was_set_back_while_the_server_was_away_shortens_nothing() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), TestClock::new());
    let guard = open_empty(folder.path(), &clock, 30).await;
    guard.protect_new(FileKind::Pack, &ID).await.unwrap();
    drop(guard);
    clock.set(START - 3000 * DAY);
    let (guard, _) = open(folder.path(), &clock, 30).await;
    let until = guard.protect_new(FileKind::Pack, &OTHER).await.unwrap();
    assert_eq!(until, Some(to_time(START + 30 * DAY)));
}

#[tokio::test]
async fn a_journal_that_has_grown_is_written_anew_and_says_the_same() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), TestClock::new());
    let guard = open_empty(folder.path(), &clock, 30).await;
    guard.lengthen_window(40 * DAY).await.unwrap();
    guard.protect_new(FileKind::Pack, &OTHER).await.unwrap();
    for number in 0..100_u64 {
        let work: Vec<_> = (1..=50)
            .map(|step| guard.extend(FileKind::Pack, &ID, to_time(START + 40 * DAY + number * 50 + step)))
            .collect();
        for extended in work {
            extended.await.unwrap();
        }
    }
    guard.removed(FileKind::Pack, &FileId::new([9; 32])).await.unwrap();
    drop(guard);
    let journal = folder.path().join("journal");
    assert!(journal.metadata().unwrap().len() > 5000 * 64);
    let (guard, start) = open(folder.path(), &clock, 30).await;
    assert_eq!(start.everything_until, None);
    assert!(journal.metadata().unwrap().len() < 10 * 64, "{}", journal.metadata().unwrap().len());
    assert_eq!(guard.window(), 40 * DAY);
    let until = guard.protection(FileKind::Pack, &ID).await.unwrap();
    assert_eq!(until, Some(to_time(START + 40 * DAY + 5000)));
    assert_eq!(guard.protection(FileKind::Pack, &OTHER).await.unwrap(), Some(to_time(START + 40 * DAY)));
}

#[tokio::test]
async fn two_servers_cannot_keep_one_repository() {
    let (folder, clock) = (tempfile::tempdir().unwrap(), TestClock::new());
    let _first = open_empty(folder.path(), &clock, 30).await;
    let second = Guard::open(folder.path(), rules(30), clock, true).await;
    assert!(second.unwrap_err().to_string().contains("another server"));
}
