//! What the index of a large repository costs: `cargo run --release -p sendense-repo --example index_scale -- 100`
//! simulates 100 TiB of distinct chunks of 1 MiB, which takes some 6 GB of memory.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::cast_precision_loss, reason = "a measuring tool")]

fn main() {
    let tebibytes: u64 = std::env::args().nth(1).map_or(1, |text| text.parse().unwrap());
    let chunks = tebibytes << 20;
    let figures = sendense_repo::simulate_index(chunks);
    println!(
        "{tebibytes} TiB, {chunks} chunks: {:.1} bytes per chunk, {:.1} MB per TiB, sorted in {:.2} s, \
         found in {:.0} ns, missed in {:.0} ns, {} MB resident at most",
        figures.memory_bytes as f64 / chunks as f64,
        figures.memory_bytes as f64 / 1e6 / tebibytes as f64,
        figures.sort_seconds,
        figures.hit_nanoseconds,
        figures.miss_nanoseconds,
        resident_max_mb(),
    );
}

fn resident_max_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024 / 1_000_000
}
