//! The test for zero: every byte that is read passes it, so it must cost nothing beside reading memory.

/// Bytes looked at before deciding whether to go on; a multiple of every vector register.
const STRIDE: usize = 1024;

/// Whether all bytes are zero. Of nothing, too.
#[must_use]
pub fn is_zero(bytes: &[u8]) -> bool {
    let (strides, rest) = bytes.as_chunks::<STRIDE>();
    // Or-ing a whole stride without leaving it is what the compiler turns into vector instructions.
    strides.iter().all(|stride| stride.iter().fold(0, |any, byte| any | byte) == 0)
        && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_bit_is_found_wherever_it_is() {
        for length in [0, 1, 1023, 1024, 1025, 5000] {
            let mut bytes = vec![0; length];
            assert!(is_zero(&bytes));
            for position in 0..length {
                bytes[position] = 0x80;
                assert!(!is_zero(&bytes), "{position} of {length}");
                bytes[position] = 0;
            }
        }
    }
}
