//! The certificate of the server.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};

/// Why certificate and key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// There is no certificate in the file.
    #[error("There is no PEM certificate in the file")]
    NoCertificate,
    /// There is no key in the file.
    #[error("There is no PEM key in the file")]
    NoKey,
    /// They do not fit each other.
    #[error("The key does not fit the certificate: {0}")]
    Unfit(#[from] rustls::Error),
}

/// TLS 1.2 and 1.3 with a chain (the certificate of this server first) and its key.
///
/// # Errors
/// [`TlsError`].
pub fn tls_config(certificate_pem: &str, key_pem: &str) -> Result<ServerConfig, TlsError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate_pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| TlsError::NoCertificate)?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|_| TlsError::NoKey)?;
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?;
    Ok(builder.with_no_client_auth().with_single_cert(chain, key)?)
}

/// What clients pin: the SHA-256 of the certificate in DER form, in hexadecimal digits.
///
/// # Errors
/// [`TlsError::NoCertificate`].
pub fn fingerprint(certificate_pem: &str) -> Result<String, TlsError> {
    let certificate =
        CertificateDer::from_pem_slice(certificate_pem.as_bytes()).map_err(|_| TlsError::NoCertificate)?;
    Ok(hex::encode(Sha256::digest(&certificate)))
}
