//! The config file: what makes a place a repository.

use rand::RngCore;
use sendense_storage::FileKind;
use serde::{Deserialize, Serialize};

use crate::{Error, Result, polynomial};

/// The version of the format that is written, and the only one that is read.
pub(crate) const VERSION: u32 = 2;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Config {
    version: u32,
    id: String,
    chunker_polynomial: String,
}

impl Config {
    /// The config of a new repository.
    pub(crate) fn random() -> Self {
        let mut id = [0; 32];
        rand::rng().fill_bytes(&mut id);
        let chunker_polynomial = format!("{:x}", polynomial::random_irreducible());
        Self { version: VERSION, id: hex::encode(id), chunker_polynomial }
    }

    /// Refuses what we would not understand.
    pub(crate) fn check(self) -> Result<Self> {
        if self.version != VERSION {
            return Err(Error::UnsupportedVersion { version: self.version });
        }
        if self.id.is_empty() {
            return Err(Error::damaged(FileKind::Config, &"config", &"the repository has no id"));
        }
        Ok(self)
    }

    pub(crate) fn id(&self) -> &str {
        &self.id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_of_another_version_is_refused_by_its_number() {
        for version in [0, 1, 3] {
            let config = Config { version, ..Config::random() };
            assert!(matches!(config.check(), Err(Error::UnsupportedVersion { version: v }) if v == version));
        }
        assert!(Config::random().check().is_ok());
    }
}
