//! Azure Blob Storage against Azurite: the promises, and what it is called when the place is wrong.

// Helpers of tests are tests: they stop at the first thing that is wrong.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use sendense_storage::{ErrorKind, FileId, FileKind, Secret, Storage};
use sendense_storage_remote::{AzureSettings, AzureStorage};
use sendense_testkit::servers::Azurite;
use sendense_testkit::storage::{refusals, suite};
use sendense_testkit::tls_files::TlsFiles;

const ID: FileId = FileId::new([7; 32]);

fn settings(server: &Azurite) -> AzureSettings {
    AzureSettings {
        endpoint: Some(server.endpoint()),
        account: Azurite::ACCOUNT.into(),
        account_key: Secret::new(Azurite::ACCOUNT_KEY),
        container: "backups".into(),
        prefix: "backup/one and two".into(),
        ca_pem: None,
        clock: SystemTime::now,
    }
}

fn open(settings: &AzureSettings) -> AzureStorage {
    AzureStorage::open(settings).unwrap()
}

fn content() -> Bytes {
    Bytes::from_static(b"some bytes")
}

#[tokio::test]
async fn a_container_keeps_the_promises() {
    let server = Azurite::start().await.unwrap();
    server.create_container("backups").await.unwrap();
    suite(Arc::new(open(&settings(&server)))).await;
    suite(Arc::new(open(&AzureSettings { prefix: String::new(), ..settings(&server) }))).await;
}

#[tokio::test]
async fn a_listing_of_several_pages_is_complete() {
    let server = Azurite::start().await.unwrap();
    server.create_container("backups").await.unwrap();
    let storage = open(&settings(&server));
    // A page of Azure has 5,000 entries at most.
    for round in 0_u8..21 {
        let writes = (0_u8..250).map(|number| {
            let mut id = [round; 32];
            id[0] = number;
            let storage = storage.clone();
            async move { storage.write(FileKind::Pack, &FileId::new(id), content()).await }
        });
        for written in futures::future::join_all(writes).await {
            written.unwrap();
        }
    }
    let listed = storage.list(FileKind::Pack).await.unwrap();
    assert_eq!(listed.len(), 21 * 250);
    assert!(listed.iter().all(|entry| entry.size_bytes == content().len() as u64));
}

/// Every operation against a wrong place says so, without what is of no use.
async fn expect_everywhere(settings: &AzureSettings, expected: ErrorKind) {
    let storage = open(settings);
    let of_probe = storage.probe().await.unwrap_err();
    for error in refusals(&storage).await.into_iter().chain([of_probe]) {
        assert_eq!(error.kind(), expected, "{error}");
        assert!(!error.to_string().contains("RequestId"), "{error}");
    }
}

#[tokio::test]
async fn a_wrong_place_has_a_name_in_every_operation() {
    let server = Azurite::start().await.unwrap();
    server.create_container("backups").await.unwrap();
    let good = settings(&server);
    let nowhere = AzureSettings { endpoint: Some("http://127.0.0.1:1/owner".into()), ..good.clone() };
    expect_everywhere(&nowhere, ErrorKind::Unreachable).await;
    let absent = AzureSettings { container: "absent".into(), ..good.clone() };
    expect_everywhere(&absent, ErrorKind::ContainerMissing).await;
    let elsewhere = server.endpoint().replace("owner", "stranger");
    let stranger = AzureSettings { endpoint: Some(elsewhere), account: "stranger".into(), ..good.clone() };
    expect_everywhere(&stranger, ErrorKind::ContainerMissing).await;
    let wrong = AzureSettings { account_key: Secret::new("c3RyYW5nZXI="), ..good.clone() };
    expect_everywhere(&wrong, ErrorKind::CredentialsWrong).await;
    // Azurite does not look at the clock; Azure answers in the same way to a wrong key and to a wrong clock.
    let late = AzureSettings { clock: || SystemTime::now() - Duration::from_hours(1), ..wrong };
    expect_everywhere(&late, ErrorKind::ClockSkewed).await;
}

#[tokio::test]
async fn a_certificate_is_trusted_by_its_authority_and_by_nothing_else() {
    let files = TlsFiles::generate().unwrap();
    let server = Azurite::start_tls(&files).await.unwrap();
    server.create_container("backups").await.unwrap();
    let ca_pem = std::fs::read_to_string(files.ca_certificate()).unwrap();
    let trusting = AzureSettings { ca_pem: Some(ca_pem), ..settings(&server) };
    open(&trusting).write(FileKind::Pack, &ID, content()).await.unwrap();
    expect_everywhere(&settings(&server), ErrorKind::CertificateUntrusted).await;
}

#[tokio::test]
async fn a_probe_tells_what_is_there_and_leaves_nothing_behind() {
    let server = Azurite::start().await.unwrap();
    server.create_container("backups").await.unwrap();
    let storage = open(&settings(&server));
    for _ in 0..2 {
        let probe = storage.probe().await.unwrap();
        assert!(probe.is_empty && !probe.is_repository);
        assert!(probe.latency > Duration::ZERO && probe.latency < Duration::from_secs(20));
        assert!(probe.clock_skew_ms.unwrap().abs() < 5000);
        assert_eq!(probe.object_lock, None);
    }
    storage.write(FileKind::Config, &FileId::CONFIG, content()).await.unwrap();
    let probe = storage.probe().await.unwrap();
    assert!(!probe.is_empty && probe.is_repository);
}

#[tokio::test]
async fn no_secret_is_in_what_is_printed() {
    let server = Azurite::start().await.unwrap();
    let settings = settings(&server);
    let storage = open(&settings);
    for text in [format!("{settings:?}"), format!("{storage:?}"), storage.location()] {
        assert!(!text.contains(Azurite::ACCOUNT_KEY) && !text.contains("owner-key"), "{text}");
    }
}

#[test]
fn without_an_address_the_account_has_that_of_azure() {
    let settings = AzureSettings {
        endpoint: None,
        account: "mine".into(),
        account_key: Secret::new("a2V5"),
        container: "backups".into(),
        prefix: String::new(),
        ca_pem: None,
        clock: SystemTime::now,
    };
    assert_eq!(open(&settings).location(), "azure:https://mine.blob.core.windows.net/backups/");
}
