//! Protection against removal: what object lock, retention or WORM storage is called elsewhere.

use std::fmt;
use std::time::{Duration, SystemTime};

/// Who may lift a protection before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProtectionMode {
    /// Accounts with a permission of their own. Ours needs none, and should have none.
    Governance,
    /// Nobody, the owner of the place included.
    Compliance,
}

impl fmt::Display for ProtectionMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Governance => "governance",
            Self::Compliance => "compliance",
        })
    }
}

/// How a storage protects what is written to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtectionPolicy {
    /// Who may lift it.
    pub mode: ProtectionMode,
    /// How long a new file is protected, from its upload on.
    pub window: Duration,
}

/// The protection of one file, as the place itself reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protection {
    /// Who may lift it.
    pub mode: ProtectionMode,
    /// The file cannot be removed before this moment.
    pub until: SystemTime,
}

impl Protection {
    /// Whether the file can still not be removed.
    #[must_use]
    pub fn is_in_force_at(&self, now: SystemTime) -> bool {
        now < self.until
    }
}
