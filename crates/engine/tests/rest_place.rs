//! A repository on our own repository server, through the engine.

#![allow(clippy::unwrap_used, reason = "a server that cannot be started is a failed test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sendense_engine::{Code, RepositoryLimits, RepositoryPlace, RestPlace, Secret, probe_place};
use sendense_repo_server::{Credential, GuardRules, RepositoryOptions, Role, Server, ServerOptions};

const WINDOW: Duration = Duration::from_hours(30 * 24);
const PASSWORD: &str = "the writer's own password";

async fn a_server(folder: &Path) -> Server {
    let writer = Credential::new(Role::Writer, vec!["vault".into()], PASSWORD).unwrap();
    let credentials = BTreeMap::from([("hub".to_owned(), writer)]).into_iter().collect();
    let mut options = ServerOptions::new("127.0.0.1:0".parse().unwrap(), credentials, Arc::new(|_: &str| ()));
    let rules = GuardRules { window: WINDOW, protection_max: 4 * WINDOW };
    let repository = RepositoryOptions { folder: folder.into(), rules, checks_names: true };
    options.repositories.insert("vault".into(), repository);
    Server::start(options).await.unwrap()
}

fn place(server: &Server, password: &str) -> RepositoryPlace {
    RepositoryPlace::Rest(RestPlace {
        url: format!("http://{}/vault/", server.address()),
        username: "hub".into(),
        password: Secret::new(password),
        certificate_sha256: None,
    })
}

#[tokio::test]
async fn a_repository_server_is_tried_out_before_and_after_there_is_a_repository_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = a_server(folder.path()).await;
    let place = place(&server, PASSWORD);
    let before = probe_place(&place).await.unwrap();
    assert!(before.is_empty && !before.is_repository);
    let lock = before.object_lock.unwrap();
    assert!(lock.is_enabled && lock.default.is_some_and(|(_, window)| window == WINDOW));
    assert!(before.clock_skew_ms.is_some_and(|skew| skew.abs() < 60_000));

    let secret = Secret::new("password");
    let repository =
        sendense_engine::Repository::init(&place, &RepositoryLimits::default(), &secret).await.unwrap();
    let after = probe_place(&place).await.unwrap();
    assert!(after.is_repository && !after.is_empty);
    assert_eq!(repository.locks().await.unwrap().len(), 0, "the test of the place has left something");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_takes_connections_and_says_nothing_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let place = RepositoryPlace::Rest(RestPlace {
        url: format!("http://{}/vault/", silent.local_addr().unwrap()),
        username: "hub".into(),
        password: Secret::new(PASSWORD),
        certificate_sha256: None,
    });
    let probed = probe_place(&place).await.unwrap_err();
    assert!(probed.full_text().contains("no answer within"), "{}", probed.full_text());
    let (limits, secret) = (RepositoryLimits::default(), Secret::new("password"));
    let opened = sendense_engine::Repository::open(&place, &limits, &secret).await.err().unwrap();
    assert_eq!(opened.code(), Code::RepositoryUnavailable);
    assert!(opened.full_text().contains("no answer within"), "{}", opened.full_text());
}

#[tokio::test]
async fn a_wrong_password_and_a_server_that_is_not_there_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let server = a_server(folder.path()).await;
    let wrong = probe_place(&place(&server, "another")).await.unwrap_err();
    assert_eq!(wrong.code(), Code::StorageCredentialsWrong);
    let absent = place(&server, PASSWORD);
    server.stop().await;
    assert_eq!(probe_place(&absent).await.unwrap_err().code(), Code::StorageUnreachable);
}
