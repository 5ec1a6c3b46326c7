//! What the process does that is killed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use sendense_repo::{
    CopyOptions, Error, Kdf, NewRestorePoint, PruneOptions, RepairOptions, Repository, Result, Secret,
    SnapshotId,
};
use sendense_storage::{LocalStorage, Storage};
use tokio_util::sync::CancellationToken;

use crate::support::{CHUNK_BYTES, PASSWORD, a_point, add_disk, fill, quick_writer, small_packs};

/// Names the job to the process that does it, and where.
pub(crate) const JOB_VARIABLE: &str = "SENDENSE_KILLS_JOB";
pub(crate) const PLACE_VARIABLE: &str = "SENDENSE_KILLS_PLACE";

/// What the process says when it has done its job: the restore point that it has made, if any.
pub(crate) const DONE: &str = "job done:";

/// The passwords that the repository has by turns.
const PASSWORDS: [&str; 2] = [PASSWORD, "another"];

/// A job of the Hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Job {
    /// Captures the disk with this number and commits it.
    Capture(u64),
    /// Takes over what dead captures have left.
    Adopt,
    /// Deletes what an earlier one has marked, and marks and repacks what nobody needs.
    Prune,
    /// Copies all restore points to a second repository.
    Copy,
    /// Repairs what has rotted.
    Repair,
    /// Changes the password to the other one.
    ChangePassword,
}

impl Job {
    pub(crate) fn noun(self) -> &'static str {
        match self {
            Self::Capture(_) => "capture",
            Self::Adopt => "adopt",
            Self::Prune => "prune",
            Self::Copy => "copy",
            Self::Repair => "repair",
            Self::ChangePassword => "password",
        }
    }

    /// The job in one word, for a variable of the environment.
    pub(crate) fn to_word(self) -> String {
        match self {
            Self::Capture(number) => format!("capture-{number}"),
            other => other.noun().into(),
        }
    }

    fn from_word(word: &str) -> Self {
        match word.split_once('-') {
            Some(("capture", number)) => Self::Capture(number.parse().unwrap()),
            _ => [Self::Adopt, Self::Prune, Self::Copy, Self::Repair, Self::ChangePassword]
                .into_iter()
                .find(|job| job.noun() == word)
                .unwrap(),
        }
    }

    pub(crate) async fn run(self, place: &Path) -> Result<Option<SnapshotId>> {
        let repository = open(place).await;
        let (lock, cancel) = (quick_writer().lock, CancellationToken::new());
        match self {
            Self::Capture(number) => return capture(&repository, number).await.map(Some),
            Self::Adopt => repository.adopt_orphan_packs(lock, &cancel).await.map(|_| ())?,
            Self::Prune => {
                let (grace, waste_ratio_max) = (Duration::ZERO, 0.0);
                let options = PruneOptions { grace, waste_ratio_max, lock, ..PruneOptions::default() };
                repository.prune(&options, &|_| {}, &cancel).await.map(|_| ())?;
            }
            Self::Copy => {
                let points = repository.restore_points().await?;
                let ids: Vec<_> = points.iter().map(|point| point.id).collect();
                let target = open_at(&target(place)).await.0;
                repository
                    .copy_to(&target, &ids, CopyOptions { lock }, &|_| {}, &cancel)
                    .await
                    .map(|_| ())?;
            }
            Self::Repair => {
                let options = RepairOptions { lock, ..RepairOptions::default() };
                let report = repository.repair(None, options, &|_| {}, &cancel).await?;
                assert!(report.is_healthy(), "{report:?}");
            }
            Self::ChangePassword => {
                let (_, now) = open_at(&source(place)).await;
                let next = PASSWORDS.into_iter().find(|password| *password != now).unwrap();
                let kdf = Kdf::Fixed { log_n: 4, r: 8, p: 1 };
                repository.change_password(&Secret::new(next), kdf, lock).await.map(|_| ())?;
            }
        }
        Ok(None)
    }
}

/// The life of the process: its job, and a word at the end.
#[allow(clippy::print_stdout, reason = "the process that started it reads it")]
pub(crate) fn work() {
    let Ok(word) = std::env::var(JOB_VARIABLE) else { return };
    let place = std::env::var_os(PLACE_VARIABLE).unwrap();
    // strace counts the system calls of each thread apart, so one thread does them all.
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().max_blocking_threads(1).build().unwrap();
    let made = runtime.block_on(Job::from_word(&word).run(Path::new(&place))).unwrap();
    println!("{DONE} {}", made.map(|point| point.to_string()).unwrap_or_default());
}

pub(crate) async fn open(place: &Path) -> Repository {
    open_at(&source(place)).await.0
}

/// With one of the passwords, whichever opens it.
pub(crate) async fn open_at(folder: &Path) -> (Repository, &'static str) {
    for password in PASSWORDS {
        let storage: Arc<dyn Storage> = Arc::new(LocalStorage::open(folder).await.unwrap());
        match Repository::open_with(storage, &Secret::new(password), small_packs()).await {
            Err(Error::WrongPassword) => {}
            repository => return (repository.unwrap(), password),
        }
    }
    panic!("no password opens {}", folder.display());
}

/// The repository that all jobs work on.
pub(crate) fn source(place: &Path) -> PathBuf {
    place.join("repository")
}

/// The one that restore points are copied to.
pub(crate) fn target(place: &Path) -> PathBuf {
    place.join("copy")
}

async fn capture(repository: &Repository, number: u64) -> Result<SnapshotId> {
    let writer = repository.writer(quick_writer()).await?;
    let (file, _) = add_disk(&writer, "disk-2000.raw", &disk(number)).await?;
    writer.commit(NewRestorePoint { tags: vec![number.to_string()], ..a_point(vec![file]) }).await
}

/// A disk of chunks that many disks share, and one of its own.
pub(crate) fn disk(number: u64) -> Vec<u8> {
    let mut random = StdRng::seed_from_u64(number);
    let mut disk = vec![0; 10 * CHUNK_BYTES];
    for chunk in disk.chunks_mut(CHUNK_BYTES) {
        let seed = random.random_range(0..30);
        fill(chunk, seed, if seed % 2 == 0 { 0xff } else { 0x0f });
    }
    fill(&mut disk[..CHUNK_BYTES], 1000 + number, 0xff);
    disk
}
