//! TLS 1.3 at both ends. The Node trusts one certificate by its SHA-256, so names and chains play no part.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, ServerConfig, SignatureScheme};
use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// SHA-256 of the DER encoding of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CertificatePin([u8; 32]);

impl CertificatePin {
    /// The pin of a certificate.
    #[must_use]
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        Self(Sha256::digest(certificate).into())
    }

    /// The 32 bytes.
    pub(crate) fn sha256(&self) -> [u8; 32] {
        self.0
    }

    /// Reads 64 hexadecimal digits, with or without colons between the bytes.
    ///
    /// # Errors
    /// [`Error::Request`] for anything else.
    pub fn parse(text: &str) -> Result<Self> {
        let mut pin = [0; 32];
        hex::decode_to_slice(text.replace(':', ""), &mut pin)
            .map_err(|_| Error::Request("The certificate pin must be 64 hexadecimal digits".into()))?;
        Ok(Self(pin))
    }
}

impl std::fmt::Display for CertificatePin {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}

/// The Hub's side: its certificate chain (end entity first) and key, and the pin that Nodes need.
///
/// # Errors
/// [`Error::Request`] if the PEM texts hold no certificate or no key, or do not fit each other.
pub(crate) fn server_config(certificate_pem: &str, key_pem: &str) -> Result<(ServerConfig, CertificatePin)> {
    let refuse = |what: &str| Error::Request(format!("The data plane's {what}"));
    let chain = CertificateDer::pem_slice_iter(certificate_pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| refuse("certificate is not PEM"))?;
    let pin = CertificatePin::of(chain.first().ok_or_else(|| refuse("certificate is missing"))?);
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|_| refuse("key is not PEM"))?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|_| refuse("TLS version is not available"))?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|_| refuse("key does not belong to its certificate"))?;
    Ok((config, pin))
}

/// The Node's side.
///
/// # Errors
/// [`Error::Internal`] if this build of rustls lacks TLS 1.3.
pub(crate) fn client_config(pin: CertificatePin) -> Result<ClientConfig> {
    let provider = provider();
    let verifier = PinnedCertificate { pin, provider: provider.clone() };
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|_| Error::Internal("TLS 1.3 is not available".into()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    Ok(config)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Accepts one certificate. The signature of the handshake is verified as ever: it proves that the peer holds the
/// key of the certificate it shows.
#[derive(Debug)]
struct PinnedCertificate {
    pin: CertificatePin,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedCertificate {
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

/// Whether `error` was caused by a certificate that is not the pinned one.
pub(crate) fn is_pin_failure(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if matches!(error.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))) {
            return true;
        }
        // The source of an I/O error is that of the error inside it, so the one inside must be asked for.
        let inside = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        cause = inside.map(|inside| inside as &(dyn std::error::Error + 'static)).or_else(|| error.source());
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_read_with_and_without_colons() {
        let text = "ab".repeat(32);
        let colons = ["AB"; 32].join(":");
        assert_eq!(CertificatePin::parse(&text).unwrap(), CertificatePin::parse(&colons).unwrap());
        assert_eq!(CertificatePin::parse(&colons).unwrap().to_string(), text);
        assert!(CertificatePin::parse("ab").is_err());
        assert!(CertificatePin::parse(&"xy".repeat(32)).is_err());
    }
}
