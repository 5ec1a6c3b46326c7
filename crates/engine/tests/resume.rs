//! How many bytes go over the wire twice when a capture is interrupted: counted by a proxy between Node and Hub.
//!
//! Packs have 1 MiB here and the disk 256 MiB. With `SENDENSE_CAMPAIGN=1` packs have the 16 MiB of a real repository and
//! the disk 2 GiB, which takes 7 GiB of memory. What is sent again does not grow with the disk, so of larger ones it is
//! less.

#![allow(clippy::print_stderr, reason = "the figures are what is measured")]
#![allow(clippy::unwrap_used, reason = "what fails while a test is prepared is a failed test")]

mod lab;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lab::{CHUNK_LEN, Lab, commit_options, listen, noise, source};
use sendense_engine::{
    Areas, CaptureCounters, CaptureReport, CaptureSession, Repository, Result, Secret, capture_disk,
};
use sendense_repo::{InitOptions, Kdf, Tuning};
use sendense_storage::{MemoryStorage, Storage};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// When to interrupt: shares of the disk in percent.
const MOMENTS: [u64; 4] = [10, 35, 60, 85];

#[tokio::test(flavor = "multi_thread")]
async fn of_a_killed_node_less_than_one_percent_is_sent_again() {
    let (lab, disk) = (Lab { repository: repository(storage()).await, ..Lab::new().await }, disk());
    let (session, proxy) = begin(&lab).await;
    for moment in MOMENTS {
        let killed = CancellationToken::new();
        let kill = async {
            proxy.until(disk_bytes() * moment / 100).await;
            killed.cancel();
        };
        let (captured, ()) = tokio::join!(run(&lab, &session, &proxy, &disk, &killed), kill);
        captured.unwrap_err();
        proxy.cut();
    }
    run(&lab, &session, &proxy, &disk, &CancellationToken::new()).await.unwrap();
    expect_little_twice("a killed Node", proxy.sent(), 100);
    let point = session.commit(commit_options()).await.unwrap();
    assert!(lab.restore(&point, "2000").await == disk);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_killed_hub_less_than_three_percent_is_sent_again() {
    let (storage, disk) = (storage(), disk());
    let mut lab = Lab { repository: repository(Arc::clone(&storage)).await, ..Lab::new().await };
    let mut sent = 0;
    for moment in MOMENTS {
        let (session, proxy) = begin(&lab).await;
        let killed = CancellationToken::new();
        let kill = async {
            proxy.until((disk_bytes() * moment / 100).saturating_sub(sent)).await;
            proxy.cut();
            killed.cancel();
        };
        let (captured, ()) = tokio::join!(run(&lab, &session, &proxy, &disk, &killed), kill);
        captured.unwrap_err();
        sent += proxy.sent();
        // Neither commit nor abort, and another process that opens what is on the storage.
        drop(session);
        lab.data_plane.close().await;
        let password = Secret::new("password");
        let opened =
            sendense_repo::Repository::open_with(Arc::clone(&storage), &password, tuning()).await.unwrap();
        lab = Lab { repository: Repository::new(opened), data_plane: listen().await, ..lab };
        lab.repository.adopt_orphans().await.unwrap();
    }
    let (session, proxy) = begin(&lab).await;
    run(&lab, &session, &proxy, &disk, &CancellationToken::new()).await.unwrap();
    expect_little_twice("a killed Hub", sent + proxy.sent(), 300);
    let point = session.commit(commit_options()).await.unwrap();
    assert!(lab.restore(&point, "2000").await == disk);
}

/// Nothing of this disk compresses, so what is above its size is what was sent again, and headers.
fn expect_little_twice(what: &str, sent: u64, permyriad_max: u64) {
    let twice = sent.saturating_sub(disk_bytes()) / MOMENTS.len() as u64;
    let permyriad = twice * 10_000 / disk_bytes();
    eprintln!("{what}: {twice} bytes sent again each time, {permyriad} of 10,000");
    assert!(permyriad < permyriad_max, "{what}: {permyriad} of 10,000 bytes were sent again");
}

fn is_campaign() -> bool {
    std::env::var_os("SENDENSE_CAMPAIGN").is_some()
}

fn disk_chunks() -> usize {
    if is_campaign() { 4096 } else { 512 }
}

fn disk_bytes() -> u64 {
    (disk_chunks() * CHUNK_LEN) as u64
}

fn disk() -> Vec<u8> {
    noise(42, disk_chunks() * CHUNK_LEN)
}

fn storage() -> Arc<dyn Storage> {
    Arc::new(MemoryStorage::new())
}

fn tuning() -> Tuning {
    let pack_bytes = if is_campaign() { 16 << 20 } else { 1 << 20 };
    Tuning { pack_bytes, threads: 2, ..Tuning::default() }
}

async fn repository(storage: Arc<dyn Storage>) -> Repository {
    let init = InitOptions { kdf: Kdf::Fixed { log_n: 10, r: 8, p: 1 }, tuning: tuning() };
    Repository::new(sendense_repo::Repository::init(storage, &Secret::new("password"), init).await.unwrap())
}

async fn begin(lab: &Lab) -> (CaptureSession, Proxy) {
    let session = lab.begin().await;
    session.begin_disk("2000", disk_bytes(), None).await.unwrap();
    (session, Proxy::start(lab.data_plane.port()).await)
}

async fn run(
    lab: &Lab,
    session: &CaptureSession,
    proxy: &Proxy,
    disk: &[u8],
    cancel: &CancellationToken,
) -> Result<CaptureReport> {
    let mut options = lab.options(session, "2000", Areas::Whole);
    options.target.port = proxy.port;
    options.target.grace = Duration::from_secs(20);
    capture_disk(source(disk), &options, Arc::new(CaptureCounters::default()), cancel).await
}

/// Forwards connections, counts what goes to the Hub, and breaks all connections when told to.
struct Proxy {
    port: u16,
    sent: Arc<AtomicU64>,
    cuts: watch::Sender<u64>,
}

impl Proxy {
    async fn start(hub_port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sent, cuts) = (Arc::new(AtomicU64::new(0)), watch::Sender::new(0));
        let (counter, cut) = (Arc::clone(&sent), cuts.subscribe());
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let (counter, mut cut) = (Arc::clone(&counter), cut.clone());
                cut.mark_unchanged();
                tokio::spawn(async move {
                    tokio::select! {
                        _ended = forward(near, hub_port, counter) => {}
                        _cut = cut.changed() => {}
                    }
                });
            }
        });
        Self { port, sent, cuts }
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    async fn until(&self, sent: u64) {
        while self.sent() < sent {
            sleep(Duration::from_micros(200)).await;
        }
    }
}

async fn forward(near: TcpStream, hub_port: u16, counter: Arc<AtomicU64>) -> std::io::Result<()> {
    let far = TcpStream::connect(("127.0.0.1", hub_port)).await?;
    let ((mut near_in, mut near_out), (mut far_in, mut far_out)) = (near.into_split(), far.into_split());
    let to_hub = async {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = near_in.read(&mut buffer).await?;
            if length == 0 {
                return far_out.shutdown().await;
            }
            counter.fetch_add(length as u64, Ordering::Relaxed);
            far_out.write_all(&buffer[..length]).await?;
        }
    };
    let to_node = async {
        copy(&mut far_in, &mut near_out).await?;
        near_out.shutdown().await
    };
    tokio::try_join!(to_hub, to_node).map(|_| ())
}
