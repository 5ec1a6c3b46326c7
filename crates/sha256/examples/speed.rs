//! Measures the throughput of hashing, one message and two messages at a time: `cargo run --release -p sendense-sha256 --example speed`.
#![allow(clippy::print_stdout, reason = "a program")]

use std::hint::black_box;
use std::time::Instant;

use sendense_sha256::Sha256;
use sha2::Digest as _;

const CHUNK_BYTES: usize = 256 << 10;
const PASSES: usize = 4000;

fn main() {
    let messages = [vec![1; CHUNK_BYTES], vec![2; CHUNK_BYTES]];
    let [first, second] = [messages[0].as_slice(), messages[1].as_slice()];
    measure("sha2, one after the other", || {
        black_box([sha2::Sha256::digest(black_box(first)), sha2::Sha256::digest(black_box(second))]);
    });
    measure("this, one after the other", || {
        black_box([Sha256::digest(black_box(first)), Sha256::digest(black_box(second))]);
    });
    measure("this, two at a time", || {
        black_box(Sha256::digest_both(black_box([first, second])));
    });
}

/// Runs what hashes two chunks.
#[expect(clippy::cast_precision_loss, reason = "for people")]
fn measure(name: &str, hash: impl Fn()) {
    let begin = Instant::now();
    (0..PASSES).for_each(|_| hash());
    let bytes = (2 * CHUNK_BYTES * PASSES) as f64;
    println!("{name}: {:.2} GB/s", bytes / begin.elapsed().as_secs_f64() / 1e9);
}
