//! What a bucket tells before there is a repository in it.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use sendense_storage::{Error, ErrorKind, FileId, FileKind, Result};

use super::S3Storage;
use super::client::Call;
use crate::place_probe::{PROBE_TEXT, PlaceProbe, difference_ms, probe_name};

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
        let (latency, date) = self.try_object().await?;
        Ok(PlaceProbe {
            is_repository: self
                .find(OPERATION, FileKind::Config, &self.layout.key(FileKind::Config, &FileId::CONFIG))
                .await
                .map_or_else(super::absent, |_| Ok(true))?,
            is_empty: objects.is_empty(),
            capacity: None,
            latency,
            clock_skew_ms: date.map(|date| difference_ms(date, self.client.now())),
            object_lock,
        })
    }

    /// The fastest answer, and the server's time.
    async fn try_object(&self) -> Result<(Duration, Option<SystemTime>)> {
        let key = format!("{}{}", self.layout.prefix(), probe_name());
        let body = Bytes::from_static(PROBE_TEXT);
        let mut fastest = Duration::MAX;
        let mut date = None;
        for method in ["PUT", "GET"] {
            let start = Instant::now();
            let content = if method == "PUT" { body.clone() } else { Bytes::new() };
            let call = Call { method, key: &key, body: content, ..Call::default() };
            let answer = self.client.ask(OPERATION, call).await?;
            fastest = fastest.min(start.elapsed());
            date = answer.date();
            if method == "GET" && answer.body != body {
                return Err(wrong("what was written cannot be read back"));
            }
        }
        if self.client.objects(OPERATION, &key, true).await?.is_empty() {
            return Err(wrong("what was written is not listed"));
        }
        self.remove_probe(&key).await?;
        Ok((fastest, date))
    }

    /// A bucket may protect by itself whatever is written: then the probe stays, and that is no error.
    async fn remove_probe(&self, key: &str) -> Result<()> {
        match self.remove_key(FileKind::Lock, &FileId::CONFIG, key).await {
            Err(error) if error.kind() == ErrorKind::Protected => Ok(()),
            removed => removed,
        }
    }
}

fn wrong(message: &str) -> Error {
    Error::new(ErrorKind::Other, OPERATION, message)
}
