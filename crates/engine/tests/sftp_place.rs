//! A repository in a folder of an SSH server, through the engine.

#![allow(clippy::unwrap_used, reason = "a server that cannot be started is a failed test")]

use sendense_engine::{Code, Repository, RepositoryLimits, RepositoryPlace, Secret, SftpPlace, probe_place};
use sendense_testkit::servers::Sshd;

fn place(server: &Sshd, host_key: String) -> RepositoryPlace {
    RepositoryPlace::Sftp(SftpPlace {
        host: "127.0.0.1".into(),
        port: server.port(),
        username: server.username().unwrap(),
        path: server.files().to_str().unwrap().into(),
        private_key: Secret::new(std::fs::read(server.private_key()).unwrap()),
        host_key,
    })
}

#[tokio::test]
async fn a_folder_of_a_server_is_tried_out_before_and_after_there_is_a_repository_in_it() {
    let server = Sshd::start().await.unwrap();
    let place = place(&server, server.host_key().unwrap());
    let before = probe_place(&place).await.unwrap();
    assert!(before.is_empty && !before.is_repository);
    assert!(before.capacity.is_some() && before.object_lock.is_none());
    let limits = RepositoryLimits::default();
    Repository::init(&place, &limits, &Secret::new("password")).await.unwrap();
    let after = probe_place(&place).await.unwrap();
    assert!(after.is_repository && !after.is_empty);
}

#[tokio::test]
async fn a_server_with_another_host_key_has_a_code_of_its_own() {
    let server = Sshd::start().await.unwrap();
    let wrong = probe_place(&place(&server, server.other_host_key().unwrap())).await.unwrap_err();
    assert_eq!(wrong.code(), Code::StorageHostKeyMismatch);
}
