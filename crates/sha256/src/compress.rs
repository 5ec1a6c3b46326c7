//! The compression function, with the instructions of the processor or without.

pub(crate) const BLOCK_BYTES: usize = 64;

pub(crate) type Block = [u8; BLOCK_BYTES];
pub(crate) type State = [u32; 8];

/// FIPS 180-4, 5.3.3.
pub(crate) const INITIAL: State =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// Adds blocks to a hash.
pub(crate) fn compress(state: &mut State, blocks: &[Block]) {
    #[cfg(target_arch = "x86_64")]
    if x86::try_compress([state], [blocks]) {
        return;
    }
    portable(state, blocks);
}

/// Adds as many blocks to one hash as to another.
pub(crate) fn compress_both([one, other]: [&mut State; 2], [first, second]: [&[Block]; 2]) {
    #[cfg(target_arch = "x86_64")]
    if x86::try_compress([one, other], [first, second]) {
        return;
    }
    portable(one, first);
    portable(other, second);
}

fn portable(state: &mut State, blocks: &[Block]) {
    for block in blocks {
        sha2::compress256(state, std::slice::from_ref(block.into()));
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_extract_epi32, _mm_set_epi32, _mm_set_epi64x,
        _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8,
        _mm_shuffle_epi32,
    };
    use std::array::from_fn;

    use super::{BLOCK_BYTES, Block, State};

    const GROUPS: usize = 16;

    /// FIPS 180-4, 4.2.2, in the groups of four that the instructions take.
    const K: [[u32; 4]; GROUPS] = [
        [0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5],
        [0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5],
        [0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3],
        [0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174],
        [0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc],
        [0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da],
        [0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7],
        [0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967],
        [0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13],
        [0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85],
        [0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3],
        [0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070],
        [0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5],
        [0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
        [0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208],
        [0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2],
    ];

    /// Adds the blocks to each hash, or does nothing and says no where the processor cannot.
    pub(super) fn try_compress<const N: usize>(states: [&mut State; N], blocks: [&[Block]; N]) -> bool {
        let can = is_x86_feature_detected!("sha")
            && is_x86_feature_detected!("ssse3")
            && is_x86_feature_detected!("sse4.1");
        if can {
            #[expect(unsafe_code, reason = "a function for processors that have these instructions")]
            // SAFETY: this processor has them.
            unsafe {
                compress(states, blocks);
            };
        }
        can
    }

    /// The rounds of one hash wait for each other; those of the others go between them. Instructions and what they
    /// take are described in Intel's "SHA Extensions" (2013).
    #[target_feature(enable = "sha,ssse3,sse4.1")]
    #[expect(clippy::many_single_char_names, reason = "the names of the standard")]
    fn compress<const N: usize>(states: [&mut State; N], blocks: [&[Block]; N]) {
        let mut abef: [__m128i; N] = from_fn(|lane| {
            let [a, b, _, _, e, f, _, _] = *states[lane];
            vector([f, e, b, a])
        });
        let mut cdgh: [__m128i; N] = from_fn(|lane| {
            let [_, _, c, d, _, _, g, h] = *states[lane];
            vector([h, g, d, c])
        });
        let count = blocks.iter().map(|blocks| blocks.len()).min().unwrap_or(0);
        debug_assert!(blocks.iter().all(|blocks| blocks.len() == count), "as many blocks for each");
        #[expect(clippy::needless_range_loop, reason = "one number for all messages")]
        for number in 0..count {
            let before = (abef, cdgh);
            let mut words: [[__m128i; 4]; N] = from_fn(|lane| load(&blocks[lane][number]));
            for (pass, k) in K.as_chunks().0.iter().enumerate() {
                let [first, second, third, fourth]: &[[u32; 4]; 4] = k;
                let mut rounds = |group, k| {
                    if pass > 0 {
                        for words in &mut words {
                            words[group] = schedule(words, group);
                        }
                    }
                    let sums: [_; N] = from_fn(|lane| _mm_add_epi32(words[lane][group], vector(k)));
                    for lane in 0..N {
                        cdgh[lane] = _mm_sha256rnds2_epu32(cdgh[lane], abef[lane], sums[lane]);
                    }
                    for lane in 0..N {
                        let upper = _mm_shuffle_epi32::<0x0e>(sums[lane]);
                        abef[lane] = _mm_sha256rnds2_epu32(abef[lane], cdgh[lane], upper);
                    }
                };
                rounds(0, *first);
                rounds(1, *second);
                rounds(2, *third);
                rounds(3, *fourth);
            }
            for lane in 0..N {
                abef[lane] = _mm_add_epi32(abef[lane], before.0[lane]);
                cdgh[lane] = _mm_add_epi32(cdgh[lane], before.1[lane]);
            }
        }
        for (lane, state) in states.into_iter().enumerate() {
            let ([f, e, b, a], [h, g, d, c]) = (numbers(abef[lane]), numbers(cdgh[lane]));
            *state = [a, b, c, d, e, f, g, h];
        }
    }

    /// The next four words of the message schedule (FIPS 180-4, 6.2.2). Of the last sixteen, those of group `g` lie
    /// at `g % 4`.
    #[target_feature(enable = "sha,ssse3,sse4.1")]
    fn schedule(words: &[__m128i; 4], group: usize) -> __m128i {
        let [oldest, second, third, newest] = from_fn(|age| words[(group + age) % 4]);
        let sum = _mm_add_epi32(_mm_sha256msg1_epu32(oldest, second), _mm_alignr_epi8::<4>(newest, third));
        _mm_sha256msg2_epu32(sum, newest)
    }

    /// The sixteen words of a block, which are stored with their most significant byte first.
    #[target_feature(enable = "ssse3")]
    fn load(block: &Block) -> [__m128i; 4] {
        let reversed = _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203);
        let (parts, []) = block.as_chunks::<{ BLOCK_BYTES / 4 }>() else { unreachable!() };
        from_fn(|part| _mm_shuffle_epi8(bytes(parts[part]), reversed))
    }

    #[target_feature(enable = "sse2")]
    fn bytes(bytes: [u8; 16]) -> __m128i {
        let bits = u128::from_le_bytes(bytes).cast_signed();
        #[expect(clippy::cast_possible_truncation, reason = "one half, then the other")]
        _mm_set_epi64x((bits >> 64) as i64, bits as i64)
    }

    #[target_feature(enable = "sse2")]
    fn vector([a, b, c, d]: [u32; 4]) -> __m128i {
        _mm_set_epi32(d.cast_signed(), c.cast_signed(), b.cast_signed(), a.cast_signed())
    }

    #[target_feature(enable = "sse2,sse4.1")]
    fn numbers(vector: __m128i) -> [u32; 4] {
        [
            _mm_extract_epi32::<0>(vector).cast_unsigned(),
            _mm_extract_epi32::<1>(vector).cast_unsigned(),
            _mm_extract_epi32::<2>(vector).cast_unsigned(),
            _mm_extract_epi32::<3>(vector).cast_unsigned(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_and_the_portable_code_agree() {
        let bytes: Vec<u8> = (0..9 * BLOCK_BYTES).map(|at| (at * 31 % 251).to_le_bytes()[0]).collect();
        let (blocks, _) = bytes.as_chunks();
        let (first, second) = blocks.split_at(4);
        let second = &second[..4];
        let mut states = [INITIAL, INITIAL.map(|word| word ^ 0x1234_5678)];
        let mut expected = states;
        portable(&mut expected[0], first);
        portable(&mut expected[1], second);
        let [one, other] = &mut states;
        compress_both([one, other], [first, second]);
        assert_eq!(states, expected);
    }
}
