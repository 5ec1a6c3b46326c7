//! One repository that is kept here: its files, and the guard before them.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use sendense_storage::{ErrorKind, FileId, FileKind, LocalStorage, LocalUpload, Storage};
use tokio::sync::{Mutex, MutexGuard};

use crate::answer::Problem;
use crate::clock::Clock;
use crate::credentials::Role;
use crate::guard::{Guard, GuardRules, GuardStart, Refused};

/// Names that share a lock wait for each other; with so many locks that hardly happens.
const NAME_LOCKS: usize = 256;

/// A repository and its guard.
#[derive(Debug)]
pub(crate) struct Hosted {
    pub(crate) storage: LocalStorage,
    pub(crate) guard: Guard,
    /// Whether a name must be the hash of the content; only the config never is.
    pub(crate) checks_names: bool,
    name_locks: Vec<Mutex<()>>,
}

impl Hosted {
    /// Opens the repository in a folder that exists.
    pub(crate) async fn open(
        folder: &Path,
        rules: GuardRules,
        clock: Arc<dyn Clock>,
        checks_names: bool,
    ) -> std::io::Result<(Self, GuardStart)> {
        tokio::fs::metadata(folder).await?;
        let storage = LocalStorage::open(folder).await.map_err(std::io::Error::other)?;
        let has_files = storage.is_initialised().await.map_err(std::io::Error::other)?;
        let (guard, start) = Guard::open(&folder.join("guard"), rules, clock, has_files).await?;
        let name_locks = std::iter::repeat_with(Mutex::default).take(NAME_LOCKS).collect();
        Ok((Self { storage, guard, checks_names, name_locks }, start))
    }

    /// Protects a file whose bytes have arrived, and only then gives it its name: there is no moment in which it is
    /// there and can be removed.
    pub(crate) async fn finish(
        &self,
        kind: FileKind,
        id: &FileId,
        upload: LocalUpload,
    ) -> Result<Option<SystemTime>, Problem> {
        let _others_wait = self.lock(id).await;
        let until = self.guard.protect_new(kind, id).await.map_err(|error| Problem::of_journal(&error))?;
        upload.finish().await.map_err(|error| Problem::of_storage(&error))?;
        Ok(until)
    }

    /// Removes a file if the role and the guard allow it.
    pub(crate) async fn remove(&self, role: Role, kind: FileKind, id: &FileId) -> Result<(), Problem> {
        if role == Role::Writer && kind != FileKind::Lock {
            return Err(Problem::new(
                hyper::StatusCode::FORBIDDEN,
                "role-forbidden",
                "A writer removes locks only",
            ));
        }
        let _others_wait = self.lock(id).await;
        if !self.has(kind, id).await {
            // Without its place the file may come back with it: nothing was removed.
            self.storage.list(FileKind::Config).await.map_err(|_| place_missing())?;
            return Err(Problem::not_found());
        }
        if let Some(until) = self.protection_of_existing(kind, id).await? {
            return Err(Problem::protected(until));
        }
        self.storage.remove(kind, id).await.map_err(|error| Problem::of_storage(&error))?;
        self.guard.removed(kind, id).await.map_err(|error| Problem::of_journal(&error))
    }

    /// Until when a file is protected.
    pub(crate) async fn protection(
        &self,
        kind: FileKind,
        id: &FileId,
    ) -> Result<Option<SystemTime>, Problem> {
        let _others_wait = self.lock(id).await;
        self.storage.size(kind, id).await.map_err(|error| Problem::of_storage(&error))?;
        self.protection_of_existing(kind, id).await
    }

    /// Protects a file for longer.
    pub(crate) async fn extend(
        &self,
        kind: FileKind,
        id: &FileId,
        until: SystemTime,
    ) -> Result<Option<SystemTime>, Problem> {
        let _others_wait = self.lock(id).await;
        self.storage.size(kind, id).await.map_err(|error| Problem::of_storage(&error))?;
        self.guard.extend(kind, id, until).await.map_err(|refused| problem_of(&refused))
    }

    /// Makes the window longer; the new one in seconds.
    pub(crate) async fn lengthen_window(&self, role: Role, seconds: u64) -> Result<u64, Problem> {
        if role == Role::Writer {
            return Err(Problem::new(
                hyper::StatusCode::FORBIDDEN,
                "role-forbidden",
                "Only a keeper makes the window longer",
            ));
        }
        self.guard.lengthen_window(seconds).await.map_err(|refused| problem_of(&refused))
    }

    /// Whether a file is there.
    pub(crate) async fn has(&self, kind: FileKind, id: &FileId) -> bool {
        !matches!(self.storage.size(kind, id).await, Err(error) if error.kind() == ErrorKind::NotFound)
    }

    async fn protection_of_existing(
        &self,
        kind: FileKind,
        id: &FileId,
    ) -> Result<Option<SystemTime>, Problem> {
        self.guard.protection(kind, id).await.map_err(|error| Problem::of_journal(&error))
    }

    async fn lock(&self, id: &FileId) -> MutexGuard<'_, ()> {
        self.name_locks[usize::from(id.as_bytes()[0]) % NAME_LOCKS].lock().await
    }
}

fn place_missing() -> Problem {
    Problem::new(hyper::StatusCode::SERVICE_UNAVAILABLE, "place-missing", "The folder is not there")
}

fn problem_of(refused: &Refused) -> Problem {
    match refused {
        Refused::TooLong(_) => {
            Problem::new(hyper::StatusCode::UNPROCESSABLE_ENTITY, "protection-too-long", refused.to_string())
        }
        Refused::Shorter(_) => {
            Problem::new(hyper::StatusCode::CONFLICT, "window-shorter", refused.to_string())
        }
        Refused::Journal(error) => Problem::of_journal(error),
    }
}
