//! The Hub's end of the data plane: a listener, and sessions that receive captures.

mod answer;
mod base_content;
mod body_reader;
mod capture_session;
mod chunk_check;
mod data_plane;
mod intake;
mod rate_limit;
mod receive;
mod routes;
mod session;
mod session_disk;
mod sessions;
mod ticket;

pub(crate) use capture_session::Owner;
pub use capture_session::{CaptureSession, CaptureSessionOptions, CommitOptions, Committed, TextFile};
pub use data_plane::{DataPlane, ListenOptions};
pub use rate_limit::RateLimit;
pub use session_disk::{Base, SessionDiskCounters};
