//! Who may do what. The file holds hashes of passwords only (scrypt), and names the repositories of each.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::HeaderValue;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

/// Shorter passwords can be guessed from their hash.
const PASSWORD_BYTES_MIN: usize = 16;
const PASSWORD_BYTES_MAX: usize = 1024;
const HASH_BYTES: usize = 32;
/// 2^15 × 8 × 128 bytes = 32 MiB and some 50 ms a guess.
const LOG_N: u8 = 15;
const BLOCK_SIZE: u32 = 8;
/// Hashes that are computed at a time; the rest waits. Passwords that were right before need none.
const HASHES_AT_A_TIME: usize = 2;

/// What a credential may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Create, read, list; remove locks. Never remove or replace anything else.
    Writer,
    /// All of that, and remove what is no longer protected; make the window longer.
    Keeper,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Writer => "writer",
            Self::Keeper => "keeper",
        })
    }
}

/// One entry of the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Credential {
    /// What it may do.
    pub role: Role,
    /// Where it may do it.
    pub repositories: Vec<String>,
    /// Of the password.
    scrypt: PasswordHash,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PasswordHash {
    log_n: u8,
    salt: String,
    hash: String,
}

/// A password cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "A password must have {PASSWORD_BYTES_MIN} to {PASSWORD_BYTES_MAX} bytes; `openssl rand -base64 24` makes one"
)]
pub struct UnfitPassword;

impl Credential {
    /// Hashes the password.
    ///
    /// # Errors
    /// [`UnfitPassword`] when it is too short to withstand guessing.
    pub fn new(role: Role, repositories: Vec<String>, password: &str) -> Result<Self, UnfitPassword> {
        if !(PASSWORD_BYTES_MIN..=PASSWORD_BYTES_MAX).contains(&password.len()) {
            return Err(UnfitPassword);
        }
        let salt: [u8; 16] = rand::random();
        let hash = hash(password, &salt, LOG_N).ok_or(UnfitPassword)?;
        let scrypt = PasswordHash { log_n: LOG_N, salt: STANDARD.encode(salt), hash: STANDARD.encode(*hash) };
        Ok(Self { role, repositories, scrypt })
    }

    fn has_password(&self, password: &str) -> bool {
        let Ok(salt) = STANDARD.decode(&self.scrypt.salt) else { return false };
        let Ok(expected) = STANDARD.decode(&self.scrypt.hash) else { return false };
        hash(password, &salt, self.scrypt.log_n).is_some_and(|hash| equal(&*hash, &expected))
    }
}

/// The whole file: credentials by name.
pub type CredentialsFile = BTreeMap<String, Credential>;

fn hash(password: &str, salt: &[u8], log_n: u8) -> Option<Zeroizing<[u8; HASH_BYTES]>> {
    let parameters = scrypt::Params::new(log_n, BLOCK_SIZE, 1, HASH_BYTES).ok()?;
    let mut hash = Zeroizing::new([0; HASH_BYTES]);
    scrypt::scrypt(password.as_bytes(), salt, &parameters, &mut *hash).ok()?;
    Some(hash)
}

/// Compares in a time that depends on the lengths alone.
fn equal(left: &[u8], right: &[u8]) -> bool {
    let difference = left.iter().zip(right).fold(0, |all, (left, right)| all | (left ^ right));
    left.len() == right.len() && std::hint::black_box(difference) == 0
}

/// Somebody who has shown the right password.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) repositories: Vec<String>,
}

/// Checks who is asking.
#[derive(Debug)]
pub(crate) struct Doorkeeper {
    credentials: CredentialsFile,
    /// Right answers, by a hash that only this process can compute: scrypt at every request would be too slow.
    known: Mutex<HashMap<[u8; 32], Access>>,
    secret: Zeroizing<[u8; 32]>,
    hashing: Arc<Semaphore>,
    /// Hashed for names that do not exist, so that they take as long.
    nobody: Credential,
}

impl Doorkeeper {
    pub(crate) fn new(credentials: CredentialsFile) -> Self {
        let scrypt = PasswordHash { log_n: LOG_N, salt: STANDARD.encode([0; 16]), hash: String::new() };
        Self {
            credentials,
            known: Mutex::default(),
            secret: Zeroizing::new(rand::random()),
            hashing: Arc::new(Semaphore::new(HASHES_AT_A_TIME)),
            nobody: Credential { role: Role::Writer, repositories: Vec::new(), scrypt },
        }
    }

    /// Whoever `Authorization: Basic …` proves to be.
    pub(crate) async fn admit(&self, header: Option<&HeaderValue>) -> Option<Access> {
        let encoded = header?.to_str().ok()?.strip_prefix("Basic ")?;
        let text = Zeroizing::new(STANDARD.decode(encoded).ok()?);
        let (name, password) = std::str::from_utf8(&text).ok()?.split_once(':')?;
        if password.len() > PASSWORD_BYTES_MAX {
            return None;
        }
        let fingerprint: [u8; 32] =
            Sha256::new().chain_update(*self.secret).chain_update(&**text).finalize().into();
        if let Some(access) = self.known().get(&fingerprint) {
            return Some(access.clone());
        }
        let place = Arc::clone(&self.hashing).acquire_owned().await.ok()?;
        let credential = self.credentials.get(name).unwrap_or(&self.nobody).clone();
        let password = Zeroizing::new(password.to_owned());
        let (role, repositories) = (credential.role, credential.repositories.clone());
        let check = tokio::task::spawn_blocking(move || {
            let _held_while_hashing = place;
            credential.has_password(&password)
        });
        if !check.await.ok()? {
            return None;
        }
        let access = Access { name: name.to_owned(), role, repositories };
        self.known().insert(fingerprint, access.clone());
        Some(access)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<[u8; 32], Access>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: &str = "a long enough password";

    fn header(text: &str) -> HeaderValue {
        HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(text))).unwrap()
    }

    #[tokio::test]
    async fn only_the_right_password_of_the_right_name_is_admitted_time_and_again() {
        let credential = Credential::new(Role::Keeper, vec!["vault".into()], PASSWORD).unwrap();
        let keeper = Doorkeeper::new([("hub".to_owned(), credential)].into());
        for _ in 0..2 {
            let access = keeper.admit(Some(&header(&format!("hub:{PASSWORD}")))).await.unwrap();
            assert_eq!((access.name.as_str(), access.role), ("hub", Role::Keeper));
            for wrong in ["hub:", "hub:wrong", "hub", ":", "bob:", &format!("bob:{PASSWORD}")] {
                assert!(keeper.admit(Some(&header(wrong))).await.is_none(), "{wrong}");
            }
        }
        assert!(keeper.admit(None).await.is_none());
        assert!(keeper.admit(Some(&HeaderValue::from_static("Bearer x"))).await.is_none());
    }

    #[test]
    fn the_file_holds_no_password() {
        let credential = Credential::new(Role::Writer, vec!["vault".into()], PASSWORD).unwrap();
        let text = serde_json::to_string(&credential).unwrap();
        assert!(!text.contains(PASSWORD), "{text}");
        assert!(serde_json::from_str::<Credential>(&text).unwrap().has_password(PASSWORD));
        assert!(Credential::new(Role::Writer, Vec::new(), "too short").is_err());
    }
}
