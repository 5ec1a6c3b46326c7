//! Where repository files live.
//!
//! A repository consists of small files that are written once, read often and removed some day. [`Storage`] is
//! all it asks of the place that holds them. [`LocalStorage`] keeps them in a directory, [`MemoryStorage`] in
//! memory; [`Retry`] and [`Limit`] wrap any storage. The order that works is
//! `Retry(Limit(storage))`: an attempt that waits between two tries must not hold a place meanwhile.
//!
//! Every implementation passes the suite in `sendense_testkit::storage`.

mod error;
mod file;
mod limit;
mod local;
mod memory;
mod protection;
mod retry;
mod storage;

pub use error::{Error, ErrorKind, Result};
pub use file::{FileEntry, FileId, FileKind, ParseFileIdError};
pub use limit::Limit;
pub use local::LocalStorage;
pub use memory::MemoryStorage;
pub use protection::{Protection, ProtectionMode, ProtectionPolicy};
pub use retry::{Retry, RetryPolicy};
pub use storage::{Capacity, Storage};
