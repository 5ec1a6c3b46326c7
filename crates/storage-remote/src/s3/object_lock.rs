//! Object lock: protection that the server itself enforces.

use std::time::{Duration, SystemTime};

use sendense_storage::{Error, ErrorKind, Protection, ProtectionMode, Result};

use super::client::Client;
use crate::call::{Call, Outcome, parse_xml};
use crate::http::Answer;
use crate::place_probe::ObjectLockProbe;
use crate::xml::Element;

/// Codes that say: there is no retention here, or no object lock at all.
const NONE: [&str; 4] = [
    "NoSuchObjectLockConfiguration",
    "ObjectLockConfigurationNotFoundError",
    "ObjectLockConfigurationNotFound",
    "InvalidBucketObjectLockConfiguration",
];

const DAY: Duration = Duration::from_hours(24);

impl Client {
    /// Whether the bucket has object lock, and what it protects by itself.
    pub(super) async fn object_lock(&self, operation: &'static str) -> Result<ObjectLockProbe> {
        let call = Call { method: "GET", query: vec![("object-lock", "")], ..Call::default() };
        let outcome = self.send(operation, call).await?;
        // A server that does not know the question has no such thing.
        if outcome.is_refused_with(&NONE) || outcome.is_refused_with(&["NotImplemented"]) {
            return Ok(ObjectLockProbe { is_enabled: false, default: None });
        }
        let document = parse_xml(operation, &outcome.accepted(operation)?)?;
        let rule = document.child("Rule").and_then(|rule| rule.child("DefaultRetention"));
        Ok(ObjectLockProbe {
            is_enabled: document.text_of("ObjectLockEnabled") == Some("Enabled"),
            default: rule.and_then(default_retention),
        })
    }

    /// The retention of one version.
    pub(super) async fn retention(
        &self,
        operation: &'static str,
        key: &str,
        version: &str,
    ) -> Result<Option<Protection>> {
        let query = vec![("retention", ""), ("versionId", version)];
        let outcome = self.send(operation, Call { method: "GET", key, query, ..Call::default() }).await?;
        if outcome.is_refused_with(&NONE) {
            return Ok(None);
        }
        let document = parse_xml(operation, &accepted(operation, outcome)?)?;
        let retention = (document.text_of("Mode"), document.text_of("RetainUntilDate"));
        let (Some(mode), Some(until)) = retention else { return Ok(None) };
        protection(mode, until).map(Some).ok_or_else(|| not_understood(operation))
    }

    /// Sets the retention of one version. The server refuses to shorten it.
    pub(super) async fn retain(
        &self,
        operation: &'static str,
        key: &str,
        version: &str,
        protection: Protection,
    ) -> Result<()> {
        let (mode, until) = (mode_text(protection.mode), until_text(protection.until));
        let body = format!(
            "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>{mode}</Mode>\
             <RetainUntilDate>{until}</RetainUntilDate></Retention>"
        );
        let query = vec![("retention", ""), ("versionId", version)];
        let call = Call { method: "PUT", key, query, body: body.into(), ..Call::default() };
        accepted(operation, self.send(operation, call).await?).map(|_| ())
    }
}

/// To a bucket without object lock every question about retention is an invalid request.
fn accepted(operation: &'static str, outcome: Outcome) -> Result<Answer> {
    if outcome.is_refused_with(&["InvalidRequest"]) {
        return Err(Error::new(ErrorKind::ObjectLockMissing, operation, "the bucket has no object lock"));
    }
    outcome.accepted(operation)
}

/// The headers that protect an object from its upload on.
pub(super) fn upload_headers(protection: Protection) -> [(&'static str, String); 2] {
    [
        ("x-amz-object-lock-mode", mode_text(protection.mode).into()),
        ("x-amz-object-lock-retain-until-date", until_text(protection.until)),
    ]
}

/// The protection that an answer about an object shows.
pub(super) fn protection_of(answer: &Answer) -> Option<Protection> {
    protection(
        answer.header("x-amz-object-lock-mode")?,
        answer.header("x-amz-object-lock-retain-until-date")?,
    )
}

/// Whether a protection is at least as good as the one that was asked for.
pub(super) fn satisfies(actual: Option<Protection>, asked: Protection) -> bool {
    actual.is_some_and(|actual| {
        let is_strict = actual.mode == asked.mode || actual.mode == ProtectionMode::Compliance;
        // Servers keep whole seconds.
        is_strict && actual.until + Duration::from_secs(1) >= asked.until
    })
}

/// What it means that a file is there and not protected although that was asked for.
pub(super) fn not_in_force(operation: &'static str) -> Error {
    let message = "the server has stored the file and does not protect it";
    Error::new(ErrorKind::ObjectLockMissing, operation, message)
}

fn protection(mode: &str, until: &str) -> Option<Protection> {
    let mode = mode_of(mode)?;
    let until: jiff::Timestamp = until.parse().ok()?;
    Some(Protection { mode, until: until.try_into().ok()? })
}

fn mode_of(text: &str) -> Option<ProtectionMode> {
    match text {
        "GOVERNANCE" => Some(ProtectionMode::Governance),
        "COMPLIANCE" => Some(ProtectionMode::Compliance),
        _ => None,
    }
}

fn mode_text(mode: ProtectionMode) -> &'static str {
    match mode {
        ProtectionMode::Governance => "GOVERNANCE",
        ProtectionMode::Compliance => "COMPLIANCE",
    }
}

/// Whole seconds, rounded up: a window is never shorter than promised.
fn until_text(until: SystemTime) -> String {
    let until = jiff::Timestamp::try_from(until).unwrap_or(jiff::Timestamp::MAX);
    let seconds = until.as_second() + i64::from(until.subsec_nanosecond() > 0);
    jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX).to_string()
}

fn default_retention(rule: &Element) -> Option<(ProtectionMode, Duration)> {
    let days =
        |name, days_each: u32| Some(rule.text_of(name)?.parse::<u32>().ok()?.saturating_mul(days_each));
    Some((mode_of(rule.text_of("Mode")?)?, DAY * days("Days", 1).or_else(|| days("Years", 365))?))
}

fn not_understood(operation: &'static str) -> Error {
    Error::new(ErrorKind::Other, operation, "the retention that the server reports cannot be understood")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_rounded_up_to_whole_seconds() {
        let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_800_000_000_001);
        assert_eq!(until_text(time), "2027-01-15T08:00:01Z");
        assert_eq!(until_text(time - Duration::from_millis(1)), "2027-01-15T08:00:00Z");
    }

    #[test]
    fn a_stricter_mode_satisfies_and_a_shorter_time_does_not() {
        let until = SystemTime::UNIX_EPOCH + DAY;
        let asked = Protection { mode: ProtectionMode::Governance, until };
        assert!(satisfies(Some(Protection { mode: ProtectionMode::Compliance, until }), asked));
        assert!(!satisfies(Some(Protection { until: until - DAY / 2, ..asked }), asked));
        assert!(!satisfies(None, asked));
        let asked = Protection { mode: ProtectionMode::Compliance, until };
        assert!(!satisfies(Some(Protection { mode: ProtectionMode::Governance, until }), asked));
    }
}
