//! Stock restic opens the same places with backends of its own, and judges what lies there.

// Helpers of tests are tests: they stop at the first thing that is wrong.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sendense_repo::{InitOptions, NewFile, NewRestorePoint, Repository, WriterOptions};
use sendense_storage::{ProtectionMode, ProtectionPolicy, Secret, Storage};
use sendense_storage_remote::{AzureSettings, AzureStorage, S3Settings, S3Storage};
use sendense_testkit::servers::{Azurite, Versitygw};
use sendense_testkit::tls_files::TlsFiles;
use tokio::process::Command;

const PASSWORD: &str = "password";

/// Makes a repository with one restore point of one text file.
async fn make_repository(storage: Arc<dyn Storage>) {
    let repository = Repository::init(storage, &Secret::new(PASSWORD), InitOptions::default()).await.unwrap();
    let writer = repository.writer(WriterOptions::default()).await.unwrap();
    let chunk = writer.add_plain("{}".into()).await.unwrap();
    let now = SystemTime::now();
    let point = NewRestorePoint {
        time: now,
        hostname: "web-1".into(),
        username: "sendense".into(),
        directory: "vm-17".into(),
        tags: vec![],
        parent: None,
        files: vec![NewFile { name: "vm.json".into(), size_bytes: 2, content: vec![chunk], mtime: now }],
    };
    writer.commit(point).await.unwrap();
}

/// Runs a restic, given with its options, with these settings; it must succeed.
async fn restic(restic: &[&str], settings: &[(&str, &str)], arguments: &[&str]) -> String {
    let cache = tempfile::tempdir().unwrap();
    let mut command = Command::new(restic[0]);
    command.args(&restic[1..]).args(arguments).envs(settings.iter().copied());
    command.env("RESTIC_PASSWORD", PASSWORD).env("RESTIC_CACHE_DIR", cache.path());
    let done =
        command.kill_on_drop(true).output().await.expect("infra/bootstrap.sh --checks installs both restics");
    let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        done.status.success(),
        "{restic:?} {arguments:?}: {}{}",
        words(&done.stdout),
        words(&done.stderr)
    );
    words(&done.stdout)
}

async fn judge(program: &[&str], settings: &[(&str, &str)]) {
    let report = restic(program, settings, &["check", "--read-data"]).await;
    assert!(report.contains("no errors were found"), "{report}");
    assert_eq!(restic(program, settings, &["dump", "latest", "/vm-17/vm.json"]).await, "{}");
}

#[tokio::test]
async fn restic_opens_a_bucket() {
    let server = Versitygw::start().await.unwrap();
    server.create_bucket("plain").await.unwrap();
    server.create_locked_bucket("locked").await.unwrap();
    let policy = ProtectionPolicy { mode: ProtectionMode::Governance, window: Duration::from_hours(24) };
    for (bucket, protection) in [("plain", None), ("locked", Some(policy))] {
        let settings = S3Settings {
            endpoint: server.endpoint(),
            region: Versitygw::REGION.into(),
            bucket: bucket.into(),
            prefix: "backup/one".into(),
            access_key_id: Versitygw::ACCESS_KEY_ID.into(),
            secret_access_key: Secret::new(Versitygw::SECRET_ACCESS_KEY),
            virtual_hosted: false,
            ca_pem: None,
            protection,
            clock: SystemTime::now,
        };
        make_repository(Arc::new(S3Storage::open(&settings).unwrap())).await;
        judge(
            &["restic"],
            &[
                ("RESTIC_REPOSITORY", &format!("s3:{}/{bucket}/backup/one", server.endpoint())),
                ("AWS_ACCESS_KEY_ID", Versitygw::ACCESS_KEY_ID),
                ("AWS_SECRET_ACCESS_KEY", Versitygw::SECRET_ACCESS_KEY),
            ],
        )
        .await;
    }
}

/// restic makes up the host from the account, so it comes through a proxy that knows where that is. That of Debian 12
/// knows no other suffix than that of Azure, and the current one cannot lock here: Azurite refuses its empty access tier.
#[tokio::test]
async fn restic_opens_a_container() {
    let files = TlsFiles::generate().unwrap();
    let server = Azurite::start_tls(&files).await.unwrap();
    let proxy = server.proxy().await.unwrap();
    server.create_container("backups").await.unwrap();
    let ca_file = files.ca_certificate();
    let settings = AzureSettings {
        endpoint: Some(server.endpoint()),
        account: Azurite::ACCOUNT.into(),
        account_key: Secret::new(Azurite::ACCOUNT_KEY),
        container: "backups".into(),
        prefix: "backup/one".into(),
        ca_pem: Some(std::fs::read_to_string(&ca_file).unwrap()),
        clock: SystemTime::now,
    };
    make_repository(Arc::new(AzureStorage::open(&settings).unwrap())).await;
    judge(
        &["restic-current", "--no-lock"],
        &[
            ("RESTIC_REPOSITORY", "azure:backups:/backup/one"),
            ("RESTIC_CACERT", ca_file.to_str().unwrap()),
            ("AZURE_ACCOUNT_NAME", Azurite::ACCOUNT),
            ("AZURE_ACCOUNT_KEY", Azurite::ACCOUNT_KEY),
            ("AZURE_ENDPOINT_SUFFIX", "test.example"),
            ("HTTPS_PROXY", &proxy.url()),
        ],
    )
    .await;
}
