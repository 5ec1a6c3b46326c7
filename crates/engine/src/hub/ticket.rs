//! The secret by which a Node sends for one session.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::TryRngCore;
use rand::rngs::OsRng;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::{Error, Result};

/// What sessions are found by: the hash of the ticket. Looking it up tells an attacker nothing by its timing,
/// because he cannot choose the hash.
pub(crate) type TicketDigest = [u8; 32];

/// A ticket and its term.
pub(crate) struct Ticket {
    text: Zeroizing<String>,
    expires_at: Instant,
}

impl Ticket {
    /// A fresh ticket of 32 random bytes.
    ///
    /// # Errors
    /// [`Error::Internal`] if the system has no randomness to give.
    pub(crate) fn generate(lifetime: Duration) -> Result<Self> {
        let mut secret = Zeroizing::new([0; 32]);
        OsRng
            .try_fill_bytes(secret.as_mut_slice())
            .map_err(|_| Error::Internal("The system has no randomness".into()))?;
        let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(secret.as_slice()));
        Ok(Self { text, expires_at: Instant::now() + lifetime })
    }

    /// The text that the Node shows.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn digest(&self) -> TicketDigest {
        digest_of(&self.text)
    }

    pub(crate) fn is_expired(&self) -> bool {
        Instant::now() >= self.expires_at
    }
}

/// The digest that a shown ticket is looked up by.
pub(crate) fn digest_of(text: &str) -> TicketDigest {
    Sha256::digest(text).into()
}
