//! SFTP against OpenSSH: the promises, what it is called when the place is wrong, and connections that break.

// Helpers of tests are tests: they stop at the first thing that is wrong.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use sendense_storage::{ErrorKind, FileId, FileKind, Result, Retry, RetryPolicy, Secret, Storage};
use sendense_storage_sftp::{SftpOptions, SftpStorage};
use sendense_testkit::servers::Sshd;
use sendense_testkit::storage::suite;

const ID: FileId = FileId::new([7; 32]);

struct Changes<'a> {
    port: u16,
    path: &'a str,
    private_key: &'a Path,
    host_key: &'a str,
}

async fn open_with(server: &Sshd, changes: Changes<'_>) -> Result<SftpStorage> {
    let Changes { port, path, private_key, host_key } = changes;
    let private_key = &Secret::new(fs::read(private_key).unwrap());
    let username = &server.username().unwrap();
    SftpStorage::open(SftpOptions { host: "127.0.0.1", port, username, path, private_key, host_key }).await
}

async fn open(server: &Sshd, name: &str) -> SftpStorage {
    let path = server.files().join(name);
    let changes = Changes {
        port: server.port(),
        path: path.to_str().unwrap(),
        private_key: &server.private_key(),
        host_key: &server.host_key().unwrap(),
    };
    open_with(server, changes).await.unwrap()
}

fn content() -> Bytes {
    Bytes::from_static(b"some bytes")
}

/// Every file below a folder.
fn files_below(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path.to_str().unwrap().to_owned());
        }
    }
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_a_server_keeps_the_promises_and_keeps_nothing_else() {
    let server = Sshd::start().await.unwrap();
    suite(Arc::new(open(&server, "backups/one/").await)).await;
    assert_eq!(files_below(&server.files()), [""; 0]);
}

#[tokio::test]
async fn what_is_wrong_with_a_server_has_a_kind_of_its_own() {
    let mut server = Sshd::start().await.unwrap();
    let host_key = server.host_key().unwrap();
    let private_key = server.private_key();
    let right = || Changes { port: server.port(), path: "/", private_key: &private_key, host_key: &host_key };

    let other_key = server.other_private_key();
    let error = open_with(&server, Changes { private_key: &other_key, ..right() }).await.unwrap_err();
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::CredentialsWrong, false), "{error}");

    let no_key = server.files().join("no-key");
    fs::write(&no_key, "no key at all").unwrap();
    let error = open_with(&server, Changes { private_key: &no_key, ..right() }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CredentialsWrong, "{error}");

    let other_host = server.other_host_key().unwrap();
    let error = open_with(&server, Changes { host_key: &other_host, ..right() }).await.unwrap_err();
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::HostKeyMismatch, false), "{error}");

    let port = server.port();
    server.kill().await.unwrap();
    let changes = Changes { port, path: "/", private_key: &private_key, host_key: &host_key };
    let error = open_with(&server, changes).await.unwrap_err();
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Unreachable, true), "{error}");
}

#[tokio::test]
async fn a_folder_without_rights_is_one_and_a_missing_one_another_thing() {
    let server = Sshd::start().await.unwrap();
    let storage = open(&server, "one").await;
    assert!(!storage.is_initialised().await.unwrap());
    assert_eq!(storage.try_folder().await.unwrap_err().kind(), ErrorKind::ContainerMissing);
    for kind in FileKind::ALL {
        assert_eq!(storage.list(kind).await.unwrap_err().kind(), ErrorKind::NotFound, "{kind}");
        assert_eq!(
            storage.write(kind, &ID, content()).await.unwrap_err().kind(),
            ErrorKind::NotFound,
            "{kind}"
        );
        assert_eq!(storage.remove(kind, &ID).await.unwrap_err().kind(), ErrorKind::NotFound, "{kind}");
    }

    let folder = server.files().join("one");
    storage.create().await.unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o500)).unwrap();
    assert_eq!(storage.try_folder().await.unwrap_err().kind(), ErrorKind::PermissionDenied);
    let refused = storage.write(FileKind::Config, &ID, content()).await.unwrap_err();
    assert_eq!((refused.kind(), refused.is_temporary()), (ErrorKind::PermissionDenied, false), "{refused}");
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o000)).unwrap();
    for kind in FileKind::ALL {
        assert_eq!(storage.list(kind).await.unwrap_err().kind(), ErrorKind::PermissionDenied, "{kind}");
    }
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
}

#[tokio::test]
async fn a_folder_is_tried_out_and_left_as_it_was() {
    let server = Sshd::start().await.unwrap();
    let storage = open(&server, "").await;
    for _ in 0..2 {
        assert!(storage.try_folder().await.unwrap().is_empty);
    }
    fs::write(server.files().join("something"), "x").unwrap();
    assert!(!storage.try_folder().await.unwrap().is_empty);
    assert_eq!(files_below(&server.files()).len(), 1);
}

#[tokio::test]
async fn what_a_killed_writer_has_left_is_removed_a_day_later_and_nothing_else() {
    let server = Sshd::start().await.unwrap();
    let storage = open(&server, "one").await;
    storage.create().await.unwrap();
    storage.write(FileKind::Pack, &ID, content()).await.unwrap();
    let folder = server.files().join("one");
    let age = |name: &str, hours: u64| {
        let path = folder.join(name);
        let file = fs::File::create(&path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_hours(hours)).unwrap();
        path
    };
    let random = "0123456789abcdef".repeat(2);
    let pack = format!("data/07/{ID}-temporary-{random}");
    let old = [
        age(&pack, 25),
        age(&format!("index/{ID}-temporary-{random}"), 25),
        age(&format!("config-temporary-{random}"), 25),
        age(&format!(".sendense-probe-{random}"), 25),
    ];
    let kept = [
        age(&pack.replace("0123", "3210"), 23),
        age("data/07/notes", 1000),
        age("index/my-temporary-file", 1000),
        age("keys/.sendense-probe", 1000),
        folder.join("data/07").join(ID.to_string()),
    ];
    for kind in FileKind::ALL {
        storage.list(kind).await.unwrap();
    }
    storage.try_folder().await.unwrap();
    assert_eq!(old.map(|path| path.exists()), [false; 4]);
    assert_eq!(kept.map(|path| path.exists()), [true; 5]);
}

#[tokio::test]
async fn what_an_earlier_trial_has_left_makes_no_folder_full() {
    let server = Sshd::start().await.unwrap();
    let storage = open(&server, "").await;
    let random = "0123456789abcdef".repeat(2);
    for name in [format!(".sendense-probe-{random}"), format!("config-temporary-{random}")] {
        fs::write(server.files().join(name), b"left").unwrap();
    }
    assert!(storage.try_folder().await.unwrap().is_empty);
    assert_eq!(files_below(&server.files()).len(), 2, "somebody may be writing them");
    fs::write(server.files().join(".sendense-probe-notes"), b"mine").unwrap();
    assert!(!storage.try_folder().await.unwrap().is_empty);
}

#[tokio::test]
async fn a_server_that_cannot_make_files_durable_says_so() {
    for (server, is_durable) in
        [(Sshd::start().await.unwrap(), true), (Sshd::start_without_fsync().await.unwrap(), false)]
    {
        let storage = open(&server, "").await;
        assert_eq!(storage.try_folder().await.unwrap().is_durable, is_durable);
        storage.create().await.unwrap();
        storage.write(FileKind::Index, &ID, content()).await.unwrap();
    }
}

#[tokio::test]
async fn packs_get_their_folder_when_they_need_it_and_strangers_are_not_listed() {
    let server = Sshd::start().await.unwrap();
    let storage = open(&server, "one").await;
    storage.create().await.unwrap();
    let data = server.files().join("one/data");
    fs::remove_dir(data.join("07")).unwrap();
    storage.write(FileKind::Pack, &ID, content()).await.unwrap();
    fs::write(data.join("07/README"), "x").unwrap();
    fs::write(data.join("README"), "x").unwrap();
    fs::create_dir(data.join("08").join(FileId::new([8; 32]).to_string())).unwrap();
    assert_eq!(storage.list(FileKind::Pack).await.unwrap().len(), 1);
    let mode = fs::metadata(data.join("07").join(ID.to_string())).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[tokio::test]
async fn a_connection_that_breaks_is_a_temporary_error_and_made_again() {
    let server = Sshd::start().await.unwrap();
    let storage = open(&server, "one").await;
    storage.create().await.unwrap();
    storage.write(FileKind::Index, &ID, content()).await.unwrap();
    for _ in 0..3 {
        let large = Bytes::from(vec![1; 64 << 20]);
        let writing = storage.write(FileKind::Pack, &ID, large);
        let cutting = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            server.cut_connections()
        };
        let (written, cut) = tokio::join!(writing, cutting);
        assert!(cut > 0);
        let error = written.unwrap_err();
        assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::Unreachable, true), "{error}");
        assert_eq!(storage.read(FileKind::Index, &ID).await.unwrap(), content());
        assert_eq!(storage.list(FileKind::Pack).await.unwrap(), []);
    }
    let left = files_below(&server.files());
    assert_eq!(left.len(), 1, "of the writes that broke off there is something left: {left:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_repetition_nobody_notices_that_connections_break() {
    let server = Sshd::start().await.unwrap();
    let storage = Arc::new(Retry::new(Arc::new(open(&server, "one").await), RetryPolicy::default()));
    storage.create().await.unwrap();
    let writers: Vec<_> = (0..32_u8)
        .map(|i| {
            let storage = Arc::clone(&storage);
            tokio::spawn(async move {
                storage.write(FileKind::Pack, &FileId::new([i; 32]), vec![i; 2 << 20].into()).await
            })
        })
        .collect();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        server.cut_connections();
    }
    for writer in writers {
        writer.await.unwrap().unwrap();
    }
    assert_eq!(storage.list(FileKind::Pack).await.unwrap().len(), 32);
    for i in 0..32_u8 {
        let content = storage.read(FileKind::Pack, &FileId::new([i; 32])).await.unwrap();
        assert_eq!(content, vec![i; 2 << 20]);
    }
}

#[tokio::test]
async fn an_operation_that_nobody_waits_for_is_not_half_done() {
    let server = Sshd::start().await.unwrap();
    let storage = open(&server, "one").await;
    storage.create().await.unwrap();
    let large = Bytes::from(vec![1; 16 << 20]);
    let writing = storage.write(FileKind::Pack, &ID, large.clone());
    assert!(tokio::time::timeout(Duration::from_millis(5), writing).await.is_err());
    while !storage.exists(FileKind::Pack, &ID).await.unwrap() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(storage.read(FileKind::Pack, &ID).await.unwrap(), large);
}
