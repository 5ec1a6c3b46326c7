//! What can be asked of a storage.

use std::fmt;

/// The operations of a [`crate::Storage`], by their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// `create`
    Create,
    /// `list`
    List,
    /// `size`, `exists`, `is_initialised`
    Size,
    /// `read` and `read_range`
    Read,
    /// `write`
    Write,
    /// `remove`
    Remove,
    /// `capacity`
    Capacity,
    /// `protection`
    Protection,
    /// `extend_protection`
    ExtendProtection,
}

impl Verb {
    /// Every verb, in the order of their declaration.
    pub const ALL: [Self; 9] = [
        Self::Create,
        Self::List,
        Self::Size,
        Self::Read,
        Self::Write,
        Self::Remove,
        Self::Capacity,
        Self::Protection,
        Self::ExtendProtection,
    ];

    /// Completes the sentence "Cannot …".
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::List => "list",
            Self::Size => "look up",
            Self::Read => "read",
            Self::Write => "write",
            Self::Remove => "remove",
            Self::Capacity => "measure",
            Self::Protection => "look up the protection of",
            Self::ExtendProtection => "protect",
        }
    }

    /// Whether it changes something.
    #[must_use]
    pub fn is_write(self) -> bool {
        matches!(self, Self::Create | Self::Write | Self::Remove | Self::ExtendProtection)
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}
