//! Time in JSON: RFC 3339, with nanoseconds and any offset.

use std::time::SystemTime;

use jiff::Timestamp;

/// The time in UTC, for example `2026-11-23T14:05:06.789Z`. A time that no calendar reaches becomes 1970.
pub(crate) fn format(time: SystemTime) -> String {
    Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

/// The time that the text names; `None` when it is not RFC 3339.
pub(crate) fn parse(text: &str) -> Option<SystemTime> {
    text.parse::<Timestamp>().ok().and_then(|time| SystemTime::try_from(time).ok())
}

/// For `#[serde(with = "timestamp")]`.
pub(crate) fn serialize<S: serde::Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format(*time))
}

/// For `#[serde(with = "timestamp")]`.
pub(crate) fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
    let text = <String as serde::Deserialize>::deserialize(deserializer)?;
    parse(&text).ok_or_else(|| serde::de::Error::custom("not a time of RFC 3339"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn nanoseconds_survive() {
        let time = UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789);
        assert_eq!(parse(&format(time)), Some(time));
    }

    #[test]
    fn the_offsets_that_restic_writes_are_understood() {
        let expected = UNIX_EPOCH + Duration::new(1_659_348_000, 500_000_000);
        assert_eq!(parse("2022-08-01T12:00:00.5+02:00"), Some(expected));
        assert_eq!(parse("2022-08-01T10:00:00.5Z"), Some(expected));
        assert!(parse("0001-01-01T00:00:00Z").is_some());
        assert_eq!(parse("yesterday"), None);
    }
}
