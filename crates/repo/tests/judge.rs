//! Stock restic judges what we write, and we read what it writes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test stops at the first surprise")]

mod support;

use std::fs;
use std::sync::Arc;

use sendense_repo::{Error, Repository, SnapshotId};
use sendense_storage::{LocalStorage, Storage};
use support::restic::Restic;
use support::*;

async fn local(directory: &tempfile::TempDir) -> Arc<dyn Storage> {
    Arc::new(LocalStorage::open(directory.path().join("repository")).await.unwrap())
}

fn restic_at(directory: &tempfile::TempDir) -> Restic {
    Restic::new(&directory.path().join("repository"))
}

#[tokio::test]
async fn restic_accepts_and_restores_what_we_wrote() {
    let directory = tempfile::tempdir().unwrap();
    let repository = a_repository(local(&directory).await).await;
    let disks = [a_disk(1, 5 << 20), a_disk(2, (1 << 20) + 512)];
    let files = [("disk-2000.raw", disks[0].as_slice()), ("disk-2001.raw", disks[1].as_slice())];
    let (point, added) = capture(&repository, &files).await.unwrap();
    assert!(added > 50);

    let restic = restic_at(&directory);
    restic.check();
    let snapshots = restic.json(&["snapshots"]);
    assert_eq!(snapshots[0]["id"], point.to_string());
    assert_eq!(snapshots[0]["hostname"], "web-1");
    assert_eq!(snapshots[0]["paths"], serde_json::json!(["/vm-17"]));
    assert_eq!(snapshots[0]["tags"], serde_json::json!(["daily"]));
    assert_eq!(snapshots.as_array().unwrap().len(), 1);
    for (name, disk) in files {
        assert!(restic.run(&["dump", "latest", &format!("/vm-17/{name}")]) == disk, "{name}");
    }
    let listing = String::from_utf8(restic.run(&["ls", "latest"])).unwrap();
    assert!(listing.contains("/vm-17/disk-2000.raw\n") && listing.contains("/vm-17/vm.json\n"), "{listing}");

    let target = directory.path().join("restored");
    restic.run(&["restore", "latest", "--target", target.to_str().unwrap()]);
    for (name, disk) in files {
        assert!(fs::read(target.join(DIRECTORY).join(name)).unwrap() == disk, "{name}");
    }
    assert_eq!(fs::read(target.join(DIRECTORY).join("vm.json")).unwrap(), b"{\"name\":\"web-1\"}");
    assert_eq!(repository.id(), restic.json(&["cat", "config"])["id"]);
}

#[tokio::test]
async fn restic_reads_and_restores_awkward_names() {
    let directory = tempfile::tempdir().unwrap();
    let repository = a_repository(local(&directory).await).await;
    let names =
        ["[datastore] \"quoted\".raw", "back\\slash.raw", "Ümläut-日本.raw", "tab\there.raw", "<&>.raw"];
    let disk = a_disk(3, CHUNK_BYTES * 2);
    let files: Vec<_> = names.iter().map(|name| (*name, disk.as_slice())).collect();
    let (point, _) = capture(&repository, &files).await.unwrap();
    let restic = restic_at(&directory);
    restic.check();
    let target = directory.path().join("restored");
    restic.run(&["restore", "latest", "--target", target.to_str().unwrap()]);
    for name in names {
        assert!(fs::read(target.join(DIRECTORY).join(name)).unwrap() == disk, "{name}");
        assert!(
            read_file(&repository, &point, &format!("/{DIRECTORY}/{name}")).await.unwrap() == disk,
            "{name}"
        );
    }
}

#[tokio::test]
async fn we_go_on_after_restic_has_forgotten_and_pruned() {
    let directory = tempfile::tempdir().unwrap();
    let repository = a_repository(local(&directory).await).await;
    let (first, second) = (a_disk(1, 3 << 20), a_disk(2, 3 << 20));
    let (old, _) = capture(&repository, &[("disk-2000.raw", &first)]).await.unwrap();
    let (new, _) = capture(&repository, &[("disk-2000.raw", &second)]).await.unwrap();
    let restic = restic_at(&directory);
    restic.run(&["forget", "--prune", &old.to_string()]);
    restic.check();

    // The one that was open meanwhile, and one that opens now.
    for repository in [repository, reopen(local(&directory).await).await] {
        let points = repository.restore_points().await.unwrap();
        assert_eq!(points.iter().map(|point| point.id).collect::<Vec<_>>(), [new]);
        repository.refresh_index().await.unwrap();
        assert!(read_file(&repository, &new, "/vm-17/disk-2000.raw").await.unwrap() == second);
        // What was pruned is captured again, and the rest is not.
        let (again, added) = capture(&repository, &[("disk-2000.raw", &first)]).await.unwrap();
        assert!(added > 0, "restic has removed chunks");
        assert!(read_file(&repository, &again, "/vm-17/disk-2000.raw").await.unwrap() == first);
        restic.check();
        restic.run(&["forget", "--prune", &again.to_string()]);
    }
}

/// Lets restic make a repository with one backup of `tree/`, and returns what it holds.
fn backup_by_restic(directory: &tempfile::TempDir, options: &[&str]) -> (Restic, Vec<u8>) {
    let tree = directory.path().join("tree");
    fs::create_dir_all(tree.join("sub \"dir\"")).unwrap();
    let large = a_disk(9, 6 << 20);
    fs::write(tree.join("large.bin"), &large).unwrap();
    fs::write(tree.join("sub \"dir\"/small\\file.txt"), "small").unwrap();
    fs::write(tree.join("empty"), "").unwrap();
    std::os::unix::fs::symlink("large.bin", tree.join("link")).unwrap();
    let restic = restic_at(directory);
    restic.run(&["init", "--repository-version", "2"]);
    restic.run(
        &[&["backup", tree.to_str().unwrap(), "--host", "elsewhere", "--tag", "by-restic"], options].concat(),
    );
    (restic, large)
}

#[tokio::test]
async fn we_read_what_restic_wrote_in_every_compression_mode() {
    for mode in ["auto", "off", "max"] {
        let directory = tempfile::tempdir().unwrap();
        let (restic, large) = backup_by_restic(&directory, &["--compression", mode]);
        let repository = Repository::open(local(&directory).await, &password()).await.unwrap();
        let points = repository.restore_points().await.unwrap();
        assert_eq!(points.len(), 1, "{mode}");
        assert_eq!(
            (points[0].hostname.as_str(), points[0].tags.as_slice()),
            ("elsewhere", &["by-restic".to_owned()][..])
        );
        let tree = directory.path().join("tree").to_str().unwrap().to_owned();
        assert_eq!(points[0].paths, std::slice::from_ref(&tree));
        let point = points[0].id;
        assert!(
            read_file(&repository, &point, &format!("{tree}/large.bin")).await.unwrap() == large,
            "{mode}"
        );
        let small =
            repository.load_file(&point, &format!("{tree}/sub \"dir\"/small\\file.txt")).await.unwrap();
        assert_eq!(small, "small");
        assert_eq!(repository.load_file(&point, &format!("{tree}/empty")).await.unwrap(), "");
        let mut paths: Vec<_> =
            repository.files(&point).await.unwrap().into_iter().map(|file| file.path).collect();
        paths.sort();
        assert_eq!(paths.len(), 3, "{paths:?}");

        // And write beside it.
        let disk = a_disk(4, 2 << 20);
        let (ours, _) = capture(&repository, &[("disk-2000.raw", &disk)]).await.unwrap();
        restic.check();
        assert!(restic.run(&["dump", &ours.to_string(), "/vm-17/disk-2000.raw"]) == disk);
    }
}

#[tokio::test]
async fn a_repository_of_version_1_is_refused_clearly() {
    let directory = tempfile::tempdir().unwrap();
    restic_at(&directory).run(&["init", "--repository-version", "1"]);
    let result = Repository::open(local(&directory).await, &password()).await;
    assert!(matches!(result, Err(Error::UnsupportedVersion { version: 1 })), "{result:?}");
}

#[tokio::test]
async fn keys_that_restic_added_open_the_repository() {
    let directory = tempfile::tempdir().unwrap();
    let repository = a_repository(local(&directory).await).await;
    let second = directory.path().join("second-password");
    fs::write(&second, "another password").unwrap();
    restic_at(&directory).run(&["key", "add", "--new-password-file", second.to_str().unwrap()]);
    for secret in [password(), sendense_repo::Secret::new("another password")] {
        let opened = Repository::open(local(&directory).await, &secret).await.unwrap();
        assert_eq!(opened.id(), repository.id());
    }
}

#[tokio::test]
async fn restic_does_not_prune_while_we_write() {
    let directory = tempfile::tempdir().unwrap();
    let repository = a_repository(local(&directory).await).await;
    let writer = repository.writer(quick_writer()).await.unwrap();
    let restic = restic_at(&directory);
    let refused = restic.try_run(&["prune"]);
    assert!(!refused.status.success());
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(words.contains("already locked"), "{words}");
    // Reading is allowed meanwhile.
    restic.run(&["snapshots"]);
    writer.abort().await.unwrap();
    restic.run(&["prune"]);
}

#[tokio::test]
async fn a_default_repository_has_a_key_as_strong_as_restics() {
    let directory = tempfile::tempdir().unwrap();
    let repository =
        Repository::init(local(&directory).await, &password(), sendense_repo::InitOptions::default())
            .await
            .unwrap();
    let restic = restic_at(&directory);
    restic.check();
    assert_eq!(repository.restore_points().await.unwrap().len(), 0);
    let keys = fs::read_dir(directory.path().join("repository/keys")).unwrap();
    for key in keys {
        let key: serde_json::Value = serde_json::from_slice(&fs::read(key.unwrap().path()).unwrap()).unwrap();
        assert!(key["N"].as_u64().unwrap() >= 32768 && key["r"] == 8, "{key}");
    }
}

#[tokio::test]
async fn a_restore_point_that_was_forgotten_is_gone_for_restic_too() {
    let directory = tempfile::tempdir().unwrap();
    let repository = a_repository(local(&directory).await).await;
    let (point, _) = capture(&repository, &[("disk-2000.raw", &a_disk(1, 1 << 20))]).await.unwrap();
    repository.forget(&point).await.unwrap();
    assert!(matches!(repository.forget(&point).await, Err(Error::RestorePointMissing { .. })));
    assert_eq!(restic_at(&directory).json(&["snapshots"]), serde_json::Value::Array(vec![]));
    let unknown = SnapshotId::of(b"unknown");
    assert!(matches!(repository.load_file(&unknown, "/x").await, Err(Error::RestorePointMissing { .. })));
}
