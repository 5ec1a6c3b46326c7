//! Which blob lies where: index files on the storage and one index of them all in memory.

mod damage;
mod file;
mod memory;
mod scan;
mod simulate;

pub(crate) use damage::{Damage, Place};
pub(crate) use file::{IndexFile, IndexPack, MarkedPack};
pub(crate) use memory::{Index, IndexLoader, Location};
pub use simulate::{IndexFigures, simulate_index};
