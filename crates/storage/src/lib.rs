//! Where repository files live: one trait, local storage, wrappers.
