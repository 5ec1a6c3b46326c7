//! Doubles and tests for storages: what every storage must do ([`suite`]), what it must say of a wrong place
//! ([`refusals`]), and one that breaks on demand.

mod faulty;
mod suite;

pub use faulty::{Fault, FaultyStorage, Operation};
pub use sendense_storage::Verb;
pub use suite::{refusals, suite};
