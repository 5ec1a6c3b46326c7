//! Removing objects so that they are gone, or saying why they are not.

use sendense_storage::{Error, ErrorKind, FileId, FileKind, Result};

use super::S3Storage;
use super::listing::Versions;
use crate::call::{Call, parse_xml};

const OPERATION: &str = "remove";

impl S3Storage {
    pub(super) async fn remove_key(&self, kind: FileKind, id: &FileId, key: &str) -> Result<()> {
        if !*self.has_versions.get_or_try_init(|| self.ask_for_versions()).await? {
            return self.delete(key, None).await;
        }
        let Versions { objects, markers } = self.client.versions_of(OPERATION, key).await?;
        // The oldest one is the file. If it must stay, everything stays, so that the refusal has changed nothing.
        for (version, _) in objects.iter().rev() {
            if let Err(error) = self.delete(key, Some(version)).await {
                return Err(self.refusal(kind, id, key, version, error).await);
            }
        }
        for marker in &markers {
            self.delete(key, Some(marker)).await?;
        }
        Ok(())
    }

    /// Says until when a version is protected, if that is why it cannot be removed.
    async fn refusal(&self, kind: FileKind, id: &FileId, key: &str, version: &str, error: Error) -> Error {
        if error.is_temporary() {
            return error;
        }
        match self.client.retention(OPERATION, key, version).await {
            Ok(Some(protection)) if protection.is_in_force_at(self.client.now()) => {
                Error::protected(kind, id, protection.until)
            }
            _ => error,
        }
    }

    /// A version or, in a bucket without them, the object. What is not there is success.
    async fn delete(&self, key: &str, version: Option<&str>) -> Result<()> {
        let query = version.map(|version| ("versionId", version)).into_iter().collect();
        let outcome =
            self.client.send(OPERATION, Call { method: "DELETE", key, query, ..Call::default() }).await?;
        if outcome.is_refused_with(&["NoSuchKey", "NoSuchVersion"]) {
            return Ok(());
        }
        outcome.accepted(OPERATION).map(|_| ())
    }

    /// A bucket that once had versions may still hold some, so only "never had any" is no.
    async fn ask_for_versions(&self) -> Result<bool> {
        let call = Call { method: "GET", query: vec![("versioning", "")], ..Call::default() };
        let outcome = self.client.send(OPERATION, call).await?;
        if outcome.is_refused_with(&["NotImplemented", "VersioningNotConfigured"]) {
            return Ok(false);
        }
        match outcome.accepted(OPERATION).and_then(|answer| parse_xml(OPERATION, &answer)) {
            Ok(document) => Ok(matches!(document.text_of("Status"), Some("Enabled" | "Suspended"))),
            // Who may not ask will be told when removing.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(self.policy.is_some()),
            Err(error) => Err(error),
        }
    }
}
