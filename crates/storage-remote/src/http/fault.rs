//! Why a connection failed.

use std::error::Error as Cause;
use std::io;

use sendense_storage::{Error, ErrorKind};

/// The connection could not be made, or broke before the answer began.
pub(super) fn from_connection(operation: &'static str, error: hyper_util::client::legacy::Error) -> Error {
    if chain(&error).any(is_untrusted_certificate) {
        let message = "the certificate of the server is not trusted";
        return Error::new(ErrorKind::CertificateUntrusted, operation, message).with_source(error);
    }
    let message = if error.is_connect() {
        "the server cannot be reached"
    } else {
        "the connection to the server broke"
    };
    let is_final = chain(&error).any(is_not_tls);
    let failure = Error::new(ErrorKind::Unreachable, operation, message).with_source(error);
    if is_final { failure.persistent() } else { failure }
}

/// The answer broke off.
pub(super) fn from_body(operation: &'static str, error: Box<dyn Cause + Send + Sync>) -> Error {
    let message = "the connection to the server broke in the middle of an answer";
    Error::new(ErrorKind::Unreachable, operation, message).with_source(error)
}

/// An error and its causes. An `io::Error` hides the one that it wraps from its own chain.
fn chain<'a>(error: &'a (dyn Cause + 'static)) -> impl Iterator<Item = &'a (dyn Cause + 'static)> {
    std::iter::successors(Some(error), |error| cause_of(*error))
}

fn cause_of<'a>(error: &'a (dyn Cause + 'static)) -> Option<&'a (dyn Cause + 'static)> {
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(wrapped) => Some(wrapped),
        None => error.source(),
    }
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
