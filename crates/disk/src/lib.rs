//! Sources of disk blocks, extents, and the test for zero.
//!
//! A [`BlockSource`] is a disk that can be read anywhere and knows where it has data. An [`Extent`] is a range of
//! bytes; [`ExtentSet`] is a normalised list of them with the few set operations that a capture needs.

mod error;
mod extent;
mod file_source;
mod memory_source;
mod nbd_source;
mod source;
mod zero;

pub use error::{Error, Result};
pub use extent::{Extent, ExtentSet};
pub use file_source::FileSource;
pub use memory_source::MemorySource;
pub use nbd_source::NbdSource;
pub use source::BlockSource;
pub use zero::is_zero;
