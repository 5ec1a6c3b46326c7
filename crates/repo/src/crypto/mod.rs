//! Encryption: AES-256-CTR with Poly1305-AES, a key per repository, scrypt for passwords.
//!
//! The construction is given by the format (restic's design document, "Keys, Encryption and MAC"): the nonce of 16
//! bytes is the initial counter block; the tag is Poly1305 over the ciphertext under `r` with `AES-128_k(nonce)`
//! as its one-time pad. A sealed message is `nonce ‖ ciphertext ‖ tag`.

mod kdf;
mod key;

pub use kdf::Kdf;
pub(crate) use kdf::KdfParameters;
pub(crate) use key::{Key, MasterKey, OVERHEAD_BYTES, OVERHEAD_BYTES_U32};
