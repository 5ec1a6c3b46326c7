//! TLS for NBD ("TLS support"): the connection is secured before anything about the export is said.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use sendense_tls_pin::CertificatePin;
use tokio_rustls::TlsConnector;

use crate::dial::Stream;
use crate::error::{Error, Result};
use crate::options::{Address, ClientIdentity, TlsOptions, Trust};

/// Everything that securing a connection needs, read once for all connections of a client.
pub(crate) struct TlsSetup {
    connector: TlsConnector,
    server_name: ServerName<'static>,
}

impl TlsSetup {
    /// Reads the files that the options name.
    pub(crate) async fn load(options: &TlsOptions, address: &Address) -> Result<Self> {
        let server_name = server_name(options, address)?;
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Options { reason: error.to_string() })?
            .dangerous()
            .with_custom_certificate_verifier(verifier(&options.trust, provider).await?);
        let config = match &options.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let (chain, key) = load_identity(identity).await?;
                let unusable = |error: rustls::Error| file_error(&identity.key_file, error.to_string());
                builder.with_client_auth_cert(chain, key).map_err(unusable)?
            }
        };
        Ok(Self { connector: TlsConnector::from(Arc::new(config)), server_name })
    }

    /// Does the TLS handshake.
    pub(crate) async fn secure(&self, stream: Box<dyn Stream>) -> Result<Box<dyn Stream>> {
        match self.connector.connect(self.server_name.clone(), stream).await {
            Ok(secured) => Ok(Box::new(secured)),
            Err(source) => Err(Error::Tls { source: Arc::new(source) }),
        }
    }
}

fn server_name(options: &TlsOptions, address: &Address) -> Result<ServerName<'static>> {
    let name = match (&options.server_name, address, &options.trust) {
        (Some(name), _, _) => name.clone(),
        (None, Address::Tcp { host, .. }, _) => host.clone(),
        // A pinned certificate may carry any name.
        (None, Address::Unix(_), Trust::PinnedSha256(_)) => "localhost".into(),
        (None, Address::Unix(_), Trust::CaFile(_)) => {
            let reason = "a unix socket needs the server's name, or its certificate pinned".into();
            return Err(Error::Options { reason });
        }
    };
    ServerName::try_from(name)
        .map_err(|_| Error::Options { reason: "the server's name is not a name that TLS knows".into() })
}

async fn verifier(trust: &Trust, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>> {
    let path = match trust {
        Trust::PinnedSha256(sha256) => return Ok(CertificatePin::new(*sha256).verifier(provider)),
        Trust::CaFile(path) => path,
    };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path).await? {
        roots.add(certificate).map_err(|error| file_error(path, error.to_string()))?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    Ok(verifier.map_err(|error| file_error(path, error.to_string()))?)
}

async fn load_identity(
    identity: &ClientIdentity,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let chain = certificates(&identity.certificate_file).await?;
    let path = &identity.key_file;
    // The parser's words could quote the file, so they are left out.
    let key = PrivateKeyDer::from_pem_slice(&content(path).await?)
        .map_err(|_| file_error(path, "it holds no private key in PEM form".into()))?;
    Ok((chain, key))
}

async fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let pem = content(path).await?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(file_error(path, "it holds no certificate in PEM form".into())),
    }
}

async fn content(path: &Path) -> Result<Vec<u8>> {
    tokio::fs::read(path).await.map_err(|error| file_error(path, error.to_string()))
}

fn file_error(path: &Path, reason: String) -> Error {
    Error::TlsFile { path: path.to_owned(), reason }
}
