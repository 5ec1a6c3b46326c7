//! A REST server as the place of a repository.

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use rand::Rng;
use sendense_repo::Secret;
use sendense_storage::{Error as StorageError, ErrorKind, FileId, FileKind, Storage};
use sendense_storage_remote::{ObjectLockProbe, PlaceProbe};
use sendense_storage_rest::{RestOptions, RestStorage};
use sendense_tls_pin::CertificatePin;
use sha2::{Digest, Sha256};

use crate::{Error, Result};

const OPERATION: &str = "probe";

/// Where a REST server is, and who we are to it.
#[derive(Clone, Debug)]
pub struct RestPlace {
    /// `https://host:port/repository/`; without TLS on a loopback address only.
    pub url: String,
    /// Name of the credential.
    pub username: String,
    /// Its password.
    pub password: Secret,
    /// The one certificate that is trusted; the roots of the system if absent.
    pub certificate_sha256: Option<String>,
}

impl RestPlace {
    pub(crate) async fn open(&self) -> Result<RestStorage> {
        let pin = self.certificate_sha256.as_deref().map(str::parse::<CertificatePin>).transpose()?;
        let password = std::str::from_utf8(self.password.expose())
            .map_err(|_| Error::Request("The password for the server is not text".into()))?;
        let options = RestOptions {
            url: &self.url,
            username: &self.username,
            password,
            certificate_sha256: pin.as_ref().map(CertificatePin::sha256),
        };
        Ok(RestStorage::open(options).await.map_err(sendense_repo::Error::from)?)
    }

    /// Tries the server out. What is written is called a lock: the only kind of file that a writer may remove again.
    pub(crate) async fn probe(&self) -> Result<PlaceProbe> {
        let start = Instant::now();
        let storage = self.open().await?;
        let connected = start.elapsed();
        let tried = try_file(&storage).await.map_err(sendense_repo::Error::from)?;
        let protection = storage.protection_policy();
        let probe = PlaceProbe {
            is_repository: storage.is_initialised().await.map_err(sendense_repo::Error::from)?,
            is_empty: tried.as_ref().is_none_or(|tried| tried.is_empty),
            capacity: storage.capacity().await.map_err(sendense_repo::Error::from)?,
            latency: tried.map_or(connected, |tried| tried.latency),
            is_durable: true,
            clock_skew_ms: storage.clock_ahead_ms(),
            object_lock: Some(ObjectLockProbe {
                is_enabled: protection.is_some(),
                default: protection.map(|policy| (policy.mode, policy.window)),
            }),
        };
        Ok(probe)
    }
}

struct Tried {
    is_empty: bool,
    latency: Duration,
}

/// Writes, reads back, lists and removes a file. `None` when there is no repository to write to yet: the first one
/// makes its folder.
async fn try_file(storage: &RestStorage) -> Result<Option<Tried>, StorageError> {
    let mut is_empty = true;
    for kind in [FileKind::Key, FileKind::Snapshot, FileKind::Index] {
        match storage.list(kind).await {
            Ok(files) => is_empty &= files.is_empty(),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    let content = Bytes::from(format!(
        "A test of the place made this file, which may be removed: {:032x} at {:?}\n",
        rand::rng().random::<u128>(),
        SystemTime::now()
    ));
    let id = FileId::new(Sha256::digest(&content).into());
    let start = Instant::now();
    storage.write(FileKind::Lock, &id, content.clone()).await?;
    let latency = start.elapsed();
    let checked = check_file(storage, &id, &content).await;
    let removed = storage.remove(FileKind::Lock, &id).await;
    checked.and(removed)?;
    Ok(Some(Tried { is_empty, latency }))
}

async fn check_file(storage: &RestStorage, id: &FileId, content: &Bytes) -> Result<(), StorageError> {
    let wrong = |message: &str| StorageError::new(ErrorKind::Other, OPERATION, message);
    if storage.read(FileKind::Lock, id).await? != *content {
        return Err(wrong("what was written cannot be read back"));
    }
    if storage.list(FileKind::Lock).await?.iter().all(|file| file.id != *id) {
        return Err(wrong("what was written is not listed"));
    }
    Ok(())
}
