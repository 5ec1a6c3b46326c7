//! Replies of a server that says anything: `cargo +nightly fuzz run replies` in `crates/nbd`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (bool, &[u8])| {
    let (has_structured_replies, bytes) = input;
    sendense_nbd::fuzzing::receive_replies(bytes, has_structured_replies);
});
