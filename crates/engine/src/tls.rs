//! TLS 1.3 at both ends. The Node trusts one certificate by its SHA-256, so names and chains play no part.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ServerConfig};
use sendense_tls_pin::CertificatePin;

use crate::{Error, Result};

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
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|_| Error::Internal("TLS 1.3 is not available".into()))?
        .dangerous()
        .with_custom_certificate_verifier(pin.verifier(provider))
        .with_no_client_auth();
    Ok(config)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
