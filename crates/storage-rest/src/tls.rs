//! Whom the client believes to be the server: the owner of one certificate, or whoever the system vouches for.

use std::sync::Arc;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use sendense_storage::{Error, ErrorKind, Result};
use sendense_tls_pin::CertificatePin;

/// The configuration for a pinned certificate (SHA-256 of its DER form), or for the roots of the system.
pub(crate) fn client_config(pin: Option<[u8; 32]>) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| {
            Error::new(ErrorKind::Other, "connect", "TLS is not available").with_source(error)
        })?;
    if let Some(sha256) = pin {
        let verifier = CertificatePin::new(sha256).verifier(provider);
        return Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth());
    }
    let mut roots = RootCertStore::empty();
    // Those that cannot be read vouch for nobody.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
