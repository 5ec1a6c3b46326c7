//! Doubles and tests for storages: what every storage must do ([`suite`]), and one that breaks on demand.

mod faulty;
mod suite;

pub use faulty::{Fault, FaultyStorage, Operation, Verb};
pub use suite::suite;
