//! The handshake with a server that says anything: `cargo +nightly fuzz run handshake` in `crates/nbd`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, &[u8])| {
    let (wants_tls, bytes) = input;
    let _ = sendense_nbd::fuzzing::negotiate(bytes, wants_tls);
});
