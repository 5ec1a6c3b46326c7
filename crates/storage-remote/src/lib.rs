//! Repository files behind a network.
//!
//! [`S3Storage`] and [`AzureStorage`] keep the promises of [`sendense_storage::Storage`] with the means that each
//! protocol has. Files lie as restic lays them out, so that stock restic opens the same place with its own backend.
//! `docs/decisions/0021-remote-places-have-small-clients-of-our-own.md` says why the client is as it is.
//!
//! No secret ever stands in a URL, in an error or in [`sendense_storage::Storage::location`].

mod azure;
mod call;
mod folder_probe;
mod http;
mod layout;
mod place_probe;
mod s3;
mod xml;

pub use azure::{AzureSettings, AzureStorage};
pub use folder_probe::probe_folder;
pub use place_probe::{ObjectLockProbe, PlaceProbe};
pub use s3::{S3Settings, S3Storage};
