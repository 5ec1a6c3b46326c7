//! Addresses of servers.

use hyper::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sendense_storage::{Error, ErrorKind, Result};

/// What stands for itself in a path or a query; everything else is written as `%XX`. The signatures of S3
/// demand exactly this set.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const ENCODED_BUT_SLASH: &AsciiSet = &ENCODED.remove(b'/');

/// A text as part of a query.
pub(crate) fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// Scheme, host, port, and perhaps a path that stands before all others.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    scheme: &'static str,
    /// Host and, if it is not the usual one, port.
    authority: String,
    /// Empty, or begins with a slash and does not end with one.
    path: String,
}

impl Endpoint {
    /// Reads `https://host[:port][/path]`. Credentials, queries and other schemes are refused.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let refused = |reason: &str| Error::new(ErrorKind::Other, "open", format!("its address {reason}"));
        let uri: Uri = text.parse().map_err(|_| refused("cannot be read"))?;
        let scheme = match uri.scheme_str() {
            Some("https") => "https",
            Some("http") => "http",
            _ => return Err(refused("begins neither with https:// nor with http://")),
        };
        let authority = uri.authority().map(hyper::http::uri::Authority::as_str).unwrap_or_default();
        if authority.contains('@') {
            return Err(refused("contains credentials"));
        }
        if uri.query().is_some() {
            return Err(refused("contains a query"));
        }
        let usual_port = if scheme == "https" { ":443" } else { ":80" };
        let authority = authority.strip_suffix(usual_port).unwrap_or(authority).to_owned();
        Ok(Self { scheme, authority, path: uri.path().trim_end_matches('/').to_owned() })
    }

    /// The same server with a name in front of its own.
    pub(crate) fn below_host(&self, name: &str) -> Self {
        Self { authority: format!("{name}.{}", self.authority), ..self.clone() }
    }

    /// The value of the header `host`.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// The encoded path of what lies below the endpoint at `path`, which begins with a slash.
    pub(crate) fn path(&self, path: &str) -> String {
        format!("{}{}", self.path, utf8_percent_encode(path, ENCODED_BUT_SLASH))
    }

    /// The whole address; path and query are encoded already.
    pub(crate) fn uri(&self, path: &str, query: &str) -> String {
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{}://{}{path}{mark}{query}", self.scheme, self.authority)
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}{}", self.scheme, self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let endpoint = Endpoint::parse("https://s3.example.com:443/").unwrap();
        assert_eq!(endpoint.authority(), "s3.example.com");
        assert_eq!(endpoint.path("/bucket/a b+c"), "/bucket/a%20b%2Bc");
        let endpoint = Endpoint::parse("http://127.0.0.1:7070/account").unwrap();
        assert_eq!(endpoint.uri(&endpoint.path("/x"), "a=b"), "http://127.0.0.1:7070/account/x?a=b");
    }

    #[test]
    fn addresses_with_secrets_or_of_other_kinds_are_refused() {
        for text in ["https://me:secret@host", "ftp://host", "host", "https://host/?key=secret", ""] {
            let error = Endpoint::parse(text).unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
