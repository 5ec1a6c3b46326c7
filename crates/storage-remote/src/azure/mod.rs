//! Azure Blob Storage, and Azurite, which speaks its protocol.
//!
//! - A file is one block blob, written by one `PUT` with `If-None-Match: *`: it appears whole, and never replaces
//!   another.
//! - Requests are signed with the key of the storage account ("Shared Key"). Tokens that stand in URLs are not used.
//! - What a policy of the container keeps cannot be removed, and the refusal says so; policies are not set from here.

mod client;
mod listing;
mod probe;
mod sign;

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use sendense_storage::{Capacity, Error, ErrorKind, FileEntry, FileId, FileKind, Result, Secret, Storage};

use crate::call::{Call, Outcome, empty_part, part_of, range_of, require_same};
use crate::layout::Layout;
use client::Client;

/// Where a container is and how it is opened.
#[derive(Clone, Debug)]
pub struct AzureSettings {
    /// `https://host[:port][/path]`; that of Azure for the account when absent.
    pub endpoint: Option<String>,
    /// The storage account.
    pub account: String,
    /// One of its two keys, in Base64.
    pub account_key: Secret,
    /// The container, which must exist.
    pub container: String,
    /// The folder in it; empty for the whole container.
    pub prefix: String,
    /// Authorities to trust instead of the machine's own, PEM.
    pub ca_pem: Option<String>,
    /// The clock that requests are signed by.
    pub clock: fn() -> SystemTime,
}

impl AzureSettings {
    fn endpoint(&self) -> String {
        let usual = || format!("https://{}.blob.core.windows.net", self.account);
        self.endpoint.clone().unwrap_or_else(usual)
    }
}

/// A repository in a container. Clones share their connections.
#[derive(Clone)]
pub struct AzureStorage {
    client: Arc<Client>,
    layout: Layout,
    location: String,
}

impl fmt::Debug for AzureStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AzureStorage").field("location", &self.location).finish_non_exhaustive()
    }
}

impl AzureStorage {
    /// Uses a container. Nothing is sent before the first operation.
    ///
    /// # Errors
    /// When the endpoint, the key or the certificates of the authorities cannot be read.
    pub fn open(settings: &AzureSettings) -> Result<Self> {
        let layout = Layout::below(&settings.prefix);
        let endpoint = settings.endpoint();
        let location =
            format!("azure:{}/{}/{}", endpoint.trim_end_matches('/'), settings.container, layout.prefix());
        Ok(Self { client: Arc::new(Client::new(settings)?), layout, location })
    }

    async fn upload(&self, operation: &'static str, key: &str, body: Bytes) -> Result<Outcome> {
        let headers = vec![
            // Without it, as for an empty body, the request is refused.
            ("content-length", body.len().to_string()),
            ("content-type", "application/octet-stream".into()),
            ("if-none-match", "*".into()),
            ("x-ms-blob-type", "BlockBlob".into()),
        ];
        self.client.send(operation, Call { method: "PUT", key, headers, body, ..Call::default() }).await
    }

    /// Removes a blob and its snapshots. What is not there is success.
    async fn delete(&self, operation: &'static str, key: &str) -> Result<()> {
        let headers = vec![("x-ms-delete-snapshots", "include".into())];
        let outcome =
            self.client.send(operation, Call { method: "DELETE", key, headers, ..Call::default() }).await?;
        if outcome.is_refused_with(&["BlobNotFound"]) {
            return Ok(());
        }
        outcome.accepted(operation).map(|_| ())
    }

    /// A listing is asked, because the answer to a `HEAD` does not say why the server refuses.
    async fn size_of(&self, operation: &'static str, key: &str) -> Result<u64> {
        let blobs = self.client.blobs(operation, key, true).await?;
        let blob = blobs.into_iter().find(|blob| blob.name == key);
        let missing = || Error::new(ErrorKind::NotFound, operation, "it does not exist");
        blob.map(|blob| blob.size_bytes).ok_or_else(missing)
    }
}

#[async_trait]
impl Storage for AzureStorage {
    fn location(&self) -> String {
        self.location.clone()
    }

    /// Makes nothing: who owns the account decides about its containers.
    async fn create(&self) -> Result<()> {
        self.client.blobs("create", self.layout.prefix(), true).await.map(|_| ())
    }

    async fn list(&self, kind: FileKind) -> Result<Vec<FileEntry>> {
        let blobs = self.client.blobs("list", &self.layout.folder(kind), false).await?;
        let entry = |blob: &listing::Blob| {
            let id = self.layout.file(kind, &blob.name)?;
            Some(FileEntry { id, size_bytes: blob.size_bytes })
        };
        Ok(blobs.iter().filter_map(entry).collect())
    }

    async fn size(&self, kind: FileKind, id: &FileId) -> Result<u64> {
        let size = self.size_of("look up", &self.layout.key(kind, id)).await;
        size.map_err(|error| error.with_file(kind, id))
    }

    async fn read(&self, kind: FileKind, id: &FileId) -> Result<Bytes> {
        let key = self.layout.key(kind, id);
        let answer = self.client.ask("read", Call { method: "GET", key: &key, ..Call::default() }).await;
        answer.map(|answer| answer.body).map_err(|error| error.with_file(kind, id))
    }

    async fn read_range(&self, kind: FileKind, id: &FileId, offset: u64, len: usize) -> Result<Bytes> {
        let key = self.layout.key(kind, id);
        let read = async {
            if len == 0 {
                return empty_part(offset, self.size_of("read", &key).await?);
            }
            let headers = vec![("x-ms-range", range_of(offset, len)?)];
            let call = Call { method: "GET", key: &key, headers, ..Call::default() };
            part_of(self.client.send("read", call).await?, offset, len)
        };
        read.await.map_err(|error| error.with_file(kind, id))
    }

    async fn write(&self, kind: FileKind, id: &FileId, content: Bytes) -> Result<()> {
        let written = async {
            let outcome = self.upload("write", &self.layout.key(kind, id), content.clone()).await?;
            if outcome.is_refused_with(&["BlobAlreadyExists", "ConditionNotMet"]) {
                return require_same(&self.read(kind, id).await?, &content);
            }
            outcome.accepted("write").map(|_| ())
        };
        written.await.map_err(|error| error.with_file(kind, id))
    }

    async fn remove(&self, kind: FileKind, id: &FileId) -> Result<()> {
        let removed = self.delete("remove", &self.layout.key(kind, id)).await;
        removed.map_err(|error| error.with_file(kind, id))
    }

    async fn capacity(&self) -> Result<Option<Capacity>> {
        Ok(None)
    }
}
