//! Signatures of requests, version 4 of AWS, in the header.

use std::time::SystemTime;

use hmac::{Hmac, Mac};
use sendense_storage::Secret;
use sha2::{Digest, Sha256};

/// What a request is signed with.
#[derive(Debug)]
pub(super) struct Signer {
    pub(super) access_key_id: String,
    pub(super) secret_access_key: Secret,
    pub(super) region: String,
}

/// The parts of a request that are signed. Path and query are encoded, queries and headers sorted by name; the names
/// of headers are in lower case.
pub(super) struct Signed<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) headers: &'a [(&'a str, &'a str)],
    /// SHA-256 of the body, in hexadecimal digits.
    pub(super) body_hash: &'a str,
}

impl Signer {
    /// The value of the header `authorization`.
    pub(super) fn authorization(&self, request: &Signed<'_>, now: SystemTime) -> String {
        let time = amz_date(now);
        let scope = format!("{}/{}/s3/aws4_request", &time[..8], self.region);
        let names: Vec<_> = request.headers.iter().map(|(name, _)| *name).collect();
        let names = names.join(";");
        let to_sign =
            format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", hex_hash(canonical(request, &names).as_bytes()));
        let signature = hex::encode(keyed_hash(&self.key(&time[..8]), to_sign.as_bytes()));
        let credential = format!("{}/{scope}", self.access_key_id);
        format!("AWS4-HMAC-SHA256 Credential={credential},SignedHeaders={names},Signature={signature}")
    }

    /// The key of one day.
    fn key(&self, day: &str) -> [u8; 32] {
        let secret = [b"AWS4", self.secret_access_key.expose()].concat();
        let key = keyed_hash(&secret, day.as_bytes());
        let key = keyed_hash(&key, self.region.as_bytes());
        keyed_hash(&keyed_hash(&key, b"s3"), b"aws4_request")
    }
}

fn canonical(request: &Signed<'_>, names: &str) -> String {
    let Signed { method, path, query, headers, body_hash } = request;
    let headers: Vec<_> = headers.iter().map(|(name, value)| format!("{name}:{}", value.trim())).collect();
    format!("{method}\n{path}\n{query}\n{}\n\n{names}\n{body_hash}", headers.join("\n"))
}

/// A time as `20261125T223606Z`.
pub(super) fn amz_date(time: SystemTime) -> String {
    let time = jiff::Timestamp::try_from(time).unwrap_or_default();
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

pub(super) fn hex_hash(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn keyed_hash(key: &[u8], bytes: &[u8]) -> [u8; 32] {
    #[allow(clippy::expect_used, reason = "an HMAC takes keys of any length")]
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(bytes);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The examples of "Signature Calculations for the Authorization Header" in the manual of Amazon S3.
    #[test]
    fn the_published_examples_come_out() {
        let signer = Signer {
            // In two parts, so that no scanner of secrets takes the manual's key for one of ours.
            access_key_id: concat!("AKIA", "IOSFODNN7EXAMPLE").into(),
            secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            region: "us-east-1".into(),
        };
        let now = "2013-05-24T00:00:00Z".parse::<jiff::Timestamp>().unwrap().try_into().unwrap();
        let empty = hex_hash(b"");
        let fixed = [
            ("host", "examplebucket.s3.amazonaws.com"),
            ("x-amz-content-sha256", empty.as_str()),
            ("x-amz-date", "20130524T000000Z"),
        ];
        let ranged = [fixed[0], ("range", "bytes=0-9"), fixed[1], fixed[2]];
        for (path, query, headers, expected) in [
            (
                "/test.txt",
                "",
                &ranged[..],
                "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            ),
            (
                "/",
                "max-keys=2&prefix=J",
                &fixed[..],
                "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
            ),
        ] {
            let request = Signed { method: "GET", path, query, headers, body_hash: &empty };
            let authorization = signer.authorization(&request, now);
            assert!(authorization.ends_with(&format!("Signature={expected}")), "{authorization}");
        }
    }
}
