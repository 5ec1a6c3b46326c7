//! Where repository files live.
//!
//! A repository consists of small files that are written once, read often and removed some day. [`Storage`] is
//! all it asks of the place that holds them. [`LocalStorage`] keeps them in a directory, [`MemoryStorage`] in
//! memory; `sendense-storage-remote` has the places behind a network. Wrappers add what any place may need, and are
//! themselves storages. The order that works, from outside in:
//!
//! | wrapper | why it stands there |
//! | --- | --- |
//! | [`Metrics`] | counts what callers see: an operation that succeeded at its third try is one success that took long |
//! | [`Guard`] | its refusal is final and must not be repeated; its own counts are repeated like any other reading |
//! | [`Retry`] | its waits between two tries hold no place of the limit |
//! | [`Throttle`] | every try is paid for, since every try goes over the line; who waits holds no place |
//! | [`Limit`] | whoever waits for a place is not late: the clock of the timeout does not run yet |
//! | [`Timeout`] | sees one try of one operation and nothing else |
//!
//! Every implementation passes the suite in `sendense_testkit::storage`.

mod around;
mod error;
mod file;
mod guard;
mod limit;
mod local;
mod memory;
mod metrics;
mod protection;
mod retry;
mod secret;
mod storage;
mod throttle;
mod timeout;
mod verb;

pub use error::{Error, ErrorKind, Result};
pub use file::{FileEntry, FileId, FileKind, ParseFileIdError};
pub use guard::{Guard, GuardLimits};
pub use limit::Limit;
pub use local::{LocalStorage, LocalUpload, WRITE_BYTES_MAX, is_temporary_name, temporary_name};
pub use memory::MemoryStorage;
pub use metrics::{Metrics, VerbMetrics};
pub use protection::{Protection, ProtectionMode, ProtectionPolicy};
pub use retry::{Retry, RetryPolicy};
pub use secret::Secret;
pub use storage::{Capacity, Storage};
pub use throttle::{ByteBudget, Throttle};
pub use timeout::{Timeout, TimeoutPolicy};
pub use verb::Verb;
