//! Sealing and opening.

use aes::cipher::generic_array::GenericArray;
use aes::cipher::{BlockEncrypt, KeyInit, KeyIvInit, StreamCipher};
use aes::{Aes128, Aes256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use poly1305::Poly1305;
use rand::RngCore;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const NONCE_BYTES: usize = 16;
const TAG_BYTES: usize = 16;

/// What sealing adds to a message.
pub(crate) const OVERHEAD_BYTES: usize = NONCE_BYTES + TAG_BYTES;

/// The same for lengths as the format writes them.
pub(crate) const OVERHEAD_BYTES_U32: u32 = 32;
const _: () = assert!(OVERHEAD_BYTES_U32 as usize == OVERHEAD_BYTES);

/// The counter is the whole block of 128 bits. A narrower one would differ from other readers of the format for
/// the rare nonces that overflow it.
type Aes256Ctr = ctr::Ctr128BE<Aes256>;

/// The bytes did not come from a holder of the key, or were changed since.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the authentication code does not match")]
pub(crate) struct Unauthentic;

/// The three secrets of a key: for the cipher and, in two parts, for the authentication code.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct Key {
    encrypt: [u8; 32],
    mac_k: [u8; 16],
    mac_r: [u8; 16],
}

impl Key {
    /// Splits 64 bytes, as scrypt derives them.
    pub(crate) fn from_bytes(bytes: &[u8; 64]) -> Self {
        let mut key = Self { encrypt: [0; 32], mac_k: [0; 16], mac_r: [0; 16] };
        key.encrypt.copy_from_slice(&bytes[..32]);
        key.mac_k.copy_from_slice(&bytes[32..48]);
        key.mac_r.copy_from_slice(&bytes[48..]);
        key
    }

    /// A new key from the operating system's randomness.
    pub(crate) fn random() -> Self {
        let mut bytes = Zeroizing::new([0; 64]);
        rand::rng().fill_bytes(bytes.as_mut());
        Self::from_bytes(&bytes)
    }

    /// The message `nonce ‖ ciphertext ‖ tag` for these bytes.
    pub(crate) fn seal(&self, plain: &[u8]) -> Vec<u8> {
        let mut message = Vec::with_capacity(plain.len() + OVERHEAD_BYTES);
        self.seal_into(&mut message, plain);
        message
    }

    /// Appends the sealed message to `out`: one copy, then everything in place.
    pub(crate) fn seal_into(&self, out: &mut Vec<u8>, plain: &[u8]) {
        let mut nonce = [0; NONCE_BYTES];
        rand::rng().fill_bytes(&mut nonce);
        out.extend_from_slice(&nonce);
        let start = out.len();
        out.extend_from_slice(plain);
        let text = &mut out[start..];
        Aes256Ctr::new((&self.encrypt).into(), (&nonce).into()).apply_keystream(text);
        let tag = self.tag(&nonce, text);
        out.extend_from_slice(&tag);
    }

    /// Opens a message in place and returns the part of it that is the plain text.
    pub(crate) fn open_in_place<'a>(&self, message: &'a mut [u8]) -> Result<&'a mut [u8], Unauthentic> {
        let (nonce, rest) = message.split_first_chunk_mut::<NONCE_BYTES>().ok_or(Unauthentic)?;
        let (text, tag) = rest.split_last_chunk_mut::<TAG_BYTES>().ok_or(Unauthentic)?;
        if !is_equal(&self.tag(nonce, text), tag) {
            return Err(Unauthentic);
        }
        Aes256Ctr::new((&self.encrypt).into(), (&*nonce).into()).apply_keystream(text);
        Ok(text)
    }

    /// Opens a copy of a message.
    pub(crate) fn open(&self, message: &[u8]) -> Result<Vec<u8>, Unauthentic> {
        let mut copy = message.to_vec();
        let len = self.open_in_place(&mut copy)?.len();
        copy.drain(..NONCE_BYTES);
        copy.truncate(len);
        Ok(copy)
    }

    fn tag(&self, nonce: &[u8; NONCE_BYTES], text: &[u8]) -> [u8; TAG_BYTES] {
        let mut pad = GenericArray::from(*nonce);
        Aes128::new((&self.mac_k).into()).encrypt_block(&mut pad);
        let mut one_time_key = Zeroizing::new([0; 32]);
        one_time_key[..16].copy_from_slice(&self.mac_r);
        one_time_key[16..].copy_from_slice(&pad);
        Poly1305::new((&*one_time_key).into()).compute_unpadded(text).into()
    }
}

/// Compares without telling by its duration where the difference is.
fn is_equal(left: &[u8; TAG_BYTES], right: &[u8; TAG_BYTES]) -> bool {
    left.iter().zip(right).fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
}

/// The JSON form of a key, as it lies sealed in a key file.
#[derive(Serialize, Deserialize)]
pub(crate) struct MasterKey {
    mac: MasterMac,
    encrypt: String,
}

#[derive(Serialize, Deserialize)]
struct MasterMac {
    k: String,
    r: String,
}

impl MasterKey {
    pub(crate) fn from_key(key: &Key) -> Self {
        let mac = MasterMac { k: BASE64.encode(key.mac_k), r: BASE64.encode(key.mac_r) };
        Self { mac, encrypt: BASE64.encode(key.encrypt) }
    }

    /// `None` when a part is not Base64 of the right length, or is all zero.
    pub(crate) fn to_key(&self) -> Option<Key> {
        let key =
            Key { encrypt: decode(&self.encrypt)?, mac_k: decode(&self.mac.k)?, mac_r: decode(&self.mac.r)? };
        let is_valid = key.encrypt != [0; 32] && key.mac_k != [0; 16] && key.mac_r != [0; 16];
        is_valid.then_some(key)
    }
}

impl Drop for MasterKey {
    fn drop(&mut self) {
        self.mac.k.zeroize();
        self.mac.r.zeroize();
        self.encrypt.zeroize();
    }
}

fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    Zeroizing::new(BASE64.decode(text).ok()?).as_slice().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_again() {
        let key = Key::random();
        for len in [0, 1, 15, 16, 17, 100_000] {
            let plain = vec![7; len];
            let message = key.seal(&plain);
            assert_eq!(message.len(), len + OVERHEAD_BYTES);
            assert_eq!(key.open(&message), Ok(plain));
        }
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let key = Key::random();
        let message = key.seal(b"a short message");
        for byte in 0..message.len() {
            let mut changed = message.clone();
            changed[byte] ^= 0x10;
            assert_eq!(key.open(&changed), Err(Unauthentic), "byte {byte}");
        }
    }

    #[test]
    fn a_message_that_is_too_short_or_of_another_key_does_not_open() {
        let message = Key::random().seal(b"");
        assert_eq!(Key::random().open(&message), Err(Unauthentic));
        for len in 0..OVERHEAD_BYTES {
            assert_eq!(Key::random().open(&message[..len]), Err(Unauthentic));
        }
    }

    /// The keystream of a nonce of sixteen 0xff, made with `openssl enc -aes-256-ctr`: the second block has
    /// counter zero, which a counter of 64 or 32 bits would get wrong.
    #[test]
    fn the_counter_overflows_as_128_bits() {
        let mut text = [0; 32];
        Aes256Ctr::new(&[0x42; 32].into(), &[0xff; 16].into()).apply_keystream(&mut text);
        assert_eq!(hex::encode(text), OVERFLOW_KEYSTREAM);
    }

    const OVERFLOW_KEYSTREAM: &str = "8b7ebf7d5a3123d31dc6ac6f4c1cca57bfb6d89c222a66f0fff7def5b86b3a2f";

    #[test]
    fn a_key_survives_its_json_form() {
        let key = Key::random();
        let json = serde_json::to_vec(&MasterKey::from_key(&key)).unwrap();
        let again = serde_json::from_slice::<MasterKey>(&json).unwrap().to_key().unwrap();
        assert_eq!(again.open(&key.seal(b"x")), Ok(b"x".to_vec()));
    }
}
