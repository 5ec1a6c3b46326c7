//! Files that do not have their name yet, and what is left of them when their writer dies.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use crate::files::Entry;
use crate::session::Session;

/// What tells the files of this process from those of others.
static PROCESS: LazyLock<String> = LazyLock::new(|| format!("{:08x}", rand::random::<u32>()));

/// Between the name that a file will get and something random.
const TEMPORARY: &str = "-temporary-";
/// In front of something random.
const PROBE: &str = ".sendense-probe-";
const RANDOM_DIGITS: usize = 32;

/// SFTP knows no locks, so only age tells that nobody writes a file any more. No write of one file takes that long.
const OLD: Duration = Duration::from_hours(24);

/// A name for a file that will be renamed to `path`. It is no id, so it is in no listing.
pub(crate) fn temporary_path(path: &str) -> String {
    format!("{path}{TEMPORARY}{}", random_digits())
}

/// A name for the file of a trial.
pub(crate) fn probe_name() -> String {
    format!("{PROBE}{}", random_digits())
}

fn random_digits() -> String {
    format!("{}{:024x}", *PROCESS, rand::random::<u128>() >> 32)
}

/// Removes what writers that died have left in a folder, given all its entries. What is old the server's own clock says:
/// before it is known, nothing is removed.
pub(crate) async fn sweep(session: &Session, folder: &str, entries: &[Entry]) {
    let Some(now) = session.clock.now() else { return };
    for entry in entries.iter().filter(|entry| is_leftover(entry, now)) {
        // Another one may be faster, and we may only be allowed to read: then whoever writes next does it.
        let _ = session.remove(&format!("{folder}/{}", entry.name)).await;
    }
}

fn is_leftover(entry: &Entry, now: SystemTime) -> bool {
    // A time stamp in the future means an unreliable clock: not old.
    let age = entry.attributes.modified_at().and_then(|modified| now.duration_since(modified).ok());
    let is_of_another = random_of(&entry.name).is_some_and(|random| !random.starts_with(PROCESS.as_str()));
    entry.attributes.is_file() && is_of_another && age.is_some_and(|age| age >= OLD)
}

/// Whether a name is one that this code gives to files that are no part of a repository.
pub(crate) fn is_ours(name: &str) -> bool {
    random_of(name).is_some()
}

fn random_of(name: &str) -> Option<&str> {
    let random = match name.strip_prefix(PROBE) {
        Some(random) => random,
        None => name.rsplit_once(TEMPORARY)?.1,
    };
    let is_random = random.len() == RANDOM_DIGITS && random.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_random.then_some(random)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Attributes;

    #[test]
    fn only_the_old_of_others_is_left_over() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(1000);
        let entry = |name: String, age: Duration| {
            let modified = (now - age).duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
            Entry { name, attributes: Attributes::of_file(u32::try_from(modified).unwrap()) }
        };
        let of_another = format!("config{TEMPORARY}{}", "0123456789abcdef".repeat(2));
        assert!(is_leftover(&entry(of_another.clone(), OLD), now));
        assert!(!is_leftover(&entry(of_another, OLD.saturating_sub(Duration::from_secs(1))), now));
        for ours in [temporary_path("config"), probe_name()] {
            assert!(!is_leftover(&entry(ours, 2 * OLD), now), "we may be writing it");
        }
    }

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
