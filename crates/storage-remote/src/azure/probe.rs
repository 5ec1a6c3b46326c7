//! What a container tells before there is a repository in it.

use async_trait::async_trait;
use bytes::Bytes;
use sendense_storage::{Result, Storage};

use super::AzureStorage;
use crate::call::Call;
use crate::http::Answer;
use crate::place_probe::{PlaceProbe, Trial, difference_ms, probe_name, try_object};

const OPERATION: &str = "probe";

impl AzureStorage {
    /// Writes, reads back, lists and removes a small blob; needs no repository.
    ///
    /// # Errors
    /// The first thing that does not work, by its kind.
    pub async fn probe(&self) -> Result<PlaceProbe> {
        let is_empty = self.client.blobs(OPERATION, self.layout.prefix(), true).await?.is_empty();
        let key = format!("{}{}", self.layout.prefix(), probe_name());
        let (latency, date) = try_object(self, &key).await?;
        self.delete(OPERATION, &key).await?;
        Ok(PlaceProbe {
            is_repository: self.is_initialised().await?,
            is_empty,
            capacity: None,
            latency,
            is_durable: true,
            clock_skew_ms: date.map(|date| difference_ms(date, self.client.now())),
            object_lock: None,
        })
    }
}

#[async_trait]
impl Trial for AzureStorage {
    async fn put(&self, key: &str, content: Bytes) -> Result<Answer> {
        self.upload(OPERATION, key, content).await?.accepted(OPERATION)
    }

    async fn get(&self, key: &str) -> Result<Answer> {
        self.client.ask(OPERATION, Call { method: "GET", key, ..Call::default() }).await
    }

    async fn is_listed(&self, key: &str) -> Result<bool> {
        Ok(!self.client.blobs(OPERATION, key, true).await?.is_empty())
    }
}
