//! Stock restic opens the same folder with its own backend, and judges what lies there.

// Helpers of tests are tests: they stop at the first thing that is wrong.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::sync::Arc;
use std::time::SystemTime;

use sendense_repo::{InitOptions, NewFile, NewRestorePoint, Repository, WriterOptions};
use sendense_storage::{Secret, Storage};
use sendense_storage_sftp::{SftpOptions, SftpStorage};
use sendense_testkit::servers::Sshd;
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

#[tokio::test]
async fn restic_opens_a_folder_of_a_server() {
    let server = Sshd::start().await.unwrap();
    let (username, port) = (server.username().unwrap(), server.port());
    let path = server.files().join("one");
    let private_key = server.private_key();
    let options = SftpOptions {
        host: "127.0.0.1",
        port,
        username: &username,
        path: path.to_str().unwrap(),
        private_key: &Secret::new(fs::read(&private_key).unwrap()),
        host_key: &server.host_key().unwrap(),
    };
    make_repository(Arc::new(SftpStorage::open(options).await.unwrap())).await;

    let folder = tempfile::tempdir().unwrap();
    let known_hosts = folder.path().join("known_hosts");
    fs::write(&known_hosts, format!("[127.0.0.1]:{port} {}", server.host_key().unwrap())).unwrap();
    // The key of the test belongs to the server; ssh wants one that is only ours.
    let own_key = folder.path().join("key");
    fs::copy(&private_key, &own_key).unwrap();
    let ssh = format!(
        "sftp.command=ssh -F /dev/null -o BatchMode=yes -o UserKnownHostsFile={} -o IdentitiesOnly=yes -i {} -l \
         {username} -p {port} -s 127.0.0.1 sftp",
        known_hosts.display(),
        own_key.display()
    );
    let repository = format!("sftp:{username}@127.0.0.1:{}", path.display());
    for (arguments, expected) in [
        (&["check", "--read-data"][..], "no errors were found"),
        (&["dump", "latest", "/vm-17/vm.json"], "{}"),
    ] {
        let mut command = Command::new("restic");
        command.args(["-o", &ssh, "-r", &repository]).args(arguments);
        command.env("RESTIC_PASSWORD", PASSWORD).env("RESTIC_CACHE_DIR", folder.path().join("cache"));
        let done = command.kill_on_drop(true).output().await;
        let done = done.expect("this test needs restic (Debian package `restic`)");
        let words = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (said, errors) = (words(&done.stdout), words(&done.stderr));
        assert!(done.status.success() && said.contains(expected), "{arguments:?}: {said}{errors}");
    }
}
