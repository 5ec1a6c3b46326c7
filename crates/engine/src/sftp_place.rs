//! A folder of an SSH server as the place of a repository.

use sendense_repo::Secret;
use sendense_storage::Storage;
use sendense_storage_remote::PlaceProbe;
use sendense_storage_sftp::{SftpOptions, SftpStorage};

use crate::Result;

/// Where an SSH server is, and who we are to it.
#[derive(Clone, Debug)]
pub struct SftpPlace {
    /// Name or address.
    pub host: String,
    /// Usually 22.
    pub port: u16,
    /// Whose folder it is.
    pub username: String,
    /// The folder. Without a slash at its beginning it lies in the home of the user.
    pub path: String,
    /// As OpenSSH writes it, without a passphrase.
    pub private_key: Secret,
    /// The one host key that is accepted, as in `known_hosts`.
    pub host_key: String,
}

impl SftpPlace {
    pub(crate) async fn open(&self) -> Result<SftpStorage> {
        let options = SftpOptions {
            host: &self.host,
            port: self.port,
            username: &self.username,
            path: &self.path,
            private_key: &self.private_key,
            host_key: &self.host_key,
        };
        Ok(SftpStorage::open(options).await.map_err(sendense_repo::Error::from)?)
    }

    pub(crate) async fn probe(&self) -> Result<PlaceProbe> {
        let storage = self.open().await?;
        let tried = storage.try_folder().await.map_err(sendense_repo::Error::from)?;
        Ok(PlaceProbe {
            is_repository: storage.is_initialised().await.map_err(sendense_repo::Error::from)?,
            is_empty: tried.is_empty,
            capacity: storage.capacity().await.map_err(sendense_repo::Error::from)?,
            latency: tried.latency,
            is_durable: tried.is_durable,
            clock_skew_ms: None,
            object_lock: None,
        })
    }
}
