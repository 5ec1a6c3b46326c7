//! The client of `sendense-storage-rest` and this server, together.

mod support;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sendense_storage::{ErrorKind, FileId, FileKind, ProtectionMode, Storage};
use sendense_storage_rest::{RestOptions, RestStorage};
use sha2::{Digest, Sha256};
use support::{DAY, InProcess, KEEPER, Unusual, WRITER};

async fn open(
    url: &str,
    (username, password): (&str, &str),
    pin: Option<[u8; 32]>,
) -> Result<RestStorage, ErrorKind> {
    let options = RestOptions { url, username, password, certificate_sha256: pin };
    RestStorage::open(options).await.map_err(|error| error.kind())
}

fn id_of(content: &[u8]) -> FileId {
    FileId::new(Sha256::digest(content).into())
}

#[tokio::test]
async fn the_client_keeps_the_promises_of_a_storage() {
    let usual = Unusual { window: Duration::ZERO, checks_names: false, tls: None };
    let server = InProcess::start(usual).await;
    let storage = open(&server.url(), KEEPER, None).await.unwrap();
    assert_eq!(storage.protection_policy(), None);
    sendense_testkit::storage::suite(Arc::new(storage)).await;
}

#[tokio::test]
async fn what_is_written_is_protected_for_the_window_and_removed_after_it() {
    let server = InProcess::start(Unusual::default()).await;
    let storage = open(&server.url(), KEEPER, None).await.unwrap();
    storage.create().await.unwrap();
    let policy = storage.protection_policy().unwrap();
    assert_eq!((policy.mode, policy.window), (ProtectionMode::Governance, 30 * DAY));
    let id = id_of(b"a pack");
    for kind in [FileKind::Pack, FileKind::Index, FileKind::Snapshot] {
        storage.write(kind, &id, Bytes::from_static(b"a pack")).await.unwrap();
        let until = storage.protection(kind, &id).await.unwrap().unwrap().until;
        let error = storage.remove(kind, &id).await.unwrap_err();
        assert_eq!((error.kind(), error.protected_until()), (ErrorKind::Protected, Some(until)), "{kind}");
        assert!(error.to_string().contains("protected until 20"), "{error}");
        let longer = storage.extend_protection(kind, &id, until + DAY).await.unwrap().unwrap().until;
        assert_eq!(longer, until + DAY);
        let not_shorter = storage.extend_protection(kind, &id, until).await.unwrap().unwrap().until;
        assert_eq!(not_shorter, until + DAY);
    }
    server.clock.pass(30 * DAY);
    assert_eq!(storage.remove(FileKind::Pack, &id).await.unwrap_err().kind(), ErrorKind::Protected);
    server.clock.pass(DAY);
    for kind in [FileKind::Pack, FileKind::Index, FileKind::Snapshot] {
        assert_eq!(storage.protection(kind, &id).await.unwrap(), None, "{kind}");
        storage.remove(kind, &id).await.unwrap();
        assert!(!storage.exists(kind, &id).await.unwrap(), "{kind}");
    }
}

#[tokio::test]
async fn a_writer_removes_locks_and_nothing_else_at_any_time() {
    let server = InProcess::start(Unusual::default()).await;
    let storage = open(&server.url(), WRITER, None).await.unwrap();
    storage.create().await.unwrap();
    server.clock.pass(100 * DAY);
    let id = id_of(b"x");
    for kind in FileKind::ALL {
        storage.write(kind, &id, Bytes::from_static(b"x")).await.unwrap();
    }
    server.clock.pass(100 * DAY);
    for kind in FileKind::ALL {
        let removed = storage.remove(kind, &id).await.map_err(|error| error.kind());
        let expected = if kind == FileKind::Lock { Ok(()) } else { Err(ErrorKind::PermissionDenied) };
        assert_eq!(removed, expected, "{kind}");
    }
}

#[tokio::test]
async fn bytes_that_do_not_have_their_name_are_not_kept() {
    let server = InProcess::start(Unusual::default()).await;
    let storage = open(&server.url(), WRITER, None).await.unwrap();
    storage.create().await.unwrap();
    let id = id_of(b"what was meant");
    let error = storage.write(FileKind::Pack, &id, Bytes::from_static(b"what arrived")).await.unwrap_err();
    assert!(error.is_temporary(), "{error}");
    assert_eq!(storage.list(FileKind::Pack).await.unwrap(), []);
}

#[tokio::test]
async fn failures_to_connect_are_told_apart() {
    let key = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    let (certificate, private) = (key.cert.pem(), key.signing_key.serialize_pem());
    let pin: [u8; 32] = Sha256::digest(key.cert.der()).into();
    let usual = Unusual { tls: Some((certificate.clone(), private)), ..Unusual::default() };
    let server = InProcess::start(usual).await;
    assert_eq!(sendense_repo_server::fingerprint(&certificate).unwrap(), hex::encode(pin));
    let url = server.url().replace("http:", "https:");
    let storage = open(&url, WRITER, Some(pin)).await.unwrap();
    storage.create().await.unwrap();
    assert!(storage.capacity().await.unwrap().unwrap().total_bytes > 0);
    assert!(!format!("{storage:?}").contains(WRITER.1));
    for (wrong_url, credential, pin, expected) in [
        (&url, WRITER, Some([0; 32]), ErrorKind::CertificateUntrusted),
        (&url, WRITER, None, ErrorKind::CertificateUntrusted),
        (&url, ("hub", "wrong"), Some(pin), ErrorKind::CredentialsWrong),
        (&url, ("nobody", WRITER.1), Some(pin), ErrorKind::CredentialsWrong),
        (&"https://127.0.0.1:1/vault/".to_owned(), WRITER, Some(pin), ErrorKind::Unreachable),
    ] {
        assert_eq!(open(wrong_url, credential, pin).await.unwrap_err(), expected);
    }
    let log = server.log.lock().unwrap().join("\n");
    assert!(log.contains("credentials-wrong"), "{log}");
    assert!(!log.contains(WRITER.1) && !log.contains("wrong\""), "{log}");
}

#[tokio::test]
async fn a_repository_that_is_not_ours_is_not_there() {
    let server = InProcess::start(Unusual::default()).await;
    let url = server.url().replace("vault", "other");
    let storage = open(&url, WRITER, None).await.unwrap();
    assert_eq!(storage.create().await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(storage.list(FileKind::Pack).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn a_folder_that_vanishes_is_an_error_and_no_success() {
    let server = InProcess::start(Unusual::default()).await;
    let storage = open(&server.url(), KEEPER, None).await.unwrap();
    storage.create().await.unwrap();
    let moved = server.folder.path().with_extension("moved");
    std::fs::rename(server.folder.path(), &moved).unwrap();
    assert!(storage.remove(FileKind::Pack, &id_of(b"x")).await.is_err());
    assert!(storage.list(FileKind::Pack).await.is_err());
    assert!(storage.write(FileKind::Lock, &id_of(b"x"), Bytes::from_static(b"x")).await.is_err());
    std::fs::rename(&moved, server.folder.path()).unwrap();
}
