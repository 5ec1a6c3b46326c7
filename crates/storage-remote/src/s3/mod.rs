//! S3 and everything that speaks it.
//!
//! - A file is one object, written by one `PUT` with `If-None-Match: *`: it appears whole, and never replaces another.
//! - With a [`ProtectionPolicy`] the `PUT` carries mode and end of the retention, so there is no moment in which the
//!   file is there and not protected; then the server's own record of it is read back.
//! - In a bucket with versions a plain `DELETE` removes nothing: it hides the object behind a mark. So `remove` names
//!   the versions that it removes. And what somebody else hides is still seen: for protected kinds the oldest version
//!   of a key is the file, whatever lies above it.

mod client;
mod listing;
mod object_lock;
mod originals;
mod probe;
mod removal;
mod sign;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use sendense_storage::{
    Capacity, Error, ErrorKind, FileEntry, FileId, FileKind, Protection, ProtectionPolicy, Result, Secret,
    Storage,
};
use tokio::sync::OnceCell;

use crate::call::{Call, Outcome, empty_part, part_of, range_of, require_same};
use crate::layout::Layout;
use client::Client;
use object_lock::{not_in_force, protection_of, satisfies, upload_headers};
use originals::Originals;

/// Where a bucket is and how it is opened.
#[derive(Clone, Debug)]
pub struct S3Settings {
    /// `https://host[:port]`.
    pub endpoint: String,
    /// The region that requests are signed for; `us-east-1` where there are none.
    pub region: String,
    /// The bucket, which must exist.
    pub bucket: String,
    /// The folder in it; empty for the whole bucket.
    pub prefix: String,
    /// Says who we are.
    pub access_key_id: String,
    /// Proves it.
    pub secret_access_key: Secret,
    /// Whether the bucket is part of the host name instead of the path.
    pub virtual_hosted: bool,
    /// Authorities to trust instead of the machine's own, PEM.
    pub ca_pem: Option<String>,
    /// How new files are protected.
    pub protection: Option<ProtectionPolicy>,
    /// The clock that requests are signed by.
    pub clock: fn() -> SystemTime,
}

/// A repository in a bucket. Clones share their connections.
#[derive(Clone)]
pub struct S3Storage {
    client: Arc<Client>,
    layout: Layout,
    location: String,
    policy: Option<ProtectionPolicy>,
    /// Whether the bucket keeps versions, once that was asked.
    has_versions: Arc<OnceCell<bool>>,
    /// Which versions are the files, of kinds that are protected.
    originals: Arc<Originals>,
    /// The server does not know `If-None-Match`, so that looking and writing are two steps.
    is_unconditional: Arc<AtomicBool>,
}

impl fmt::Debug for S3Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Storage")
            .field("location", &self.location)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl S3Storage {
    /// Uses a bucket. Nothing is sent before the first operation.
    ///
    /// # Errors
    /// When the endpoint or the certificates of the authorities cannot be read.
    pub fn open(settings: &S3Settings) -> Result<Self> {
        let client = Client::new(settings)?;
        let layout = Layout::below(&settings.prefix);
        Ok(Self {
            location: format!(
                "s3:{}/{}/{}",
                settings.endpoint.trim_end_matches('/'),
                settings.bucket,
                layout.prefix()
            ),
            client: Arc::new(client),
            layout,
            policy: settings.protection,
            has_versions: Arc::default(),
            originals: Arc::default(),
            is_unconditional: Arc::default(),
        })
    }

    /// Whether files of this kind are protected.
    fn protects(&self, kind: FileKind) -> Option<ProtectionPolicy> {
        self.policy.filter(|_| kind != FileKind::Lock)
    }

    /// The size of a file, and its version where the bucket has protected ones.
    async fn find(
        &self,
        operation: &'static str,
        kind: FileKind,
        key: &str,
    ) -> Result<(Option<String>, u64)> {
        let missing = || Error::new(ErrorKind::NotFound, operation, "it does not exist");
        if self.protects(kind).is_some() {
            let versions = self.client.versions_of(operation, key).await?;
            let (version, size) = versions.original().ok_or_else(missing)?;
            return Ok((Some(version.clone()), *size));
        }
        // A listing tells a missing bucket and missing rights apart, which the answer to a `HEAD` cannot.
        let objects = self.client.objects(operation, key, true).await?;
        let object = objects.into_iter().find(|object| object.key == key).ok_or_else(missing)?;
        Ok((None, object.size_bytes))
    }

    /// Reads a file or a range of it; also one that somebody has hidden behind a mark, or written over. What is read first
    /// is the newest version: only where it is not known to be the oldest too is the server asked which one is.
    async fn get(&self, kind: FileKind, key: &str, range: Option<String>) -> Result<Outcome> {
        let headers: Vec<_> = range.into_iter().map(|range| ("range", range)).collect();
        let call = Call { method: "GET", key, headers: headers.clone(), ..Call::default() };
        let outcome = self.client.send("read", call).await?;
        let (status, newest) = (outcome.answer.status, outcome.answer.header("x-amz-version-id"));
        let is_original = newest.is_some_and(|version| self.originals.is_original(key, version));
        let is_there = status.is_success() || status.as_u16() == 404;
        if self.protects(kind).is_none() || is_original || !is_there {
            return Ok(outcome);
        }
        let versions = self.client.versions_of("read", key).await?;
        let Some((version, _)) = versions.original() else { return Ok(outcome) };
        self.originals.note(key, version);
        if newest == Some(version.as_str()) {
            return Ok(outcome);
        }
        let query = vec![("versionId", version.as_str())];
        self.client.send("read", Call { method: "GET", key, query, headers, ..Call::default() }).await
    }

    /// Uploads a file that is not there. `Ok(false)`: something is there already.
    async fn put(&self, kind: FileKind, key: &str, content: Bytes) -> Result<bool> {
        let asked = self
            .protects(kind)
            .map(|policy| Protection { mode: policy.mode, until: self.client.now() + policy.window });
        let mut headers = vec![("content-type", "application/octet-stream".to_owned())];
        headers.extend(asked.into_iter().flat_map(upload_headers));
        let is_conditional = !self.is_unconditional.load(Ordering::Relaxed);
        if is_conditional {
            headers.push(("if-none-match", "*".into()));
        } else if self.find("write", kind, key).await.map_or_else(absent, |_| Ok(true))? {
            return Ok(false);
        }
        let call = Call { method: "PUT", key, headers, body: content.clone(), ..Call::default() };
        let outcome = self.client.send("write", call).await?;
        if outcome.is_refused_with(&["PreconditionFailed"]) || outcome.answer.status.as_u16() == 412 {
            return Ok(false);
        }
        if is_conditional && outcome.answer.status.as_u16() == 501 {
            self.is_unconditional.store(true, Ordering::Relaxed);
            return Box::pin(self.put(kind, key, content)).await;
        }
        if outcome.is_refused_with(&["InvalidRequest", "InvalidArgument"]) && asked.is_some() {
            self.require_object_lock("write").await?;
        }
        let answer = outcome.accepted("write")?;
        if let Some(asked) = asked {
            let version = answer.header("x-amz-version-id").ok_or_else(|| not_in_force("write"))?;
            let actual = self.protection_of_version("write", key, version).await?;
            if !satisfies(actual, asked) {
                return Err(not_in_force("write"));
            }
            self.originals.note(key, version);
        }
        Ok(true)
    }

    /// What to do where a file is there already: the same bytes are success, and are protected like new ones.
    async fn confirm_same(&self, kind: FileKind, id: &FileId, content: &Bytes) -> Result<()> {
        require_same(&self.read(kind, id).await?, content)?;
        let Some(policy) = self.protects(kind) else { return Ok(()) };
        let asked = Protection { mode: policy.mode, until: self.client.now() + policy.window };
        let actual = self.extend_protection(kind, id, asked.until).await?;
        if satisfies(actual, asked) { Ok(()) } else { Err(not_in_force("write")) }
    }

    async fn protection_of_version(
        &self,
        operation: &'static str,
        key: &str,
        version: &str,
    ) -> Result<Option<Protection>> {
        let query = vec![("versionId", version)];
        let head =
            self.client.send(operation, Call { method: "HEAD", key, query, ..Call::default() }).await?;
        // The headers are left out for those who may not see the retention; the question itself says so.
        match protection_of(&head.accepted(operation)?) {
            Some(protection) => Ok(Some(protection)),
            None => self.client.retention(operation, key, version).await,
        }
    }

    async fn require_object_lock(&self, operation: &'static str) -> Result<()> {
        if self.client.object_lock(operation).await?.is_enabled {
            return Ok(());
        }
        let message = "its files were to be protected, and the bucket has no object lock";
        Err(Error::new(ErrorKind::ObjectLockMissing, operation, message))
    }
}

/// Turns "not found" into an answer.
fn absent(error: Error) -> Result<bool> {
    if error.kind() == ErrorKind::NotFound { Ok(false) } else { Err(error) }
}

#[async_trait]
impl Storage for S3Storage {
    fn location(&self) -> String {
        self.location.clone()
    }

    /// Makes nothing: who owns the bucket decides about its region, its versions and its object lock.
    async fn create(&self) -> Result<()> {
        self.client.objects("create", self.layout.prefix(), true).await?;
        if self.policy.is_some() { self.require_object_lock("create").await } else { Ok(()) }
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<FileEntry>> {
        let folder = self.layout.folder(kind);
        let entry =
            |key: &str, size_bytes| self.layout.file(kind, key).map(|id| FileEntry { id, size_bytes });
        if self.protects(kind).is_some() {
            let versions = self.client.versions("list", &folder).await?;
            let files = versions.iter().filter_map(|(key, versions)| {
                let (version, size) = versions.original()?;
                self.originals.note(key, version);
                entry(key, *size)
            });
            return Ok(files.collect());
        }
        let objects = self.client.objects("list", &folder, false).await?;
        Ok(objects.iter().filter_map(|object| entry(&object.key, object.size_bytes)).collect())
    }

    async fn size(&self, kind: FileKind, id: &FileId) -> Result<u64> {
        let found = self.find("look up", kind, &self.layout.key(kind, id)).await;
        found.map(|(_, size)| size).map_err(|error| error.with_file(kind, id))
    }

    async fn read(&self, kind: FileKind, id: &FileId) -> Result<Bytes> {
        let outcome = self.get(kind, &self.layout.key(kind, id), None).await;
        let answer = outcome.and_then(|outcome| outcome.accepted("read"));
        answer.map(|answer| answer.body).map_err(|error| error.with_file(kind, id))
    }

    async fn read_range(&self, kind: FileKind, id: &FileId, offset: u64, len: usize) -> Result<Bytes> {
        let key = self.layout.key(kind, id);
        let read = async {
            if len == 0 {
                return empty_part(offset, self.find("read", kind, &key).await?.1);
            }
            part_of(self.get(kind, &key, Some(range_of(offset, len)?)).await?, offset, len)
        };
        read.await.map_err(|error| error.with_file(kind, id))
    }

    async fn write(&self, kind: FileKind, id: &FileId, content: Bytes) -> Result<()> {
        let written = async {
            if self.put(kind, &self.layout.key(kind, id), content.clone()).await? {
                return Ok(());
            }
            self.confirm_same(kind, id, &content).await
        };
        written.await.map_err(|error| error.with_file(kind, id))
    }

    async fn remove(&self, kind: FileKind, id: &FileId) -> Result<()> {
        self.remove_key(kind, id, &self.layout.key(kind, id)).await.map_err(|error| error.with_file(kind, id))
    }

    async fn capacity(&self) -> Result<Option<Capacity>> {
        Ok(None)
    }

    fn protection_policy(&self) -> Option<ProtectionPolicy> {
        self.policy
    }

    async fn protection(&self, kind: FileKind, id: &FileId) -> Result<Option<Protection>> {
        const OPERATION: &str = "look up the protection of";
        let key = self.layout.key(kind, id);
        let protection = async {
            match self.find(OPERATION, kind, &key).await? {
                (Some(version), _) => self.client.retention(OPERATION, &key, &version).await,
                (None, _) => Ok(None),
            }
        };
        protection.await.map_err(|error| error.with_file(kind, id))
    }

    async fn extend_protection(
        &self,
        kind: FileKind,
        id: &FileId,
        until: SystemTime,
    ) -> Result<Option<Protection>> {
        const OPERATION: &str = "protect";
        let key = self.layout.key(kind, id);
        let extension = async {
            let (Some(version), Some(policy)) = (self.find(OPERATION, kind, &key).await?.0, self.policy)
            else {
                return Ok(None);
            };
            let before = self.client.retention(OPERATION, &key, &version).await?;
            if before.is_some_and(|before| before.until >= until) {
                return Ok(before);
            }
            // A mode is never weakened either.
            let mode = before.map_or(policy.mode, |before| before.mode);
            self.client.retain(OPERATION, &key, &version, Protection { mode, until }).await?;
            self.client.retention(OPERATION, &key, &version).await
        };
        extension.await.map_err(|error| error.with_file(kind, id))
    }
}
