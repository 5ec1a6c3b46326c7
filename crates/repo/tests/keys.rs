//! Keys: added, removed, changed, and never none.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]

mod support;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sendense_repo::{ChangedPassword, Error, Kdf, KeyId, PruneOptions, Repository, Secret};
use sendense_storage::{FileKind, MemoryStorage, ProtectionMode, ProtectionPolicy, Storage};
use sendense_testkit::storage::{Fault, FaultyStorage};
use support::*;
use tokio_util::sync::CancellationToken;

const FAST: Kdf = Kdf::Fixed { log_n: 4, r: 8, p: 1 };

async fn opens(storage: &Arc<MemoryStorage>, password: &str) -> bool {
    match Repository::open(storage.clone(), &Secret::new(password)).await {
        Ok(_) => true,
        Err(Error::WrongPassword) => false,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_key_is_added_listed_and_removed_and_the_one_in_use_stays() {
    let storage = Arc::new(MemoryStorage::new());
    let repository = a_repository(storage.clone()).await;
    let lock = quick_writer().lock;
    let id = repository.add_key(&Secret::new("recovery"), FAST).await.unwrap();
    assert!(opens(&storage, "recovery").await);
    let keys = repository.keys().await.unwrap();
    let current = keys.iter().find(|key| key.is_current).unwrap().id;
    assert_eq!((keys.len(), keys.iter().filter(|key| key.is_current).count()), (2, 1));
    assert!(keys.iter().all(|key| key.created_at.is_some() && !key.hostname.is_empty()));
    assert!(matches!(repository.remove_key(&current, lock).await, Err(Error::KeyNeeded { .. })));
    let none = repository.remove_key(&KeyId::of(b"none"), lock).await;
    assert!(matches!(none, Err(Error::KeyMissing { .. })));
    repository.remove_key(&id, lock).await.unwrap();
    assert!(!opens(&storage, "recovery").await && opens(&storage, PASSWORD).await);
    assert_eq!(storage.list(FileKind::Lock).await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_changed_password_opens_and_the_old_one_does_not() {
    let storage = Arc::new(MemoryStorage::new());
    let repository = a_repository(storage.clone()).await;
    let lock = quick_writer().lock;
    let ChangedPassword { id, kept } =
        repository.change_password(&Secret::new("new"), FAST, lock).await.unwrap();
    assert_eq!(kept, None);
    assert!(opens(&storage, "new").await && !opens(&storage, PASSWORD).await);
    assert!(matches!(repository.remove_key(&id, lock).await, Err(Error::KeyNeeded { .. })));
    capture(&repository, &[("disk-2000.raw", &a_disk(1, 1 << 18))]).await.unwrap();
}

#[tokio::test]
async fn a_change_of_the_password_that_dies_at_any_operation_leaves_a_way_in() {
    for nth in 0.. {
        let inner = Arc::new(MemoryStorage::new());
        a_repository(inner.clone()).await;
        let faulty = Arc::new(FaultyStorage::new(inner.clone()));
        let doomed = Repository::open(faulty.clone(), &password()).await.unwrap();
        faulty.break_at(nth, if nth % 2 == 0 { Fault::CrashAfter } else { Fault::CrashBefore });
        let outcome = doomed.change_password(&Secret::new("new"), FAST, quick_writer().lock).await;
        assert!(opens(&inner, "new").await || opens(&inner, PASSWORD).await, "{nth}");
        if outcome.is_ok() {
            assert!(opens(&inner, "new").await);
            break;
        }
    }
}

#[tokio::test]
async fn a_repository_is_not_made_where_data_lie() {
    for kind in [FileKind::Snapshot, FileKind::Index, FileKind::Pack] {
        let storage = Arc::new(MemoryStorage::new());
        let id = sendense_storage::FileId::new([7; 32]);
        storage.write(kind, &id, vec![1; 10].into()).await.unwrap();
        let result = Repository::init(storage.clone(), &password(), quick_init()).await;
        assert!(matches!(result, Err(Error::AlreadyARepository { .. })), "{kind}");
        assert_eq!(storage.list(FileKind::Key).await.unwrap().len(), 0, "no key is made there");
    }
}

#[tokio::test]
async fn statistics_tell_logical_unique_and_stored_bytes_apart() {
    let repository = a_repository(Arc::new(MemoryStorage::new())).await;
    let disk = a_disk(1, 1 << 20);
    capture(&repository, &[("disk-2000.raw", &disk)]).await.unwrap();
    let one = repository.statistics().await.unwrap();
    capture(&repository, &[("disk-2000.raw", &disk)]).await.unwrap();
    let two = repository.statistics().await.unwrap();
    assert_eq!((one.restore_points, two.restore_points), (1, 2));
    assert_eq!(two.logical_bytes, 2 * one.logical_bytes);
    assert!(one.logical_bytes > disk.len() as u64);
    assert_eq!((two.unique_bytes, two.chunks), (one.unique_bytes, one.chunks));
    assert!(one.stored_bytes < one.unique_bytes && one.unique_bytes < one.logical_bytes);
    assert!(two.metadata_bytes > one.metadata_bytes && two.unused_bytes.is_none());
}

/// The old key cannot be removed before its protection ends. It is not protected for longer with what is made later.
#[tokio::test]
async fn where_keys_are_protected_the_new_password_counts_and_the_old_key_goes_when_it_can() {
    let day = Duration::from_hours(24);
    let policy = ProtectionPolicy { mode: ProtectionMode::Compliance, window: 10 * day };
    let storage = Arc::new(MemoryStorage::with_protection(policy));
    let repository = a_repository(storage.clone()).await;
    let lock = quick_writer().lock;
    let old = repository.keys().await.unwrap()[0].id;
    let mut kept = Vec::new();
    for password in ["second", "third"] {
        let changed = repository.change_password(&Secret::new(password), FAST, lock).await.unwrap();
        kept.push(changed.kept.unwrap());
    }
    assert_eq!(kept[0].id, old);
    assert!(kept[0].until.unwrap() > SystemTime::now() + 9 * day);
    assert!(opens(&storage, PASSWORD).await && opens(&storage, "third").await);
    let superseded = |keys: Vec<sendense_repo::KeyInfo>| keys.iter().filter(|key| key.is_superseded).count();
    assert_eq!(superseded(repository.keys().await.unwrap()), 2);

    storage.set_now(SystemTime::now() + 9 * day);
    capture(&repository, &[("disk-2000.raw", &a_disk(1, 1 << 18))]).await.unwrap();
    storage.set_now(SystemTime::now() + 11 * day);
    let options = PruneOptions { lock, ..PruneOptions::default() };
    repository.prune(&options, &|_| {}, &CancellationToken::new()).await.unwrap();
    let keys = repository.keys().await.unwrap();
    assert_eq!((keys.len(), keys[0].is_current, superseded(keys)), (1, true, 0));
    assert!(
        !opens(&storage, PASSWORD).await
            && !opens(&storage, "second").await
            && opens(&storage, "third").await
    );
}

/// An attempt to make a repository that died has left a key with the same password and another master key.
#[tokio::test]
async fn keys_of_failed_attempts_do_not_keep_a_repository_from_opening() {
    let policy = ProtectionPolicy { mode: ProtectionMode::Compliance, window: Duration::from_hours(1) };
    for _ in 0..4 {
        let storage = Arc::new(MemoryStorage::with_protection(policy));
        let mut nth = 0;
        while storage.list(FileKind::Key).await.unwrap().is_empty() {
            let doomed = Arc::new(FaultyStorage::new(storage.clone()));
            doomed.break_at(nth, Fault::CrashAfter);
            assert!(Repository::init(doomed, &password(), quick_init()).await.is_err());
            nth += 1;
        }
        a_repository(storage.clone()).await;
        assert!(opens(&storage, PASSWORD).await);
    }
}
