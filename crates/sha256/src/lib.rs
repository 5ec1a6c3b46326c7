//! SHA-256 of two messages at the same time.
//!
//! The SHA instructions of a processor wait for each other's results: a second message in the gaps costs almost
//! nothing. Where there are no such instructions, this is the `sha2` crate, one message after the other
//! (`docs/decisions/0027-two-hashes-at-a-time.md`).

mod compress;

use compress::{BLOCK_BYTES, Block, INITIAL, State, compress, compress_both};

/// A SHA-256.
pub type Digest = [u8; 32];

/// Where the length of the message begins in its last block.
const LENGTH_AT: usize = BLOCK_BYTES - size_of::<u64>();

/// A hash that goes on.
#[derive(Clone, Debug)]
pub struct Sha256 {
    state: State,
    /// The beginning of the block that is not complete.
    pending: Block,
    length: u64,
}

impl Default for Sha256 {
    fn default() -> Self {
        Self { state: INITIAL, pending: [0; BLOCK_BYTES], length: 0 }
    }
}

impl Sha256 {
    /// The hash of one message.
    #[must_use]
    pub fn digest(message: &[u8]) -> Digest {
        let mut hash = Self::default();
        hash.update(message);
        hash.finish()
    }

    /// The hashes of two messages, fastest if they are of about the same length.
    #[must_use]
    pub fn digest_both([first, second]: [&[u8]; 2]) -> [Digest; 2] {
        let [mut one, mut other] = [Self::default(), Self::default()];
        Self::update_both([(&mut one, first), (&mut other, second)]);
        Self::finish_both([one, other])
    }

    /// Goes on with these bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let blocks = self.take_in(bytes);
        compress(&mut self.state, blocks);
    }

    /// Two hashes go on with their bytes.
    pub fn update_both([(one, first), (other, second)]: [(&mut Self, &[u8]); 2]) {
        let (first, second) = (one.take_in(first), other.take_in(second));
        let common = first.len().min(second.len());
        let ((first, first_rest), (second, second_rest)) = (first.split_at(common), second.split_at(common));
        compress_both([&mut one.state, &mut other.state], [first, second]);
        compress(&mut one.state, first_rest);
        compress(&mut other.state, second_rest);
    }

    /// The hash of all bytes.
    #[must_use]
    pub fn finish(mut self) -> Digest {
        let (end, blocks) = self.end();
        compress(&mut self.state, &end[..blocks]);
        self.bytes()
    }

    /// The hashes of all bytes of each.
    #[must_use]
    pub fn finish_both([mut one, mut other]: [Self; 2]) -> [Digest; 2] {
        let ((first, first_blocks), (second, second_blocks)) = (one.end(), other.end());
        let common = first_blocks.min(second_blocks);
        compress_both([&mut one.state, &mut other.state], [&first[..common], &second[..common]]);
        compress(&mut one.state, &first[common..first_blocks]);
        compress(&mut other.state, &second[common..second_blocks]);
        [one.bytes(), other.bytes()]
    }

    fn pending_bytes(&self) -> usize {
        usize::from(self.length.to_le_bytes()[0]) % BLOCK_BYTES
    }

    /// Completes the pending block, keeps what does not fill a block, and returns the blocks between.
    fn take_in<'a>(&mut self, bytes: &'a [u8]) -> &'a [Block] {
        let pending = self.pending_bytes();
        self.length = self.length.wrapping_add(bytes.len() as u64);
        let mut rest = bytes;
        if pending > 0 {
            let (missing, behind) = bytes.split_at(bytes.len().min(BLOCK_BYTES - pending));
            self.pending[pending..pending + missing.len()].copy_from_slice(missing);
            if pending + missing.len() < BLOCK_BYTES {
                return &[];
            }
            compress(&mut self.state, &[self.pending]);
            rest = behind;
        }
        let (blocks, rest) = rest.as_chunks();
        self.pending[..rest.len()].copy_from_slice(rest);
        blocks
    }

    /// The last one or two blocks: what is pending, a one bit, zeros, and the length in bits (FIPS 180-4, 5.1.1).
    fn end(&self) -> ([Block; 2], usize) {
        let pending = self.pending_bytes();
        let mut end = [[0; BLOCK_BYTES]; 2];
        end[0][..pending].copy_from_slice(&self.pending[..pending]);
        end[0][pending] = 0x80;
        let blocks = if pending < LENGTH_AT { 1 } else { 2 };
        end[blocks - 1][LENGTH_AT..].copy_from_slice(&self.length.wrapping_mul(8).to_be_bytes());
        (end, blocks)
    }

    fn bytes(&self) -> Digest {
        let mut digest = Digest::default();
        for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(self.state) {
            *bytes = word.to_be_bytes();
        }
        digest
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use sha2::Digest as _;

    use super::*;

    fn reference(message: &[u8]) -> Digest {
        sha2::Sha256::digest(message).into()
    }

    #[test]
    fn the_examples_of_the_standard_come_out() {
        let hash = |message: &[u8]| hex::encode(Sha256::digest(message));
        assert_eq!(hash(b""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(hash(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let two_blocks = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        assert_eq!(hash(two_blocks), "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    }

    #[test]
    fn every_length_around_the_ends_of_blocks_is_hashed_right_beside_every_other() {
        let message: Vec<u8> = (0..=255).collect();
        for first in 0..=200 {
            for second in [0, 1, 55, 56, 63, 64, 65, 119, 120, 128, 200] {
                let messages = [&message[..first], &message[56..56 + second]];
                let hashes = Sha256::digest_both(messages);
                assert_eq!(hashes, messages.map(reference), "{first} and {second} bytes");
                assert_eq!(Sha256::digest(messages[0]), hashes[0], "{first} bytes");
            }
        }
    }

    proptest! {
        #[test]
        fn two_hashes_that_go_on_in_any_pieces_are_those_of_the_whole(
            pieces in vec((vec(any::<u8>(), 0..300), vec(any::<u8>(), 0..300)), 0..8)
        ) {
            let mut hashes = [Sha256::default(), Sha256::default()];
            let mut whole = [Vec::new(), Vec::new()];
            for (first, second) in &pieces {
                let [one, other] = &mut hashes;
                Sha256::update_both([(one, first), (other, second)]);
                whole[0].extend_from_slice(first);
                whole[1].extend_from_slice(second);
            }
            let alone = hashes.clone().map(Sha256::finish);
            prop_assert_eq!(Sha256::finish_both(hashes), alone);
            prop_assert_eq!(alone, [reference(&whole[0]), reference(&whole[1])]);
        }
    }
}
