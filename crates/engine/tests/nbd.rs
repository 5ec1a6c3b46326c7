//! Captures from real NBD servers, which are slow, fail and die.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what fails while a test is prepared is a failed test"
)]

mod lab;

use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lab::{CHUNK, CHUNK_LEN, Lab, commit_options, noise};
use sendense_engine::{
    Areas, CaptureCounters, CaptureOptions, CaptureReport, CaptureSession, Code, NbdExport, Result,
};
use sendense_testkit::nbd_server::NbdServer;
use tokio_util::sync::CancellationToken;

const SIZE: u64 = 40 * CHUNK + 512;

/// A raw image with data in chunks 3 to 12 and in the last one, and holes elsewhere.
fn image(lab: &Lab) -> PathBuf {
    let path = lab.folder.path().join("disk.raw");
    let file = std::fs::File::create_new(&path).unwrap();
    file.set_len(SIZE).unwrap();
    file.write_all_at(&noise(1, 10 * CHUNK_LEN), 3 * CHUNK).unwrap();
    file.write_all_at(&noise(2, 512), SIZE - 512).unwrap();
    path
}

async fn nbdkit(image: &std::path::Path, filters: &[&str], parameters: &[&str]) -> NbdServer {
    let mut arguments: Vec<_> = filters.iter().map(|filter| format!("--filter={filter}")).collect();
    arguments.extend(["--readonly".into(), "file".into(), image.display().to_string()]);
    arguments.extend(parameters.iter().map(|parameter| (*parameter).to_owned()));
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    NbdServer::nbdkit(&arguments).await.expect("nbdkit must be installed for this test")
}

async fn begin(lab: &Lab) -> (CaptureSession, CaptureOptions) {
    let session = lab.begin().await;
    session.begin_disk("2000", SIZE, None).await.unwrap();
    let options = lab.options(&session, "2000", Areas::Whole);
    (session, options)
}

async fn capture(server: &NbdServer, options: &CaptureOptions) -> Result<CaptureReport> {
    let export = NbdExport { socket_path: server.socket(), export_name: String::new(), connections: 3 };
    export.capture(options, Arc::new(CaptureCounters::default()), &CancellationToken::new()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_with_holes_comes_back_and_the_holes_are_not_read() {
    let lab = Lab::new().await;
    let image = image(&lab);
    let server = nbdkit(&image, &[], &[]).await;
    let (session, options) = begin(&lab).await;
    let progress = capture(&server, &options).await.unwrap().progress;
    assert!(progress.read_bytes <= 12 * CHUNK, "{progress:?}");
    assert_eq!(progress.new_bytes, 10 * CHUNK + 512);
    let point = session.commit(commit_options()).await.unwrap();
    assert!(lab.restore(&point, "2000").await == std::fs::read(&image).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_read_fails_the_capture_with_its_code() {
    let lab = Lab::new().await;
    let image = image(&lab);
    let server = nbdkit(&image, &["error"], &["error-pread=EIO", "error-pread-rate=100%"]).await;
    let (_session, options) = begin(&lab).await;
    let error = capture(&server, &options).await.unwrap_err();
    assert_eq!(error.code(), Code::DiskReadFailed);
    assert!(error.full_text().contains("EIO"), "{}", error.full_text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_a_disk_that_cannot_be_opened() {
    let lab = Lab::new().await;
    let (_session, options) = begin(&lab).await;
    let socket_path = lab.folder.path().join("absent.sock");
    let export = NbdExport { socket_path, export_name: String::new(), connections: 1 };
    let error = export.capture(&options, Arc::default(), &CancellationToken::new()).await.unwrap_err();
    assert_eq!(error.code(), Code::DiskOpenFailed);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_death_of_its_server_a_capture_goes_on_with_what_is_missing() {
    let lab = Lab::new().await;
    let image = image(&lab);
    let mut server = nbdkit(&image, &["noparallel", "delay"], &["rdelay=60ms"]).await;
    let (session, options) = begin(&lab).await;
    let export = NbdExport { socket_path: server.socket(), export_name: String::new(), connections: 1 };
    let dying = async {
        tokio::time::sleep(Duration::from_millis(250)).await;
        server.kill().await.unwrap();
    };
    let never = CancellationToken::new();
    let (first, ()) = tokio::join!(export.capture(&options, Arc::default(), &never), dying);
    assert_eq!(first.unwrap_err().code(), Code::DiskReadFailed);
    let stored = session.counters()[0].new_bytes;

    let server = nbdkit(&image, &[], &[]).await;
    let report = capture(&server, &options).await.unwrap();
    assert!(stored > 0, "the server died too early for this test");
    assert!(report.progress.new_bytes + stored <= 10 * CHUNK + 512);
    let point = session.commit(commit_options()).await.unwrap();
    assert!(lab.restore(&point, "2000").await == std::fs::read(&image).unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capture_of_a_disk_that_does_not_answer_can_be_cancelled() {
    let lab = Lab::new().await;
    let image = image(&lab);
    let server = nbdkit(&image, &["delay"], &["rdelay=30"]).await;
    let (_session, options) = begin(&lab).await;
    let export = NbdExport { socket_path: server.socket(), export_name: String::new(), connections: 2 };
    let cancel = CancellationToken::new();
    let begin = Instant::now();
    let later = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        cancel.cancel();
    };
    let (result, ()) = tokio::join!(export.capture(&options, Arc::default(), &cancel), later);
    assert_eq!(result.unwrap_err().code(), Code::Cancelled);
    assert!(begin.elapsed() < Duration::from_secs(2), "it took {:?}", begin.elapsed());
}
