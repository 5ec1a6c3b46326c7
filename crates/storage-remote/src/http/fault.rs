//! Why a connection failed.

use std::error::Error as Cause;

use sendense_storage::{Error, ErrorKind};
use sendense_tls_pin::causes;

/// The connection could not be made, or broke before the answer began.
pub(super) fn from_connection(operation: &'static str, error: hyper_util::client::legacy::Error) -> Error {
    if causes(&error).any(is_untrusted_certificate) {
        let message = "the certificate of the server is not trusted";
        return Error::new(ErrorKind::CertificateUntrusted, operation, message).with_source(error);
    }
    let message = if error.is_connect() {
        "the server cannot be reached"
    } else {
        "the connection to the server broke"
    };
    let is_final = causes(&error).any(is_not_tls);
    let failure = Error::new(ErrorKind::Unreachable, operation, message).with_source(error);
    if is_final { failure.persistent() } else { failure }
}

/// The answer broke off.
pub(super) fn from_body(operation: &'static str, error: Box<dyn Cause + Send + Sync>) -> Error {
    let message = "the connection to the server broke in the middle of an answer";
    Error::new(ErrorKind::Unreachable, operation, message).with_source(error)
}

fn is_untrusted_certificate(error: &(dyn Cause + 'static)) -> bool {
    matches!(
        error.downcast_ref::<rustls::Error>(),
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented)
    )
}

/// Something else than TLS answered: repeating will not change that.
fn is_not_tls(error: &(dyn Cause + 'static)) -> bool {
    matches!(error.downcast_ref::<rustls::Error>(), Some(rustls::Error::InvalidMessage(_)))
}
