//! Test doubles: faulty storage, NBD servers, disk patterns.

pub mod nbd_server;
pub mod storage;
pub mod tls_files;
