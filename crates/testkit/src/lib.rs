//! Test doubles: faulty storage, NBD servers, disk patterns.

pub mod storage;
