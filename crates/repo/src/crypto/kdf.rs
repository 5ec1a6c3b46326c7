//! From a password to a key.

use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::Key;
use crate::Secret;

/// How hard guessing passwords of a new repository is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Kdf {
    /// As hard as this machine manages in half a second with 32 MiB of memory, which is what restic does too.
    #[default]
    Calibrated,
    /// Fixed parameters of scrypt. For tests, and for machines whose speed must not decide.
    Fixed {
        /// Logarithm of the cost N to the base 2.
        log_n: u8,
        /// The block size r.
        r: u32,
        /// The parallelism p.
        p: u32,
    },
}

/// Parameters of scrypt, as they stand in a key file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KdfParameters {
    pub(crate) log_n: u8,
    pub(crate) r: u32,
    pub(crate) p: u32,
}

/// What `Calibrated` starts from: 32 MiB.
const CALIBRATION_START: KdfParameters = KdfParameters { log_n: 15, r: 8, p: 1 };
const CALIBRATION_TIME: Duration = Duration::from_millis(500);

/// A key file comes from the storage, so anybody could have put numbers in it that keep us busy for hours.
const MEMORY_BYTES_MAX: u64 = 1 << 30;
const PARALLELISM_MAX: u32 = 1 << 10;

impl KdfParameters {
    /// The parameters to make a new key with. Takes a moment; see [`Kdf::Calibrated`].
    pub(crate) fn choose(kdf: Kdf) -> Option<Self> {
        match kdf {
            Kdf::Fixed { log_n, r, p } => Self::checked(1_u64.checked_shl(log_n.into())?, r, p),
            Kdf::Calibrated => {
                let start = Instant::now();
                CALIBRATION_START.derive(&Secret::new("calibration"), &[0; 64])?;
                let rounds = CALIBRATION_TIME.as_nanos() / start.elapsed().as_nanos().max(1);
                let p = u32::try_from(rounds).unwrap_or(u32::MAX).clamp(1, 16);
                Some(Self { p, ..CALIBRATION_START })
            }
        }
    }

    /// Takes `N`, `r` and `p` of a key file; `None` when they are no parameters of scrypt or beyond all reason.
    pub(crate) fn checked(n: u64, r: u32, p: u32) -> Option<Self> {
        let memory_bytes = 128_u64.checked_mul(n)?.checked_mul(r.into())?;
        let is_sane = n.is_power_of_two()
            && n > 1
            && r > 0
            && (1..=PARALLELISM_MAX).contains(&p)
            && memory_bytes <= MEMORY_BYTES_MAX;
        is_sane.then(|| Some(Self { log_n: u8::try_from(n.trailing_zeros()).ok()?, r, p }))?
    }

    /// The cost N.
    pub(crate) fn n(self) -> u64 {
        1 << self.log_n
    }

    /// Derives the key. Slow by design: hundreds of milliseconds.
    pub(crate) fn derive(self, password: &Secret, salt: &[u8]) -> Option<Key> {
        let parameters = scrypt::Params::new(self.log_n, self.r, self.p, 64).ok()?;
        let mut bytes = Zeroizing::new([0; 64]);
        scrypt::scrypt(password.expose(), salt, &parameters, bytes.as_mut()).ok()?;
        Some(Key::from_bytes(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_that_would_keep_us_busy_for_hours_are_refused() {
        assert!(KdfParameters::checked(1 << 15, 8, 5).is_some());
        for (n, r, p) in
            [(0, 8, 1), (1, 8, 1), (3, 8, 1), (1 << 40, 8, 1), (1 << 15, u32::MAX, 1), (1 << 15, 8, 1 << 20)]
        {
            assert_eq!(KdfParameters::checked(n, r, p), None, "{n} {r} {p}");
        }
    }

    #[test]
    fn calibration_gives_parameters_of_at_least_32_mib() {
        let parameters = KdfParameters::choose(Kdf::Calibrated).unwrap();
        assert_eq!(parameters.n() * u64::from(parameters.r) * 128, 32 << 20);
        assert!((1..=16).contains(&parameters.p));
    }
}
