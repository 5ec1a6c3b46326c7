//! Test doubles: faulty storage, NBD servers, disk patterns; and an explorer of interleavings.

pub mod interleave;
pub mod nbd_server;
pub mod servers;
pub mod storage;
pub mod tls_files;
