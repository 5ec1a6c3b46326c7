//! Every storage and every wrapper keeps the promises; the faulty one breaks exactly where it is told to.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use sendense_storage::{
    ErrorKind, FileId, FileKind, Limit, LocalStorage, MemoryStorage, Protection, ProtectionMode,
    ProtectionPolicy, Retry, RetryPolicy, Storage,
};
use sendense_testkit::storage::{Fault, FaultyStorage, suite};

const ID: FileId = FileId::new([7; 32]);

fn impatient() -> RetryPolicy {
    RetryPolicy { attempts_max: 4, first_wait: Duration::from_millis(1), wait_max: Duration::from_millis(4) }
}

#[tokio::test]
async fn memory_storage_keeps_the_promises() {
    suite(Arc::new(MemoryStorage::new())).await;
    suite(Arc::new(MemoryStorage::with_total_bytes(64 << 20))).await;
}

#[tokio::test]
async fn local_storage_keeps_the_promises() {
    let directory = tempfile::tempdir().unwrap();
    suite(Arc::new(LocalStorage::open(directory.path().join("new")).await.unwrap())).await;
}

#[tokio::test]
async fn wrapped_storage_keeps_the_promises() {
    let limited = Arc::new(Limit::new(Arc::new(MemoryStorage::new()), 1, 1));
    let faulty = Arc::new(FaultyStorage::new(limited));
    suite(Arc::new(Retry::new(faulty, impatient()))).await;
}

#[tokio::test]
async fn a_repository_is_private_to_its_owner() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("repository");
    let storage = LocalStorage::open(&root).await.unwrap();
    storage.create().await.unwrap();
    storage.write(FileKind::Pack, &ID, Bytes::from_static(b"x")).await.unwrap();
    let mode = |path: &str| root.join(path).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(""), 0o700);
    assert_eq!(mode("data"), 0o700);
    assert_eq!(mode(&format!("data/07/{ID}")), 0o600);
}

#[tokio::test]
async fn an_unmounted_disk_is_an_error_and_not_an_empty_repository() {
    let directory = tempfile::tempdir().unwrap();
    let storage = LocalStorage::open(directory.path().join("missing")).await.unwrap();
    assert!(!storage.is_initialised().await.unwrap());
    for kind in FileKind::ALL {
        assert_eq!(storage.list(kind).await.unwrap_err().kind(), ErrorKind::NotFound, "{kind}");
        let written = storage.write(kind, &ID, Bytes::from_static(b"x")).await;
        assert_eq!(written.unwrap_err().kind(), ErrorKind::NotFound, "{kind}");
    }
    assert_eq!(storage.remove(FileKind::Pack, &ID).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn foreign_files_are_not_listed() {
    let directory = tempfile::tempdir().unwrap();
    let storage = LocalStorage::open(directory.path()).await.unwrap();
    storage.create().await.unwrap();
    std::fs::write(directory.path().join("index/README"), "x").unwrap();
    std::fs::write(directory.path().join("data/lost+found"), "x").unwrap();
    std::fs::create_dir(directory.path().join(format!("index/{ID}"))).unwrap();
    std::fs::write(directory.path().join(format!("data/07/{ID}-tmp-123")), "x").unwrap();
    for kind in FileKind::ALL {
        assert_eq!(storage.list(kind).await.unwrap(), [], "{kind}");
    }
}

#[tokio::test]
async fn a_pack_directory_that_another_tool_did_not_make_is_made_when_needed() {
    let directory = tempfile::tempdir().unwrap();
    let storage = LocalStorage::open(directory.path()).await.unwrap();
    storage.create().await.unwrap();
    std::fs::remove_dir(directory.path().join("data/07")).unwrap();
    storage.write(FileKind::Pack, &ID, Bytes::from_static(b"x")).await.unwrap();
    assert!(storage.exists(FileKind::Pack, &ID).await.unwrap());
}

#[tokio::test]
async fn a_write_leaves_no_temporary_file_behind_whether_it_succeeds_or_not() {
    let directory = tempfile::tempdir().unwrap();
    let storage = LocalStorage::open(directory.path()).await.unwrap();
    storage.create().await.unwrap();
    storage.write(FileKind::Index, &ID, Bytes::from_static(b"x")).await.unwrap();
    storage.write(FileKind::Index, &ID, Bytes::from_static(b"y")).await.unwrap_err();
    assert_eq!(std::fs::read_dir(directory.path().join("index")).unwrap().count(), 1);
}

#[tokio::test]
async fn an_upload_in_pieces_is_invisible_until_it_is_whole() {
    let directory = tempfile::tempdir().unwrap();
    let storage = LocalStorage::open(directory.path()).await.unwrap();
    storage.create().await.unwrap();
    let mut upload = storage.upload(FileKind::Pack, &ID).await.unwrap();
    upload.append(Bytes::from_static(b"half ")).await.unwrap();
    assert_eq!(storage.list(FileKind::Pack).await.unwrap(), []);
    assert!(!storage.exists(FileKind::Pack, &ID).await.unwrap());
    upload.append(Bytes::from_static(b"and half")).await.unwrap();
    upload.finish().await.unwrap();
    assert_eq!(storage.read(FileKind::Pack, &ID).await.unwrap(), "half and half");
}

#[tokio::test]
async fn an_upload_in_pieces_never_replaces_a_file_and_leaves_nothing_behind() {
    let directory = tempfile::tempdir().unwrap();
    let storage = LocalStorage::open(directory.path()).await.unwrap();
    storage.create().await.unwrap();
    storage.write(FileKind::Index, &ID, Bytes::from_static(b"first")).await.unwrap();
    for (content, expected) in
        [("first", None), ("other", Some(ErrorKind::AlreadyExists)), ("1", Some(ErrorKind::AlreadyExists))]
    {
        let mut upload = storage.upload(FileKind::Index, &ID).await.unwrap();
        upload.append(Bytes::from_static(content.as_bytes())).await.unwrap();
        assert_eq!(upload.finish().await.err().map(|error| error.kind()), expected, "{content}");
    }
    drop(storage.upload(FileKind::Index, &ID).await.unwrap());
    assert_eq!(storage.read(FileKind::Index, &ID).await.unwrap(), "first");
    assert_eq!(std::fs::read_dir(directory.path().join("index")).unwrap().count(), 1);
}

#[tokio::test]
async fn a_full_storage_says_no_space_and_keeps_what_it_has() {
    let storage = MemoryStorage::with_total_bytes(10);
    storage.write(FileKind::Pack, &ID, Bytes::from_static(b"123456")).await.unwrap();
    let error = storage.write(FileKind::Index, &ID, Bytes::from_static(b"12345")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    assert!(!error.is_temporary());
    assert!(!storage.exists(FileKind::Index, &ID).await.unwrap());
    assert_eq!(storage.capacity().await.unwrap().unwrap().free_bytes, 4);
}

#[tokio::test]
async fn a_temporary_error_is_repeated_and_a_lost_answer_does_no_harm() {
    for fault in [Fault::Fail(ErrorKind::Timeout), Fault::LoseAnswer, Fault::BreakOff] {
        let faulty = Arc::new(FaultyStorage::new(Arc::new(MemoryStorage::new())));
        let storage = Retry::new(faulty.clone(), impatient());
        faulty.break_at(0, fault);
        storage.write(FileKind::Pack, &ID, Bytes::from_static(b"x")).await.unwrap();
        assert_eq!(faulty.journal().len(), 2, "{fault:?}");
    }
}

#[tokio::test]
async fn a_final_error_is_not_repeated() {
    let faulty = Arc::new(FaultyStorage::new(Arc::new(MemoryStorage::new())));
    let storage = Retry::new(faulty.clone(), impatient());
    faulty.break_at(0, Fault::NoSpace);
    let error = storage.write(FileKind::Pack, &ID, Bytes::from_static(b"x")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NoSpace);
    assert_eq!(faulty.journal().len(), 1);
}

#[derive(Debug)]
struct AlwaysLate;

#[async_trait::async_trait]
impl Storage for AlwaysLate {
    fn location(&self) -> String {
        "nowhere".into()
    }
    async fn create(&self) -> sendense_storage::Result<()> {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Err(sendense_storage::Error::new(ErrorKind::Timeout, "create", "always late"))
    }
    async fn list(&self, _: FileKind) -> sendense_storage::Result<Vec<sendense_storage::FileEntry>> {
        unreachable!()
    }
    async fn size(&self, _: FileKind, _: &FileId) -> sendense_storage::Result<u64> {
        unreachable!()
    }
    async fn read(&self, _: FileKind, _: &FileId) -> sendense_storage::Result<Bytes> {
        unreachable!()
    }
    async fn read_range(&self, _: FileKind, _: &FileId, _: u64, _: usize) -> sendense_storage::Result<Bytes> {
        unreachable!()
    }
    async fn write(&self, _: FileKind, _: &FileId, _: Bytes) -> sendense_storage::Result<()> {
        unreachable!()
    }
    async fn remove(&self, _: FileKind, _: &FileId) -> sendense_storage::Result<()> {
        unreachable!()
    }
    async fn capacity(&self) -> sendense_storage::Result<Option<sendense_storage::Capacity>> {
        unreachable!()
    }
}

#[tokio::test]
async fn an_error_that_outlives_all_tries_is_no_longer_temporary() {
    let error = Retry::new(Arc::new(AlwaysLate), impatient()).create().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert!(!error.is_temporary());
}

#[tokio::test]
async fn a_limit_of_two_lets_two_in() {
    let storage = Arc::new(Limit::new(Arc::new(AlwaysLate), 1, 2));
    let start = Instant::now();
    let tasks: Vec<_> = (0..6)
        .map(|_| {
            let storage = Arc::clone(&storage);
            tokio::spawn(async move { storage.create().await })
        })
        .collect();
    for task in tasks {
        assert!(task.await.unwrap().is_err());
    }
    assert!(start.elapsed() >= Duration::from_millis(60), "six operations of 20 ms, two at a time");
}

#[tokio::test]
async fn the_faulty_storage_tears_a_file_and_is_dead_afterwards() {
    let inner = Arc::new(MemoryStorage::new());
    let faulty = FaultyStorage::new(inner.clone());
    faulty.break_at(1, Fault::Tear { keep_bytes: 3 });
    faulty.write(FileKind::Index, &ID, Bytes::from_static(b"whole")).await.unwrap();
    faulty.write(FileKind::Pack, &ID, Bytes::from_static(b"whole")).await.unwrap_err();
    faulty.list(FileKind::Pack).await.unwrap_err();
    assert_eq!(inner.read(FileKind::Index, &ID).await.unwrap(), "whole");
    assert_eq!(inner.read(FileKind::Pack, &ID).await.unwrap(), "who");
    assert!(faulty.has_broken());
}

#[tokio::test]
async fn the_faulty_storage_does_what_it_says_was_not_answered() {
    let inner = Arc::new(MemoryStorage::new());
    let faulty = FaultyStorage::new(inner.clone());
    for (fault, is_done) in
        [(Fault::CrashBefore, false), (Fault::CrashAfter, true), (Fault::LoseAnswer, true)]
    {
        faulty.break_at(0, fault);
        faulty.write(FileKind::Pack, &ID, Bytes::from_static(b"x")).await.unwrap_err();
        assert_eq!(inner.exists(FileKind::Pack, &ID).await.unwrap(), is_done, "{fault:?}");
        inner.remove(FileKind::Pack, &ID).await.unwrap();
    }
}

const WINDOW: Duration = Duration::from_hours(24 * 14);

#[tokio::test]
async fn a_protected_file_is_refused_removal_until_its_time_and_not_a_moment_longer() {
    let policy = ProtectionPolicy { mode: ProtectionMode::Compliance, window: WINDOW };
    let memory = Arc::new(MemoryStorage::with_protection(policy));
    let start = SystemTime::now();
    memory.set_now(start);
    let limited = Arc::new(Limit::new(memory.clone(), 2, 2));
    let storage = Retry::new(Arc::new(FaultyStorage::new(limited)), impatient());
    assert_eq!(storage.protection_policy(), Some(policy));
    for kind in [FileKind::Pack, FileKind::Lock] {
        storage.write(kind, &ID, Bytes::from_static(b"x")).await.unwrap();
    }

    let expected = Protection { mode: ProtectionMode::Compliance, until: start + WINDOW };
    assert_eq!(storage.protection(FileKind::Pack, &ID).await.unwrap(), Some(expected));
    assert_eq!(storage.protection(FileKind::Lock, &ID).await.unwrap(), None);
    storage.remove(FileKind::Lock, &ID).await.unwrap();
    let error = storage.remove(FileKind::Pack, &ID).await.unwrap_err();
    assert_eq!((error.kind(), error.protected_until()), (ErrorKind::Protected, Some(start + WINDOW)));
    assert!(storage.exists(FileKind::Pack, &ID).await.unwrap());

    memory.set_now(start + WINDOW);
    storage.remove(FileKind::Pack, &ID).await.unwrap();
    assert!(!storage.exists(FileKind::Pack, &ID).await.unwrap());
}

#[tokio::test]
async fn a_protection_is_extended_and_never_shortened() {
    let policy = ProtectionPolicy { mode: ProtectionMode::Governance, window: WINDOW };
    let storage = MemoryStorage::with_protection(policy);
    let start = SystemTime::now();
    storage.set_now(start);
    storage.write(FileKind::Pack, &ID, Bytes::from_static(b"x")).await.unwrap();
    for (asked, expected) in [(2 * WINDOW, 2 * WINDOW), (WINDOW, 2 * WINDOW)] {
        let in_force = storage.extend_protection(FileKind::Pack, &ID, start + asked).await.unwrap();
        assert_eq!(in_force.map(|protection| protection.until), Some(start + expected));
    }
    let missing = storage.extend_protection(FileKind::Index, &ID, start).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_storage_without_protection_says_so() {
    let storage = MemoryStorage::new();
    storage.write(FileKind::Pack, &ID, Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(storage.protection_policy(), None);
    assert_eq!(storage.extend_protection(FileKind::Pack, &ID, SystemTime::now()).await.unwrap(), None);
    storage.remove(FileKind::Pack, &ID).await.unwrap();
}

#[tokio::test]
async fn a_listing_that_breaks_off_is_an_error_and_complete_when_it_is_repeated() {
    let memory = Arc::new(MemoryStorage::new());
    for number in 0..10 {
        memory.write(FileKind::Pack, &FileId::new([number; 32]), Bytes::from_static(b"x")).await.unwrap();
    }
    let faulty = Arc::new(FaultyStorage::new(memory));
    faulty.break_at(0, Fault::BreakOff);
    assert!(faulty.list(FileKind::Pack).await.unwrap_err().is_temporary());
    faulty.break_at(0, Fault::BreakOff);
    assert_eq!(Retry::new(faulty, impatient()).list(FileKind::Pack).await.unwrap().len(), 10);
}

#[tokio::test]
async fn an_overloaded_server_is_waited_for_and_in_the_end_given_up() {
    let faulty = Arc::new(FaultyStorage::new(Arc::new(MemoryStorage::new())));
    let storage = Retry::new(faulty.clone(), impatient());
    faulty.break_at(0, Fault::Overload { operations: 3 });
    storage.write(FileKind::Pack, &ID, Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(faulty.journal().len(), 4);
    faulty.break_at(0, Fault::Overload { operations: 100 });
    assert!(!storage.read(FileKind::Pack, &ID).await.unwrap_err().is_temporary());
    assert_eq!(faulty.journal().len(), 4);
}
