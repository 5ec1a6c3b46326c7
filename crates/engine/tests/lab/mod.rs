//! A Hub for tests: a repository, a listener, and what a Node needs to know of them.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a lab that cannot be built is a failed test")]

pub(crate) mod gateway;
pub(crate) mod raw_node;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use sendense_disk::{BlockSource, Extent, MemorySource};
use sendense_engine::{
    Areas, Base, CaptureCounters, CaptureOptions, CaptureReport, CaptureSession, CaptureSessionOptions,
    CommitOptions, Committed, DataPlane, ListenOptions, MemoryBudget, Repository, RestoreCounters,
    RestoreOptions, Result, Target, TextFile, capture_disk,
};
use sendense_repo::{InitOptions, Kdf, Secret};
use sendense_storage::{MemoryStorage, Storage};
use tokio_util::sync::CancellationToken;

pub(crate) const CHUNK_BYTES: u32 = 512 << 10;
/// The same, to count bytes of disks and of memory with.
pub(crate) const CHUNK: u64 = CHUNK_BYTES as u64;
pub(crate) const CHUNK_LEN: usize = CHUNK_BYTES as usize;

/// A repository in memory and a listener on a free port.
pub(crate) struct Lab {
    pub(crate) repository: Repository,
    pub(crate) data_plane: DataPlane,
    pub(crate) folder: tempfile::TempDir,
}

impl Lab {
    pub(crate) async fn new() -> Self {
        Self::with_storage(Arc::new(MemoryStorage::new())).await
    }

    pub(crate) async fn with_storage(storage: Arc<dyn Storage>) -> Self {
        let init = InitOptions { kdf: Kdf::Fixed { log_n: 10, r: 8, p: 1 }, ..InitOptions::default() };
        let repository =
            sendense_repo::Repository::init(storage, &Secret::new("password"), init).await.unwrap();
        let repository = Repository::new(repository);
        Self { repository, data_plane: listen().await, folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) async fn begin(&self) -> CaptureSession {
        self.begin_with(|_| ()).await
    }

    pub(crate) async fn begin_with(&self, change: impl FnOnce(&mut CaptureSessionOptions)) -> CaptureSession {
        let mut options = CaptureSessionOptions {
            capture_id: "job-7".into(),
            chunk_bytes: CHUNK_BYTES,
            bytes_per_second_max: None,
            rate_limits: Vec::new(),
            idle_timeout: Duration::from_mins(1),
            ticket_lifetime: CaptureSessionOptions::TICKET_LIFETIME,
        };
        change(&mut options);
        self.repository.begin_capture(&self.data_plane, options).await.unwrap()
    }

    pub(crate) fn target(&self, session: &CaptureSession) -> Target {
        Target {
            host: "127.0.0.1".into(),
            port: self.data_plane.port(),
            certificate: self.data_plane.certificate(),
            capture_id: session.id().into(),
            ticket: session.ticket().to_owned().into(),
            grace: Duration::from_secs(5),
            patience: Target::PATIENCE,
        }
    }

    pub(crate) fn options(&self, session: &CaptureSession, disk_key: &str, areas: Areas) -> CaptureOptions {
        CaptureOptions {
            areas,
            disk_key: disk_key.into(),
            chunk_bytes: CHUNK_BYTES,
            target: self.target(session),
            memory_bytes_max: 16 << 20,
            memory: MemoryBudget::of_process(),
            compression_level: 1,
        }
    }

    /// Captures one disk in a session of its own, and commits.
    pub(crate) async fn back_up(
        &self,
        disk: &[u8],
        areas: Areas,
        base: Option<&Committed>,
    ) -> (CaptureReport, Committed) {
        let session = self.begin().await;
        let base = base.map(|point| base_of(point, "2000"));
        session.begin_disk("2000", disk.len() as u64, base).await.unwrap();
        let options = self.options(&session, "2000", areas);
        let report = capture(source(disk), &options).await.unwrap();
        (report, session.commit(commit_options()).await.unwrap())
    }

    /// The bytes of a disk of a restore point, by way of a file.
    pub(crate) async fn restore(&self, point: &Committed, disk_key: &str) -> Vec<u8> {
        let target_path = self.folder.path().join("restored.raw");
        let options = RestoreOptions {
            restore_point_id: point.restore_point_id.clone(),
            file: format!("disk-{disk_key}.raw"),
            target_path,
            overwrite: true,
        };
        self.repository
            .restore_disk(&options, &RestoreCounters::default(), &CancellationToken::new())
            .await
            .unwrap();
        std::fs::read(options.target_path).unwrap()
    }
}

pub(crate) async fn listen() -> DataPlane {
    listen_on(0, &certificate()).await
}

pub(crate) async fn listen_on(port: u16, (certificate_pem, private_key_pem): &(String, String)) -> DataPlane {
    let options = ListenOptions {
        host: [127, 0, 0, 1].into(),
        port,
        certificate_pem: certificate_pem.clone(),
        private_key_pem: private_key_pem.clone().into(),
    };
    DataPlane::listen(options).await.unwrap()
}

/// A certificate and its key, PEM.
pub(crate) fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["hub.example".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
}

pub(crate) fn source(disk: &[u8]) -> Arc<dyn BlockSource> {
    Arc::new(MemorySource::new(disk.to_vec()))
}

pub(crate) async fn capture(source: Arc<dyn BlockSource>, options: &CaptureOptions) -> Result<CaptureReport> {
    capture_disk(source, options, Arc::new(CaptureCounters::default()), &CancellationToken::new()).await
}

pub(crate) fn base_of(point: &Committed, disk_key: &str) -> Base {
    Base { restore_point_id: point.restore_point_id.clone(), file: format!("disk-{disk_key}.raw") }
}

pub(crate) fn commit_options() -> CommitOptions {
    CommitOptions {
        hostname: "web".into(),
        directory: "vm-17".into(),
        time: SystemTime::now(),
        tags: vec!["vm:web".into()],
        parent: None,
        files: vec![TextFile { name: "vm.json".into(), text: "{}".into() }],
    }
}

pub(crate) fn extent(offset: u64, length: u64) -> Extent {
    Extent { offset, length }
}

/// Bytes that look random and are the same for the same seed.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(length).collect()
}

/// A disk of three kinds of chunks: noise, text, zeros; its size is no multiple of anything.
pub(crate) fn mixed_disk(seed: u64, chunks: usize) -> Vec<u8> {
    let mut disk = Vec::with_capacity((chunks + 1) * CHUNK_LEN);
    for index in 0..chunks as u64 {
        match index % 3 {
            0 => disk.extend(noise(seed + index, CHUNK_LEN)),
            1 => disk.extend(format!("{seed} {index} ").into_bytes().into_iter().cycle().take(CHUNK_LEN)),
            _ => disk.extend(std::iter::repeat_n(0, CHUNK_LEN)),
        }
    }
    disk.extend(noise(seed, 12_345));
    disk
}
