//! Binding of the engine for Node.js: conversions only. `packages/engine` is its one user and describes what is here;
//! blocks of disks never cross this border.

pub mod capture_disk;
pub mod capture_session;
mod convert;
pub mod data_plane;
pub mod place;
pub mod repository;
pub mod repository_jobs;
pub mod upkeep;
