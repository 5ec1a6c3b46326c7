//! The number in the config that restic's content-defined chunker needs.
//!
//! We cut disks into chunks of one size and never use it, but a repository without a good one could not be used by
//! restic: it must be an irreducible polynomial over GF(2) of degree 53 (restic's design document, "Backups and
//! Deduplication"). A polynomial is a number whose bit n is the coefficient of xⁿ.

use rand::Rng;

const DEGREE: u32 = 53;

/// A random irreducible polynomial of degree 53.
pub(crate) fn random_irreducible() -> u64 {
    let mut random = rand::rng();
    loop {
        // About one of 27 such numbers is irreducible.
        let candidate = random.random::<u64>() & ((1 << DEGREE) - 1) | (1 << DEGREE) | 1;
        if is_irreducible(candidate) {
            return candidate;
        }
    }
}

/// Ben-Or's test: no common factor with `x^(2^i) - x` for any `i` up to half the degree.
pub(crate) fn is_irreducible(polynomial: u64) -> bool {
    let mut power = 2;
    for _ in 0..degree(polynomial) / 2 {
        power = multiply_modulo(power, power, polynomial);
        if greatest_common_divisor(polynomial, power ^ 2) != 1 {
            return false;
        }
    }
    degree(polynomial) > 0
}

fn degree(polynomial: u64) -> u32 {
    polynomial.checked_ilog2().unwrap_or(0)
}

fn modulo(mut dividend: u64, divisor: u64) -> u64 {
    while dividend != 0 && degree(dividend) >= degree(divisor) {
        dividend ^= divisor << (degree(dividend) - degree(divisor));
    }
    dividend
}

fn multiply_modulo(left: u64, right: u64, modulus: u64) -> u64 {
    let mut product = 0;
    for bit in (0..=degree(right)).rev() {
        product = modulo(product << 1, modulus);
        if right >> bit & 1 == 1 {
            product ^= left;
        }
    }
    modulo(product, modulus)
}

fn greatest_common_divisor(mut left: u64, mut right: u64) -> u64 {
    while right != 0 {
        (left, right) = (right, modulo(left, right));
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_polynomials_are_told_apart() {
        // x² + x + 1, x³ + x + 1, and the one that restic's documentation shows.
        for irreducible in [0b111, 0b1011, 0x25_b468_838d_cb75] {
            assert!(is_irreducible(irreducible), "{irreducible:x}");
        }
        // x² + 1 = (x + 1)², x⁴ + x² + 1 = (x² + x + 1)², and an even number, which x divides.
        for reducible in [0b101, 0b10101, 0x25_b468_838d_cb74] {
            assert!(!is_irreducible(reducible), "{reducible:x}");
        }
    }

    #[test]
    fn small_polynomials_agree_with_trial_division() {
        for polynomial in 4..2048_u64 {
            let has_factor = (2..polynomial)
                .take_while(|factor| degree(*factor) <= degree(polynomial) / 2)
                .any(|factor| modulo(polynomial, factor) == 0);
            assert_eq!(is_irreducible(polynomial), !has_factor, "{polynomial:b}");
        }
    }

    #[test]
    fn a_random_one_has_the_right_degree_and_is_irreducible() {
        for _ in 0..20 {
            let polynomial = random_irreducible();
            assert_eq!(degree(polynomial), DEGREE);
            assert!(is_irreducible(polynomial));
        }
    }
}
