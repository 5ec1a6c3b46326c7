//! TLS for NBD ("TLS support"): the connection is secured before anything about the export is said.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use sha2::{Digest, Sha256};
use tokio_rustls::TlsConnector;

use crate::options::{Address, TlsOptions, Trust};
use crate::stream::Stream;
use crate::{Error, Result};

/// Secures a stream; the server's certificate is judged by `options`.
pub(crate) async fn secure(
    stream: Box<dyn Stream>,
    options: &TlsOptions,
    address: &Address,
) -> Result<Box<dyn Stream>> {
    let config = client_config(options)?;
    let name = match (&options.server_name, address) {
        (Some(name), _) => name.clone(),
        (None, Address::Tcp { host, .. }) => host.clone(),
        // A pinned certificate may carry any name, so any will do.
        (None, Address::Unix(_)) => "localhost".into(),
    };
    let name = ServerName::try_from(name).map_err(tls_error)?;
    let secured = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(tls_error)?;
    Ok(Box::new(secured))
}

fn client_config(options: &TlsOptions) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let verifier = verifier(&options.trust, &provider)?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(tls_error)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    match &options.identity {
        None => Ok(builder.with_no_client_auth()),
        Some(identity) => {
            let chain = certificates(&identity.certificate_file)?;
            let key = PrivateKeyDer::from_pem_file(&identity.key_file).map_err(tls_error)?;
            builder.with_client_auth_cert(chain, key).map_err(tls_error)
        }
    }
}

fn verifier(trust: &Trust, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>> {
    match trust {
        Trust::PinnedSha256(sha256) => Ok(Arc::new(Pin { sha256: *sha256, provider: Arc::clone(provider) })),
        Trust::CaFile(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(tls_error)?;
            }
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
            Ok(verifier.build().map_err(tls_error)?)
        }
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let all: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(tls_error)?
        .collect::<Result<_, _>>()
        .map_err(tls_error)?;
    if all.is_empty() {
        return Err(Error::Tls(format!("{} has no certificate", path.display())));
    }
    Ok(all)
}

fn tls_error(error: impl std::fmt::Display) -> Error {
    Error::Tls(error.to_string())
}

/// Accepts exactly one certificate. That the server holds its key is proven by the handshake as always.
#[derive(Debug)]
struct Pin {
    sha256: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if Sha256::digest(end_entity).as_slice() == self.sha256 {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::General("the certificate is not the pinned one".into()))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
