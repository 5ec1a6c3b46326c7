//! What a bucket tells before there is a repository in it.

use async_trait::async_trait;
use bytes::Bytes;
use sendense_storage::{ErrorKind, FileId, FileKind, Result};

use super::S3Storage;
use crate::call::Call;
use crate::http::Answer;
use crate::place_probe::{PlaceProbe, Trial, difference_ms, probe_name, try_object};

const OPERATION: &str = "probe";

impl S3Storage {
    /// Writes, reads back, lists and removes a small object; needs no repository.
    ///
    /// # Errors
    /// The first thing that does not work, by its kind. With a policy: [`ErrorKind::ObjectLockMissing`] where the
    /// bucket cannot protect.
    pub async fn probe(&self) -> Result<PlaceProbe> {
        let objects = self.client.objects(OPERATION, self.layout.prefix(), true).await?;
        let object_lock = match self.client.object_lock(OPERATION).await {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => None,
            object_lock => Some(object_lock?),
        };
        if self.policy.is_some() {
            self.require_object_lock(OPERATION).await?;
        }
        let key = format!("{}{}", self.layout.prefix(), probe_name());
        let (latency, date) = try_object(self, &key).await?;
        self.remove_probe(&key).await?;
        Ok(PlaceProbe {
            is_repository: self
                .find(OPERATION, FileKind::Config, &self.layout.key(FileKind::Config, &FileId::CONFIG))
                .await
                .map_or_else(super::absent, |_| Ok(true))?,
            is_empty: objects.is_empty(),
            capacity: None,
            latency,
            is_durable: true,
            clock_skew_ms: date.map(|date| difference_ms(date, self.client.now())),
            object_lock,
        })
    }

    /// A bucket may protect by itself whatever is written: then the probe stays, and that is no error.
    async fn remove_probe(&self, key: &str) -> Result<()> {
        match self.remove_key(FileKind::Lock, &FileId::CONFIG, key).await {
            Err(error) if error.kind() == ErrorKind::Protected => Ok(()),
            removed => removed,
        }
    }
}

#[async_trait]
impl Trial for S3Storage {
    async fn put(&self, key: &str, body: Bytes) -> Result<Answer> {
        self.client.ask(OPERATION, Call { method: "PUT", key, body, ..Call::default() }).await
    }

    async fn get(&self, key: &str) -> Result<Answer> {
        self.client.ask(OPERATION, Call { method: "GET", key, ..Call::default() }).await
    }

    async fn is_listed(&self, key: &str) -> Result<bool> {
        Ok(!self.client.objects(OPERATION, key, true).await?.is_empty())
    }
}
