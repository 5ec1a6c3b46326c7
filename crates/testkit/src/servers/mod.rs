//! Real storage servers as child processes, on free ports of the loopback interface.
//!
//! `infra/bootstrap.sh --checks` installs them. Each has a private folder and ends when it is dropped.

mod azurite;
mod process;
mod sshd;
mod versitygw;

pub use azurite::Azurite;
pub use process::ServerProcess;
pub use sshd::Sshd;
pub use versitygw::Versitygw;
