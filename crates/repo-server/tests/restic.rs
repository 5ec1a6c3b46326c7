//! Stock restic and the program.

#![allow(clippy::unwrap_used, reason = "what cannot be prepared is a failed test")]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use support::{
    DAY, InProcess, KEEPER, Program, Restic, Unusual, WRITER, content_of, name_of, noise, send, try_send,
};

fn back_up(restic: &Restic, folder: &Path, seed: u64) {
    std::fs::write(folder.join("disk.raw"), noise(seed, 3 << 20)).unwrap();
    restic.run(&["backup", folder.to_str().unwrap()]);
}

fn restored(restic: &Restic, snapshot: &str, folder: &Path) -> Vec<u8> {
    let target = tempfile::tempdir().unwrap();
    restic.run(&["restore", snapshot, "--target", target.path().to_str().unwrap()]);
    std::fs::read(target.path().join(folder.strip_prefix("/").unwrap()).join("disk.raw")).unwrap()
}

#[test]
fn restic_backs_up_checks_and_restores_and_the_server_stops_when_it_is_asked() {
    let server = Program::start();
    let restic = Restic::new(server.address, WRITER);
    let folder = tempfile::tempdir().unwrap();
    restic.run(&["init"]);
    back_up(&restic, folder.path(), 1);
    back_up(&restic, folder.path(), 2);
    restic.check();
    assert_eq!(restic.snapshots().len(), 2);
    assert_eq!(restored(&restic, "latest", folder.path()), noise(2, 3 << 20));
    assert!(server.terminate().success());
}

#[test]
fn forget_and_prune_with_the_credential_of_a_writer_lose_nothing() {
    let server = Program::start();
    let restic = Restic::new(server.address, WRITER);
    let folder = tempfile::tempdir().unwrap();
    restic.run(&["init"]);
    back_up(&restic, folder.path(), 1);
    back_up(&restic, folder.path(), 2);
    let before = content_of(&server.vault());
    restic.run_in_vain(&["forget", "--keep-last", "1", "--prune"]);
    restic.run(&["unlock", "--remove-all"]);
    let after = content_of(&server.vault());
    for (path, content) in &before {
        assert_eq!(after.get(path), Some(content), "{}", path.display());
    }
    restic.check();
    assert_eq!(restic.snapshots().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_keeper_prunes_after_the_window_and_not_before() {
    let server = InProcess::start(Unusual::default()).await;
    let (address, clock) = (server.server.address(), Arc::clone(&server.clock));
    let work = move || {
        let (restic, folder) = (Restic::new(address, KEEPER), tempfile::tempdir().unwrap());
        restic.run(&["init"]);
        back_up(&restic, folder.path(), 1);
        back_up(&restic, folder.path(), 2);
        restic.run_in_vain(&["forget", "--keep-last", "1", "--prune"]);
        restic.run(&["unlock", "--remove-all"]);
        assert_eq!(restic.snapshots().len(), 2);
        restic.check();
        clock.pass(31 * DAY);
        restic.run(&["forget", "--keep-last", "1", "--prune"]);
        assert_eq!(restic.snapshots().len(), 1);
        restic.check();
        assert_eq!(restored(&restic, "latest", folder.path()), noise(2, 3 << 20));
    };
    tokio::task::spawn_blocking(work).await.unwrap();
    let log = server.log.lock().unwrap().join("\n");
    assert!(log.contains("refused: protected: The file is protected until 20"), "{log}");
    assert!(log.contains("removed \"/vault/snapshots/"), "{log}");
}

#[test]
fn a_server_that_is_killed_in_the_middle_of_uploads_lists_only_whole_files() {
    let mut home = Program::start().kill();
    for round in 0..4_u64 {
        let server = Program::start_in(Arc::clone(&home));
        let address = server.address;
        assert_eq!(send(address, WRITER, "POST /vault/?create=true", &[], b"").status, 200);
        let (stop, confirmations) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let uploaders: Vec<_> = (0..4_u64)
            .map(|uploader| {
                let (stop, confirmations) = (Arc::clone(&stop), Arc::clone(&confirmations));
                let seed = round * 1000 + uploader * 100;
                std::thread::spawn(move || upload_until(&stop, address, seed, &confirmations))
            })
            .collect();
        let deadline = Instant::now() + Duration::from_mins(1);
        while confirmations.load(Ordering::Relaxed) == 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_millis(170 * round));
        home = server.kill();
        stop.store(true, Ordering::Relaxed);
        let confirmed: Vec<String> =
            uploaders.into_iter().flat_map(|uploader| uploader.join().unwrap()).collect();
        assert!(!confirmed.is_empty(), "the server died before it had taken anything");

        let server = Program::start_in(Arc::clone(&home));
        let listed = send(server.address, WRITER, "GET /vault/data/", &[], b"").json();
        let listed: Vec<_> = listed.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        for name in &listed {
            let answer = send(server.address, WRITER, &format!("GET /vault/data/{name}"), &[], b"");
            assert_eq!(name_of(&answer.body), *name);
        }
        for name in confirmed {
            assert!(listed.contains(&name.as_str()), "{name} was confirmed and is gone");
            let refused = send(server.address, KEEPER, &format!("DELETE /vault/data/{name}"), &[], b"");
            assert_eq!((refused.status, refused.code().as_str()), (409, "protected"));
        }
        home = server.kill();
    }
}

/// Uploads one file after the other; the names of those that the server has confirmed, which are counted.
fn upload_until(
    stop: &AtomicBool,
    address: std::net::SocketAddr,
    seed: u64,
    confirmations: &AtomicU64,
) -> Vec<String> {
    let mut confirmed = Vec::new();
    for number in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let content = noise(seed + number, 1 << 20);
        let name = name_of(&content);
        let request = format!("POST /vault/data/{name}");
        // Without an answer the server is gone.
        let Some(answer) = try_send(address, WRITER, &request, &[], &content) else { break };
        assert_eq!(answer.status, 200);
        confirmed.push(name);
        confirmations.fetch_add(1, Ordering::Relaxed);
    }
    confirmed
}
