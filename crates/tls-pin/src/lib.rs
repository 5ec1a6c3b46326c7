//! Trust in one certificate, known by its SHA-256: names and chains play no part.

use std::error::Error;
use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};
use sha2::{Digest, Sha256};

/// SHA-256 of the DER encoding of a certificate. As text: 64 hexadecimal digits, read with or without colons between
/// the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CertificatePin([u8; 32]);

/// The text is no pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("The certificate pin must be 64 hexadecimal digits")]
pub struct ParsePinError;

impl CertificatePin {
    /// Wraps the hash.
    #[must_use]
    pub const fn new(sha256: [u8; 32]) -> Self {
        Self(sha256)
    }

    /// The pin of a certificate.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate).into())
    }

    /// The hash.
    #[must_use]
    pub const fn sha256(&self) -> [u8; 32] {
        self.0
    }

    /// Accepts servers with this certificate. The signature of the handshake is verified as ever: it proves that the
    /// peer holds the key of the certificate that it shows.
    #[must_use]
    pub fn verifier(self, provider: Arc<CryptoProvider>) -> Arc<dyn ServerCertVerifier> {
        Arc::new(Verifier { pin: self, provider })
    }
}

impl FromStr for CertificatePin {
    type Err = ParsePinError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut pin = [0; 32];
        hex::decode_to_slice(text.replace(':', ""), &mut pin).map_err(|_| ParsePinError)?;
        Ok(Self(pin))
    }
}

impl fmt::Display for CertificatePin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

/// Whether a certificate that is not trusted, by its pin or otherwise, is why something failed.
#[must_use]
pub fn is_certificate_failure(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|error| matches!(error.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))))
}

/// An error and its causes, among which those of TLS lie deep. The source of an I/O error is that of the error inside
/// it, so the one inside is asked for.
pub fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| cause_of(*error))
}

fn cause_of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inside) => Some(inside),
        None => error.source(),
    }
}

#[derive(Debug)]
struct Verifier {
    pin: CertificatePin,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if CertificatePin::of(end_entity) == self.pin {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_read_with_and_without_colons() {
        let text = "ab".repeat(32);
        let colons = ["AB"; 32].join(":");
        let pin: CertificatePin = text.parse().unwrap();
        assert_eq!(colons.parse(), Ok(pin));
        assert_eq!(pin.to_string(), text);
        for wrong in ["ab", &"xy".repeat(32), ""] {
            assert_eq!(wrong.parse::<CertificatePin>(), Err(ParsePinError), "{wrong}");
        }
    }

    #[test]
    fn a_certificate_is_found_below_other_errors() {
        let certificate = rustls::Error::from(CertificateError::ApplicationVerificationFailure);
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, certificate));
        assert!(is_certificate_failure(&wrapped));
        assert!(!is_certificate_failure(&io::Error::other(rustls::Error::DecryptError)));
    }
}
