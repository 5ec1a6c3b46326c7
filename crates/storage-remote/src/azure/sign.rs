//! Signatures of requests with the key of a storage account, "Shared Key" of Azure.

use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use sendense_storage::{Error, ErrorKind, Result, Secret};
use sha2::Sha256;

/// What a request is signed with.
#[derive(Debug)]
pub(super) struct Signer {
    account: String,
    /// Decoded.
    key: Secret,
}

/// The parts of a request that are signed. The names of headers are in lower case and sorted.
pub(super) struct Signed<'a> {
    pub(super) method: &'a str,
    /// Encoded, as it is sent.
    pub(super) path: &'a str,
    /// Not encoded, sorted by name.
    pub(super) query: &'a [(&'static str, &'a str)],
    pub(super) headers: &'a [(&'static str, String)],
    pub(super) body_bytes: usize,
}

/// The headers that stand in a signature by their place, in this order; the length of the body stands third.
const BY_PLACE: [&str; 10] = [
    "content-encoding",
    "content-language",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
];

impl Signer {
    /// The key is as the portal shows it, in Base64.
    pub(super) fn new(account: &str, key: &Secret) -> Result<Self> {
        let wrong =
            |_| Error::new(ErrorKind::CredentialsWrong, "open", "the key of the account is no Base64");
        let key = BASE64.decode(key.expose().trim_ascii()).map_err(wrong)?;
        Ok(Self { account: account.to_owned(), key: Secret::new(key) })
    }

    /// The value of the header `authorization`.
    pub(super) fn authorization(&self, request: &Signed<'_>) -> String {
        #[allow(clippy::expect_used, reason = "an HMAC takes keys of any length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.expose()).expect("a key of any length");
        mac.update(self.text(request).as_bytes());
        format!("SharedKey {}:{}", self.account, BASE64.encode(mac.finalize().into_bytes()))
    }

    fn text(&self, request: &Signed<'_>) -> String {
        let Signed { method, path, query, headers, body_bytes } = request;
        let value = |name| headers.iter().find(|(other, _)| *other == name).map_or("", |(_, value)| value);
        let mut lines: Vec<String> = BY_PLACE.into_iter().map(|name| value(name).to_owned()).collect();
        lines.insert(0, (*method).to_owned());
        lines.insert(3, if *body_bytes == 0 { String::new() } else { body_bytes.to_string() });
        let own = headers.iter().filter(|(name, _)| name.starts_with("x-ms-"));
        lines.extend(own.map(|(name, value)| format!("{name}:{}", value.trim())));
        lines.push(format!("/{}{path}", self.account));
        lines.extend(query.iter().map(|(name, value)| format!("{name}:{value}")));
        lines.join("\n")
    }
}

/// A time as in the header `x-ms-date`.
pub(super) fn ms_date(time: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap_or_default();
    time.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> Signer {
        Signer::new("myaccount", &Secret::new("a2V5")).unwrap()
    }

    /// The example of "Authorize with Shared Key" in the reference of Azure Storage.
    #[test]
    fn the_text_is_that_of_the_published_example() {
        let headers = [
            ("x-ms-date", "Fri, 26 Jun 2015 23:39:12 GMT".to_owned()),
            ("x-ms-version", "2015-02-21".to_owned()),
        ];
        let query = [("comp", "metadata"), ("restype", "container"), ("timeout", "20")];
        let request =
            Signed { method: "GET", path: "/mycontainer", query: &query, headers: &headers, body_bytes: 0 };
        assert_eq!(
            signer().text(&request),
            "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2015-02-21\n\
             /myaccount/mycontainer\ncomp:metadata\nrestype:container\ntimeout:20"
        );
    }

    #[test]
    fn headers_and_the_length_have_their_places() {
        let headers = [("content-type", "text/plain".to_owned()), ("if-none-match", "*".to_owned())];
        let request = Signed { method: "PUT", path: "/c/a", query: &[], headers: &headers, body_bytes: 11 };
        assert_eq!(signer().text(&request), "PUT\n\n\n11\n\ntext/plain\n\n\n\n*\n\n\n/myaccount/c/a");
    }

    #[test]
    fn a_time_is_written_as_http_does() {
        assert_eq!(ms_date(SystemTime::UNIX_EPOCH), "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn a_key_that_is_none_is_refused_and_not_shown() {
        let error = Signer::new("myaccount", &Secret::new("not base64!")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CredentialsWrong);
        assert!(!format!("{error:?} {:?}", signer()).contains("base64!"));
    }
}
