//! What a path asks for. Names are compared with what is allowed, never cleaned up.

use hyper::Uri;
use sendense_storage::{FileId, FileKind};

use crate::answer::Problem;

const NAME_BYTES_MAX: usize = 64;

/// A path and query, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) repository: String,
    pub(crate) place: Place,
    pub(crate) aspect: Aspect,
}

/// What of the repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// All of it.
    Repository,
    /// All files of a kind.
    Listing(FileKind),
    /// One file.
    File(FileKind, FileId),
}

/// What about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aspect {
    /// The thing itself.
    Itself,
    /// `?create=true`
    Create,
    /// `?policy`
    Policy,
    /// `?protection`
    Protection,
    /// `?capacity`
    Capacity,
}

impl Target {
    pub(crate) fn of_uri(uri: &Uri) -> Result<Self, Problem> {
        let aspect = match uri.query() {
            None | Some("") => Aspect::Itself,
            Some("create=true") => Aspect::Create,
            Some("policy") => Aspect::Policy,
            Some("protection") => Aspect::Protection,
            Some("capacity") => Aspect::Capacity,
            Some(_) => return Err(Problem::request_invalid("The query is none that this server knows")),
        };
        let path = uri.path().strip_prefix('/').ok_or_else(Problem::not_found)?;
        let parts: Vec<_> = path.split('/').collect();
        let place = match parts[1..] {
            [""] => Place::Repository,
            ["config"] => Place::File(FileKind::Config, FileId::CONFIG),
            [kind, ""] => Place::Listing(kind_of(kind)?),
            [kind, name] => Place::File(kind_of(kind)?, name.parse().map_err(|_| bad_name())?),
            _ => return Err(Problem::not_found()),
        };
        let repository = parts[0].to_owned();
        if !is_repository_name(&repository) {
            return Err(Problem::not_found());
        }
        let fits = match aspect {
            Aspect::Itself => place != Place::Repository,
            Aspect::Create | Aspect::Policy | Aspect::Capacity => place == Place::Repository,
            Aspect::Protection => matches!(place, Place::File(..)),
        };
        if fits { Ok(Self { repository, place, aspect }) } else { Err(Problem::not_found()) }
    }
}

/// 1 to 64 of `a-z 0-9 . _ -`, beginning with a letter or a digit.
pub(crate) fn is_repository_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    name.len() <= NAME_BYTES_MAX
        && name.bytes().all(is_allowed)
        && name.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
}

fn kind_of(directory: &str) -> Result<FileKind, Problem> {
    match directory {
        "keys" => Ok(FileKind::Key),
        "locks" => Ok(FileKind::Lock),
        "index" => Ok(FileKind::Index),
        "snapshots" => Ok(FileKind::Snapshot),
        "data" => Ok(FileKind::Pack),
        _ => Err(Problem::not_found()),
    }
}

fn bad_name() -> Problem {
    Problem::request_invalid("The name of a file consists of 64 lower-case hexadecimal digits")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Target, Problem> {
        Target::of_uri(&text.parse().unwrap())
    }

    #[test]
    fn paths_of_the_protocol_are_understood() {
        let id = "ab".repeat(32);
        let target = |place, aspect| Target { repository: "vault-1".into(), place, aspect };
        let file = Place::File(FileKind::Pack, id.parse().unwrap());
        for (path, expected) in [
            ("/vault-1/?create=true".into(), target(Place::Repository, Aspect::Create)),
            ("/vault-1/?policy".into(), target(Place::Repository, Aspect::Policy)),
            ("/vault-1/config".into(), target(Place::File(FileKind::Config, FileId::CONFIG), Aspect::Itself)),
            ("/vault-1/data/".into(), target(Place::Listing(FileKind::Pack), Aspect::Itself)),
            (format!("/vault-1/data/{id}"), target(file, Aspect::Itself)),
            (format!("/vault-1/data/{id}?protection"), target(file, Aspect::Protection)),
        ] {
            assert_eq!(parse(&path).unwrap(), expected, "{path}");
        }
    }

    #[test]
    fn no_path_leads_out_of_the_repository() {
        let id = "ab".repeat(32);
        for path in [
            "/".into(),
            "/vault-1".into(),
            "/vault-1/".into(),
            "//data/".into(),
            "/../data/".into(),
            "/.hidden/data/".into(),
            "/vault-1/../other/config".into(),
            "/vault-1/%2e%2e/config".into(),
            "/vault-1/data/..".into(),
            "/vault-1/data/../../config".into(),
            format!("/vault-1/data/ab/{id}"),
            format!("/vault-1/data/{}", id.to_uppercase()),
            format!("/vault-1/data/{id}0"),
            format!("/vault-1/data/{id}%00"),
            format!("/vault-1/guard/{id}"),
            "/vault-1/guard/journal".into(),
            "/Vault/data/".into(),
            "/vault-1/?create=true&x=1".into(),
            "/vault-1/data/?policy".into(),
        ] {
            assert!(parse(&path).is_err(), "{path}");
        }
    }
}
