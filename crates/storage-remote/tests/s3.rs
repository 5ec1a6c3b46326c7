//! S3 against versitygw: the promises, object lock, and what it is called when the place is wrong.

// Helpers of tests are tests: they stop at the first thing that is wrong.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use sendense_storage::{
    ErrorKind, FileId, FileKind, Protection, ProtectionMode, ProtectionPolicy, Secret, Storage,
};
use sendense_storage_remote::{S3Settings, S3Storage};
use sendense_testkit::servers::Versitygw;
use sendense_testkit::storage::{refusals, suite};
use sendense_testkit::tls_files::TlsFiles;

const ID: FileId = FileId::new([7; 32]);
const DAY: Duration = Duration::from_hours(24);

fn settings(server: &Versitygw, bucket: &str) -> S3Settings {
    S3Settings {
        endpoint: server.endpoint(),
        region: Versitygw::REGION.into(),
        bucket: bucket.into(),
        prefix: "backup/one".into(),
        access_key_id: Versitygw::ACCESS_KEY_ID.into(),
        secret_access_key: Secret::new(Versitygw::SECRET_ACCESS_KEY),
        virtual_hosted: false,
        ca_pem: None,
        protection: None,
        clock: SystemTime::now,
    }
}

fn locked(server: &Versitygw, bucket: &str, mode: ProtectionMode) -> S3Settings {
    S3Settings { protection: Some(ProtectionPolicy { mode, window: 14 * DAY }), ..settings(server, bucket) }
}

fn open(settings: &S3Settings) -> S3Storage {
    S3Storage::open(settings).unwrap()
}

fn content() -> Bytes {
    Bytes::from_static(b"some bytes")
}

#[tokio::test]
async fn a_bucket_keeps_the_promises() {
    let server = Versitygw::start().await.unwrap();
    server.create_bucket("plain").await.unwrap();
    suite(Arc::new(open(&settings(&server, "plain")))).await;
    suite(Arc::new(open(&S3Settings { prefix: String::new(), ..settings(&server, "plain") }))).await;
}

#[tokio::test]
async fn a_bucket_with_versions_keeps_the_promises_and_keeps_nothing_else() {
    let server = Versitygw::start().await.unwrap();
    server.create_locked_bucket("versions").await.unwrap();
    suite(Arc::new(open(&settings(&server, "versions")))).await;
    let left = server.request("GET", "versions?versions=", &[], "").await.unwrap();
    assert!(!left.contains("<Version>") && !left.contains("<DeleteMarker>"), "{left}");
}

#[tokio::test]
async fn a_file_is_protected_from_its_upload_on_and_its_removal_is_refused_with_the_date() {
    let server = Versitygw::start().await.unwrap();
    server.create_locked_bucket("locked").await.unwrap();
    for mode in [ProtectionMode::Compliance, ProtectionMode::Governance] {
        let prefix = mode.to_string();
        let storage = open(&S3Settings { prefix, ..locked(&server, "locked", mode) });
        storage.create().await.unwrap();
        let start = SystemTime::now();
        for kind in FileKind::ALL {
            storage.write(kind, &ID, content()).await.unwrap();
            let protection = storage.protection(kind, &ID).await.unwrap();
            if kind == FileKind::Lock {
                assert_eq!(protection, None);
                storage.remove(kind, &ID).await.unwrap();
                continue;
            }
            let Protection { until, .. } = protection.unwrap();
            assert_eq!(protection.unwrap().mode, mode, "{kind}");
            assert!(until >= start + 14 * DAY && until < start + 15 * DAY, "{kind}: {until:?}");
            let error = storage.remove(kind, &ID).await.unwrap_err();
            assert_eq!(
                (error.kind(), error.protected_until()),
                (ErrorKind::Protected, Some(until)),
                "{kind}"
            );
            assert_eq!(storage.read(kind, &ID).await.unwrap(), content());
            assert_eq!(storage.list(kind).await.unwrap().len(), 1, "{kind}");
        }
    }
}

#[tokio::test]
async fn a_protection_is_extended_and_never_shortened() {
    let server = Versitygw::start().await.unwrap();
    server.create_locked_bucket("locked").await.unwrap();
    let storage = open(&locked(&server, "locked", ProtectionMode::Compliance));
    storage.write(FileKind::Pack, &ID, content()).await.unwrap();
    let before = storage.protection(FileKind::Pack, &ID).await.unwrap().unwrap();
    let later = before.until + 10 * DAY;
    let extended = storage.extend_protection(FileKind::Pack, &ID, later).await.unwrap().unwrap();
    assert_eq!(extended, Protection { until: later, ..before });
    assert_eq!(storage.extend_protection(FileKind::Pack, &ID, before.until).await.unwrap(), Some(extended));
    let error = storage.remove(FileKind::Pack, &ID).await.unwrap_err();
    assert_eq!(error.protected_until(), Some(later));
    let missing = storage.extend_protection(FileKind::Pack, &FileId::new([8; 32]), later).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn writing_a_protected_file_again_is_success_and_protects_it_anew() {
    let server = Versitygw::start().await.unwrap();
    server.create_locked_bucket("locked").await.unwrap();
    let short = ProtectionPolicy { mode: ProtectionMode::Governance, window: DAY };
    let storage = open(&S3Settings { protection: Some(short), ..settings(&server, "locked") });
    storage.write(FileKind::Pack, &ID, content()).await.unwrap();
    let storage = open(&locked(&server, "locked", ProtectionMode::Governance));
    storage.write(FileKind::Pack, &ID, content()).await.unwrap();
    let protection = storage.protection(FileKind::Pack, &ID).await.unwrap().unwrap();
    assert!(protection.until > SystemTime::now() + 13 * DAY);
    let other = storage.write(FileKind::Pack, &ID, Bytes::from_static(b"other bytes")).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::AlreadyExists);
}

#[tokio::test]
async fn what_somebody_hides_behind_a_delete_marker_is_still_there() {
    let server = Versitygw::start().await.unwrap();
    server.create_locked_bucket("locked").await.unwrap();
    let storage = open(&locked(&server, "locked", ProtectionMode::Compliance));
    storage.write(FileKind::Snapshot, &ID, content()).await.unwrap();
    server.request("DELETE", &format!("locked/backup/one/snapshots/{ID}"), &[], "").await.unwrap();
    assert_eq!(storage.list(FileKind::Snapshot).await.unwrap().len(), 1);
    assert_eq!(storage.read(FileKind::Snapshot, &ID).await.unwrap(), content());
    assert_eq!(storage.read_range(FileKind::Snapshot, &ID, 5, 5).await.unwrap(), "bytes");
    assert_eq!(storage.size(FileKind::Snapshot, &ID).await.unwrap(), 10);
    assert!(storage.protection(FileKind::Snapshot, &ID).await.unwrap().is_some());
}

#[tokio::test]
async fn what_somebody_writes_over_a_protected_file_does_not_change_what_is_listed_and_read() {
    let server = Versitygw::start().await.unwrap();
    server.create_locked_bucket("locked").await.unwrap();
    let storage = open(&locked(&server, "locked", ProtectionMode::Compliance));
    storage.write(FileKind::Index, &ID, content()).await.unwrap();
    let protection = storage.protection(FileKind::Index, &ID).await.unwrap();
    server.request("PUT", &format!("locked/backup/one/index/{ID}"), &[], "something else").await.unwrap();
    assert_eq!(storage.list(FileKind::Index).await.unwrap()[0].size_bytes, 10);
    assert_eq!(storage.size(FileKind::Index, &ID).await.unwrap(), 10);
    assert_eq!(storage.protection(FileKind::Index, &ID).await.unwrap(), protection);
    let listed = open(&locked(&server, "locked", ProtectionMode::Compliance));
    listed.list(FileKind::Index).await.unwrap();
    let fresh = open(&locked(&server, "locked", ProtectionMode::Compliance));
    for storage in [storage, listed, fresh] {
        for _ in 0..2 {
            assert_eq!(storage.read(FileKind::Index, &ID).await.unwrap(), content());
            let part = storage.read_range(FileKind::Index, &ID, 2, 3).await.unwrap();
            assert_eq!(part, content().slice(2..5));
        }
        storage.write(FileKind::Index, &ID, content()).await.unwrap();
    }
}

#[tokio::test]
async fn a_bucket_without_object_lock_is_refused_where_protection_was_asked_for() {
    let server = Versitygw::start().await.unwrap();
    server.create_bucket("plain").await.unwrap();
    let storage = open(&locked(&server, "plain", ProtectionMode::Governance));
    assert_eq!(storage.create().await.unwrap_err().kind(), ErrorKind::ObjectLockMissing);
    let error = storage.write(FileKind::Pack, &ID, content()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ObjectLockMissing, "{error}");
    let again = storage.write(FileKind::Pack, &ID, content()).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::ObjectLockMissing, "whatever the first try has left: {again}");
    assert_eq!(storage.probe().await.unwrap_err().kind(), ErrorKind::ObjectLockMissing);
}

/// Every operation against a wrong place says so, and tells no secret.
async fn expect_everywhere(storage: &S3Storage, expected: ErrorKind) {
    let of_probe = storage.probe().await.unwrap_err();
    for error in refusals(storage).await.into_iter().chain([of_probe]) {
        assert_eq!(error.kind(), expected, "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn a_wrong_place_has_a_name_in_every_operation() {
    let server = Versitygw::start().await.unwrap();
    server.create_bucket("plain").await.unwrap();
    let good = settings(&server, "plain");
    let nowhere = S3Settings { endpoint: "http://127.0.0.1:1".into(), ..good.clone() };
    expect_everywhere(&open(&nowhere), ErrorKind::Unreachable).await;
    expect_everywhere(&open(&settings(&server, "absent")), ErrorKind::ContainerMissing).await;
    let stranger = S3Settings { access_key_id: "stranger".into(), ..good.clone() };
    expect_everywhere(&open(&stranger), ErrorKind::CredentialsWrong).await;
    let wrong = S3Settings { secret_access_key: Secret::new("wrong-secret"), ..good.clone() };
    expect_everywhere(&open(&wrong), ErrorKind::CredentialsWrong).await;
    let late = S3Settings { clock: || SystemTime::now() - Duration::from_hours(1), ..good };
    expect_everywhere(&open(&late), ErrorKind::ClockSkewed).await;
}

#[tokio::test]
async fn an_account_that_may_only_read_reads_and_is_refused_the_rest() {
    let server = Versitygw::start().await.unwrap();
    server.create_bucket("plain").await.unwrap();
    let actions = ["s3:GetObject", "s3:ListBucket"];
    server.create_account("reader", "plain", &actions).await.unwrap();
    open(&settings(&server, "plain")).write(FileKind::Pack, &ID, content()).await.unwrap();
    let reader = S3Settings {
        access_key_id: "reader".into(),
        secret_access_key: Secret::new("reader-secret"),
        ..settings(&server, "plain")
    };
    let storage = open(&reader);
    assert_eq!(storage.read(FileKind::Pack, &ID).await.unwrap(), content());
    assert_eq!(storage.list(FileKind::Pack).await.unwrap().len(), 1);
    let refusals = [
        storage.write(FileKind::Index, &ID, content()).await.unwrap_err(),
        storage.remove(FileKind::Pack, &ID).await.unwrap_err(),
        storage.probe().await.unwrap_err(),
    ];
    for error in refusals {
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert!(!error.is_temporary());
    }
}

#[tokio::test]
async fn a_certificate_is_trusted_by_its_authority_and_by_nothing_else() {
    let files = TlsFiles::generate().unwrap();
    let server = Versitygw::start_tls(&files).await.unwrap();
    server.create_bucket("plain").await.unwrap();
    let ca_pem = std::fs::read_to_string(files.ca_certificate()).unwrap();
    let trusting = S3Settings { ca_pem: Some(ca_pem), ..settings(&server, "plain") };
    open(&trusting).write(FileKind::Pack, &ID, content()).await.unwrap();
    let by_the_machine = settings(&server, "plain");
    expect_everywhere(&open(&by_the_machine), ErrorKind::CertificateUntrusted).await;
    let strangers = std::fs::read_to_string(TlsFiles::generate().unwrap().ca_certificate()).unwrap();
    let by_strangers = S3Settings { ca_pem: Some(strangers), ..by_the_machine };
    expect_everywhere(&open(&by_strangers), ErrorKind::CertificateUntrusted).await;
}

#[tokio::test]
async fn a_probe_tells_what_is_there_and_leaves_nothing_behind() {
    let server = Versitygw::start().await.unwrap();
    server.create_bucket("plain").await.unwrap();
    server.create_locked_bucket("locked").await.unwrap();
    let plain = open(&settings(&server, "plain"));
    let probe = plain.probe().await.unwrap();
    assert!(probe.is_empty && !probe.is_repository);
    assert!(probe.latency > Duration::ZERO && probe.latency < Duration::from_secs(20));
    assert!(probe.clock_skew_ms.unwrap().abs() < 5000);
    assert!(!probe.object_lock.unwrap().is_enabled);
    assert!(plain.probe().await.unwrap().is_empty, "the first probe has left nothing");

    plain.write(FileKind::Config, &FileId::CONFIG, content()).await.unwrap();
    let probe = plain.probe().await.unwrap();
    assert!(!probe.is_empty && probe.is_repository);

    let locked = open(&locked(&server, "locked", ProtectionMode::Compliance));
    assert!(locked.probe().await.unwrap().object_lock.unwrap().is_enabled);
    assert!(locked.probe().await.unwrap().is_empty, "a probe is not protected");
}

#[tokio::test]
async fn no_secret_is_in_what_is_printed() {
    let server = Versitygw::start().await.unwrap();
    let settings = settings(&server, "plain");
    let storage = open(&settings);
    for text in [format!("{settings:?}"), format!("{storage:?}"), storage.location()] {
        assert!(!text.contains(Versitygw::SECRET_ACCESS_KEY), "{text}");
    }
}
