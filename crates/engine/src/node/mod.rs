//! The Node's end of the data plane: read a disk, send what the Hub's repository lacks.

mod batcher;
mod budget;
mod capture;
mod capture_counters;
mod chunk_pool;
mod compressor;
mod hub_client;
mod identify;
mod nbd_export;
mod pipeline;
mod plan;
mod upload_body;

pub use budget::MemoryBudget;
pub use capture::{CaptureOptions, CaptureReport, capture_disk};
pub use capture_counters::{CaptureCounters, CaptureProgress};
pub use hub_client::Target;
pub use nbd_export::NbdExport;
pub use plan::Areas;
