//! Files that do not have their name yet, and what is left of them when their writer dies.

use std::time::{Duration, SystemTime};

use crate::files::Entry;
use crate::session::Session;

/// Between the name that a file will get and something random.
const TEMPORARY: &str = "-temporary-";
/// In front of something random.
const PROBE: &str = ".sendense-probe-";
const RANDOM_DIGITS: usize = 32;

/// SFTP knows no locks, so only age tells that nobody writes a file any more. No write of one file takes that long,
/// and few clocks are that wrong.
const OLD: Duration = Duration::from_hours(24);

/// A name for a file that will be renamed to `path`. It is no id, so it is in no listing.
pub(crate) fn temporary_path(path: &str) -> String {
    format!("{path}{TEMPORARY}{:032x}", rand::random::<u128>())
}

/// A name for the file of a trial.
pub(crate) fn probe_name() -> String {
    format!("{PROBE}{:032x}", rand::random::<u128>())
}

/// Removes what writers that died have left in a folder, given all its entries.
pub(crate) async fn sweep(session: &Session, folder: &str, entries: &[Entry]) {
    let now = SystemTime::now();
    for entry in entries.iter().filter(|entry| is_leftover(entry, now)) {
        // Another one may be faster, and we may only be allowed to read: then whoever writes next does it.
        let _ = session.remove(&format!("{folder}/{}", entry.name)).await;
    }
}

fn is_leftover(entry: &Entry, now: SystemTime) -> bool {
    // A time stamp in the future means an unreliable clock: not old.
    let age = entry.attributes.modified_at().and_then(|modified| now.duration_since(modified).ok());
    entry.attributes.is_file() && is_ours(&entry.name) && age.is_some_and(|age| age >= OLD)
}

fn is_ours(name: &str) -> bool {
    let random = match name.strip_prefix(PROBE) {
        Some(random) => Some(random),
        None => name.rsplit_once(TEMPORARY).map(|(_, random)| random),
    };
    random.is_some_and(|random| {
        random.len() == RANDOM_DIGITS && random.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_we_give_are_ours_and_no_others() {
        for name in [probe_name(), temporary_path("config"), temporary_path(&"ab".repeat(32))] {
            assert!(is_ours(&name), "{name}");
        }
        for name in ["config", ".sendense-probe-notes", "my-temporary-file", &"ab".repeat(32)] {
            assert!(!is_ours(name), "{name}");
        }
    }
}
