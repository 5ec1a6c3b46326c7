//! Out of a repository again: restore a disk to a file.

mod output;
mod partial_file;
mod placement;
mod restore_disk;

pub use restore_disk::remove_leftovers;
pub(crate) use restore_disk::restore_disk;
pub use restore_disk::{RestoreCounters, RestoreOptions, RestoreProgress, RestoreReport};
