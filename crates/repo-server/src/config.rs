//! The configuration: a JSON file that only the administrator of this machine writes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use crate::guard::GuardRules;
use crate::target::is_repository_name;

const DAY_SECONDS: u64 = 86_400;
const TEN_YEARS_DAYS: u64 = 3653;

/// Everything that the server is told.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Address and port; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Certificate and key. Without them the server listens on a loopback address only.
    pub tls: Option<TlsFiles>,
    /// The file of credentials.
    pub credentials: PathBuf,
    /// The repositories, by name.
    pub repositories: BTreeMap<String, RepositoryConfig>,
}

/// PEM files.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TlsFiles {
    /// The chain, the certificate of this server first.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// One repository.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RepositoryConfig {
    /// Its folder, which must exist.
    pub folder: PathBuf,
    /// For how many days a new file cannot be removed.
    pub window_days: u64,
    /// For how many days at most a client can protect a file, and how long a window it can ask for.
    #[serde(default = "ten_years")]
    pub protection_days_max: u64,
}

fn ten_years() -> u64 {
    TEN_YEARS_DAYS
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("Cannot read {path}")]
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not what it must be.
    #[error("{path} is not valid: {reason}")]
    Invalid {
        /// Which one.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

impl Config {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// [`ConfigError`], with a sentence for the administrator.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let config: Self = load_json(path)?;
        config.check().map_err(|reason| ConfigError::Invalid { path: path.into(), reason })?;
        Ok(config)
    }

    fn check(&self) -> Result<(), String> {
        if self.tls.is_none() && !self.listen.ip().is_loopback() {
            return Err(format!("{} is not a loopback address, so `tls` is needed", self.listen.ip()));
        }
        for (name, repository) in &self.repositories {
            if !is_repository_name(name) {
                return Err(format!("{name:?} is no name for a repository: 1 to 64 of a-z 0-9 . _ -"));
            }
            if !repository.folder.is_absolute() {
                return Err(format!("The folder of {name} must be an absolute path"));
            }
            if repository.window_days > repository.protection_days_max {
                return Err(format!("The window of {name} is longer than protectionDaysMax"));
            }
            if repository.protection_days_max > 100 * TEN_YEARS_DAYS {
                return Err(format!("protectionDaysMax of {name} is more than a thousand years"));
            }
        }
        if self.repositories.is_empty() {
            return Err("there is no repository in it".into());
        }
        Ok(())
    }
}

impl RepositoryConfig {
    /// What the guard goes by.
    #[must_use]
    pub fn rules(&self) -> GuardRules {
        GuardRules {
            window: Duration::from_secs(self.window_days * DAY_SECONDS),
            protection_max: Duration::from_secs(self.protection_days_max * DAY_SECONDS),
        }
    }
}

pub(crate) fn load_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    let text = read(path)?;
    serde_json::from_str(&text)
        .map_err(|error| ConfigError::Invalid { path: path.into(), reason: error.to_string() })
}

pub(crate) fn read(path: &Path) -> Result<String, ConfigError> {
    std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<(), String> {
        serde_json::from_str::<Config>(text).map_err(|error| error.to_string())?.check()
    }

    fn with(listen: &str, name: &str, rest: &str) -> String {
        format!(
            r#"{{"listen": "{listen}", "credentials": "/etc/c.json", "repositories": {{"{name}": {{"folder": "/srv/v", {rest}}}}}}}"#
        )
    }

    #[test]
    fn a_server_without_tls_listens_on_loopback_only() {
        check(&with("127.0.0.1:0", "vault", "\"windowDays\": 30")).unwrap();
        assert!(check(&with("0.0.0.0:8420", "vault", "\"windowDays\": 30")).is_err());
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (name, rest) in [
            ("../x", "\"windowDays\": 30"),
            ("vault", "\"windowDays\": 30, \"protectionDaysMax\": 29"),
            ("vault", "\"windowDays\": 30, \"windowDay\": 3"),
            ("vault", "\"windowDays\": -1"),
            ("vault", "\"protectionDaysMax\": 29"),
            ("vault", "\"windowDays\": 400000, \"protectionDaysMax\": 400000"),
        ] {
            assert!(check(&with("127.0.0.1:0", name, rest)).is_err(), "{name} {rest}");
        }
    }
}
