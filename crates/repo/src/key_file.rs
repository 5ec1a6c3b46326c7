//! Key files: the master key, sealed with a key that scrypt makes of a password.

use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use rand::RngCore;
use sendense_storage::{FileKind, Storage};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::blocking::blocking;
use crate::crypto::{Kdf, KdfParameters, Key, MasterKey};
use crate::id::KeyId;
use crate::{Error, Result, Secret, host, timestamp};

const SALT_BYTES: usize = 64;

/// An administrator may have added keys, an attacker thousands, each costing us half a second.
const KEYS_MAX: usize = 20;

#[derive(Serialize, Deserialize)]
struct KeyFile {
    created: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    hostname: String,
    kdf: String,
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
    salt: String,
    data: String,
    /// Keys that this one has taken the place of, and that could not be removed yet. restic ignores the field.
    #[serde(default, rename = "sendenseSupersedes", skip_serializing_if = "Vec::is_empty")]
    supersedes: Vec<KeyId>,
}

/// What a key file says of itself, for people.
pub(crate) struct Described {
    pub(crate) created_at: Option<SystemTime>,
    pub(crate) username: String,
    pub(crate) hostname: String,
    pub(crate) supersedes: Vec<KeyId>,
}

/// Makes the key file that opens `master` with `password`, and writes it.
pub(crate) async fn create(
    storage: &dyn Storage,
    master: &Key,
    password: &Secret,
    kdf: Kdf,
    supersedes: Vec<KeyId>,
) -> Result<KeyId> {
    let (master, password) = (master.clone(), password.clone());
    let content = blocking(move || seal(&master, &password, kdf, supersedes)).await?;
    let id = KeyId::of(&content);
    storage.write(FileKind::Key, &id.into(), content).await?;
    Ok(id)
}

/// Reads who made a key file, and when.
pub(crate) async fn describe(storage: &dyn Storage, id: KeyId) -> Result<Described> {
    let content = storage.read(FileKind::Key, &id.into()).await?;
    let file: KeyFile =
        serde_json::from_slice(&content).map_err(|error| Error::damaged(FileKind::Key, &id, &error))?;
    Ok(Described {
        created_at: timestamp::parse(&file.created),
        username: file.username,
        hostname: file.hostname,
        supersedes: file.supersedes,
    })
}

/// Whether the password opens this key file.
pub(crate) async fn opens(storage: &dyn Storage, id: KeyId, password: &Secret) -> Result<bool> {
    let content = storage.read(FileKind::Key, &id.into()).await?;
    let password = password.clone();
    blocking(move || open(id, &content, &password).map(|key| key.is_some())).await
}

/// Finds the key that the password opens and that is the one of this repository. Others are left of attempts to make one.
pub(crate) async fn find<T>(
    storage: &dyn Storage,
    password: &Secret,
    accept: impl Fn(&Key) -> Result<T>,
) -> Result<(KeyId, Key, T)> {
    let mut files = storage.list(FileKind::Key).await?;
    files.sort_unstable();
    let mut failure = Error::WrongPassword;
    for file in files.iter().take(KEYS_MAX) {
        let content = storage.read(FileKind::Key, &file.id).await?;
        let (id, password) = (KeyId::from(file.id), password.clone());
        match blocking(move || open(id, &content, &password)).await {
            Ok(Some(key)) => match accept(&key) {
                Ok(accepted) => return Ok((id, key, accepted)),
                Err(error) => failure = error,
            },
            Ok(None) => {}
            // Another key may open; if none does, the damaged one may be the reason.
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

fn seal(master: &Key, password: &Secret, kdf: Kdf, supersedes: Vec<KeyId>) -> Result<Bytes> {
    let unacceptable = || Error::Unacceptable { reason: "the parameters of the key derivation".into() };
    let parameters = KdfParameters::choose(kdf).ok_or_else(unacceptable)?;
    let mut salt = [0; SALT_BYTES];
    rand::rng().fill_bytes(&mut salt);
    let user_key = parameters.derive(password, &salt).ok_or_else(unacceptable)?;
    let internal = |error: serde_json::Error| Error::Internal { reason: error.to_string() };
    let plain = Zeroizing::new(serde_json::to_vec(&MasterKey::from_key(master)).map_err(internal)?);
    let file = KeyFile {
        created: timestamp::format(SystemTime::now()),
        username: host::username(),
        hostname: host::hostname(),
        kdf: "scrypt".into(),
        n: parameters.n(),
        r: parameters.r,
        p: parameters.p,
        salt: BASE64.encode(salt),
        data: BASE64.encode(user_key.seal(&plain)),
        supersedes,
    };
    Ok(serde_json::to_vec(&file).map_err(internal)?.into())
}

/// The master key, or `None` when the password is not the one of this file.
fn open(id: KeyId, content: &[u8], password: &Secret) -> Result<Option<Key>> {
    let damaged = |reason: &str| Error::damaged(FileKind::Key, &id, &reason);
    let file: KeyFile = serde_json::from_slice(content).map_err(|error| damaged(&error.to_string()))?;
    if file.kdf != "scrypt" {
        return Err(damaged("its key derivation is unknown"));
    }
    let parameters = KdfParameters::checked(file.n, file.r, file.p)
        .ok_or_else(|| damaged("its parameters of scrypt are out of bounds"))?;
    let salt = BASE64.decode(&file.salt).map_err(|_| damaged("its salt is not Base64"))?;
    let mut data =
        BASE64.decode(&file.data).map(Zeroizing::new).map_err(|_| damaged("its data are not Base64"))?;
    let user_key = parameters.derive(password, &salt).ok_or_else(|| damaged("scrypt refuses it"))?;
    let Ok(plain) = user_key.open_in_place(&mut data) else { return Ok(None) };
    let master = serde_json::from_slice::<MasterKey>(plain).ok().and_then(|master| master.to_key());
    master.map(Some).ok_or_else(|| damaged("it holds no key"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAST: Kdf = Kdf::Fixed { log_n: 10, r: 8, p: 1 };

    #[test]
    fn only_the_right_password_opens_a_key_file() {
        let (master, password) = (Key::random(), Secret::new("correct horse"));
        let content = seal(&master, &password, FAST, Vec::new()).unwrap();
        let id = KeyId::of(&content);
        let opened = open(id, &content, &password).unwrap().unwrap();
        assert_eq!(opened.open(&master.seal(b"x")), Ok(b"x".to_vec()));
        assert!(open(id, &content, &Secret::new("wrong horse")).unwrap().is_none());
    }

    #[test]
    fn a_key_file_that_asks_for_endless_work_is_damaged() {
        let content = seal(&Key::random(), &Secret::new("x"), FAST, Vec::new()).unwrap();
        let mut file: serde_json::Value = serde_json::from_slice(&content).unwrap();
        file["N"] = (1_u64 << 40).into();
        let content = serde_json::to_vec(&file).unwrap();
        let result = open(KeyId::of(&content), &content, &Secret::new("x"));
        assert!(matches!(result, Err(Error::Damaged { .. })));
    }
}
