//! Where the private key lies, and how long. Alone in its process, because it looks at what the process has.

#![allow(clippy::unwrap_used, reason = "what fails while a test is prepared is a failed test")]

use std::fs;

use sendense_storage::{ErrorKind, FileKind, Secret, Storage};
use sendense_storage_sftp::{SftpOptions, SftpStorage};
use sendense_testkit::servers::Sshd;
use tokio::net::TcpListener;

/// The folders with keys of this process.
fn key_folders() -> usize {
    let prefix = format!("sendense-sftp-{}-", std::process::id());
    let entries = fs::read_dir(std::env::temp_dir()).unwrap();
    entries.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(&prefix)).count()
}

#[tokio::test]
async fn the_key_lies_in_a_file_only_while_ssh_connects() {
    let server = Sshd::start().await.unwrap();
    let private_key = Secret::new(fs::read(server.private_key()).unwrap());
    let folder = server.files().join("place");
    let options = SftpOptions {
        host: "127.0.0.1",
        port: server.port(),
        username: &server.username().unwrap(),
        path: folder.to_str().unwrap(),
        private_key: &private_key,
        host_key: &server.host_key().unwrap(),
    };
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut opening = Box::pin(SftpStorage::open(SftpOptions { port, ..options.clone() }));
    tokio::select! {
        opened = &mut opening => panic!("a server that says nothing is none: {opened:?}"),
        accepted = silent.accept() => drop(accepted.unwrap()),
    }
    assert_eq!(key_folders(), 1, "while it connects");
    drop(opening);
    assert_eq!(key_folders(), 0, "when it is given up");

    let storage = SftpStorage::open(options.clone()).await.unwrap();
    assert_eq!(key_folders(), 0, "while it is connected");
    storage.create().await.unwrap();

    assert!(server.cut_connections() > 0);
    let mut listed = storage.list(FileKind::Pack).await;
    while listed.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unreachable) {
        listed = storage.list(FileKind::Pack).await;
    }
    assert_eq!(listed.unwrap(), [], "it connects again");
    assert_eq!(key_folders(), 0, "after it has connected again");

    let wrong_key = Secret::new("no key");
    let refused = SftpStorage::open(SftpOptions { private_key: &wrong_key, ..options }).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::CredentialsWrong);
    assert_eq!(key_folders(), 0, "after it was refused");
}
