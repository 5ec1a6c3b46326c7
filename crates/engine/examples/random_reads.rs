//! Random reads of a disk of a restore point through the reader that will serve it, without a server in between: the
//! offsets are those of `infra/bench/tools/nbdtool.c`, and so is the line of JSON that each run prints.
//!
//! ```sh
//! PASSWORD=… cargo run --release -p sendense-engine --example random_reads -- \
//!   <repository> <VM> <tag> <file> <extents> <reference image> 4096:3:1:11 65536:3:8:13
//! ```
//!
//! The last arguments are runs, one after the other in one process with one cache: bytes of a read, seconds, readers
//! at the same time, seed.
#![expect(clippy::print_stdout, reason = "An example talks to a person.")]

use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sendense_engine::Secret;
use sendense_repo::{ChunkCache, DiskReader, Repository};
use sendense_storage::LocalStorage;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const CACHE_BYTES: usize = 256 << 20;

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [repository, vm, tag, file, extents, reference, runs @ ..] = &arguments[..] else {
        return Err("Which repository, VM, tag, file, extents, reference and runs?".into());
    };
    let begin = Instant::now();
    let storage = Arc::new(LocalStorage::open(repository).await?);
    let repository = Repository::open(storage, &Secret::new(std::env::var("PASSWORD")?)).await?;
    let points = repository.restore_points().await?;
    let point = points.iter().find(|point| point.hostname == *vm && point.tags.contains(tag));
    let point = point.ok_or("There is no such restore point")?;
    let path = format!("{}/{file}", point.paths.first().ok_or("It has no directory")?);
    let reader = repository.open_disk(&point.id, &path, &ChunkCache::new(CACHE_BYTES)).await?;
    println!("{{\"ready\": {:.4}}}", begin.elapsed().as_secs_f64());
    let job = Arc::new(Job { reader, extents: Extents::load(extents)?, reference: File::open(reference)? });
    for run in runs {
        let numbers = run.split(':').map(str::parse).collect::<std::result::Result<Vec<u64>, _>>()?;
        let [read_bytes, seconds, readers, seed] = numbers[..] else {
            return Err("A run has four numbers".into());
        };
        job.run(usize::try_from(read_bytes)?, Duration::from_secs(seconds), readers, seed).await?;
    }
    Ok(())
}

struct Job {
    reader: DiskReader,
    extents: Extents,
    reference: File,
}

impl Job {
    async fn run(self: &Arc<Self>, read_bytes: usize, time: Duration, readers: u64, seed: u64) -> Result<()> {
        let begin = Instant::now();
        let tasks: Vec<_> = (0..readers)
            .map(|number| tokio::spawn(Arc::clone(self).read(read_bytes, time, seed * 1_000_003 + number)))
            .collect();
        let (mut all, mut mismatches, mut first) = (Vec::new(), 0, 0);
        for (number, task) in tasks.into_iter().enumerate() {
            let (mut latencies, wrong) = task.await??;
            if number == 0 {
                first = latencies.first().copied().unwrap_or(0);
            }
            all.append(&mut latencies);
            mismatches += wrong;
        }
        let seconds = begin.elapsed().as_secs_f64();
        all.sort_unstable();
        let rank = |percent: usize| all.get(all.len() * percent / 100).or(all.last()).copied().unwrap_or(0);
        let per_second = f64::from(u32::try_from(all.len())?) / seconds;
        let megabytes = per_second * f64::from(u32::try_from(read_bytes)?) / 1e6;
        println!(
            "{{\"ops\": {}, \"iops\": {per_second:.1}, \"mb_s\": {megabytes:.2}, \"p50_us\": {}, \"p99_us\": {}, \
             \"max_us\": {}, \"first_us\": {first}, \"mismatch\": {mismatches}}}",
            all.len(),
            rank(50),
            rank(99),
            rank(100)
        );
        Ok(())
    }

    /// Reads until the time is over; latencies in microseconds, and how many reads were wrong.
    async fn read(self: Arc<Self>, read_bytes: usize, time: Duration, seed: u64) -> Result<(Vec<u64>, u64)> {
        let (mut state, mut latencies, mut mismatches) = (seed, Vec::new(), 0);
        let mut expected = vec![0; read_bytes];
        let end = Instant::now() + time;
        while Instant::now() < end {
            let offset = self.extents.at(random(&mut state)) / read_bytes as u64 * read_bytes as u64;
            if offset + read_bytes as u64 > self.reader.size_bytes() {
                continue;
            }
            let begin = Instant::now();
            let found = self.reader.read(offset, read_bytes).await?;
            latencies.push(u64::try_from(begin.elapsed().as_micros())?);
            self.reference.read_exact_at(&mut expected, offset)?;
            mismatches += u64::from(found != expected);
        }
        Ok((latencies, mismatches))
    }
}

/// `splitmix64`, as in nbdtool.c.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// Where there is something to read.
struct Extents {
    offsets: Vec<u64>,
    /// How many bytes lie before each.
    before: Vec<u64>,
    total: u64,
}

impl Extents {
    fn load(path: &str) -> Result<Self> {
        let mut extents = Self { offsets: Vec::new(), before: Vec::new(), total: 0 };
        for line in std::fs::read_to_string(path)?.lines() {
            let (offset, length) = line.split_once(' ').ok_or("A line is not an offset and a length")?;
            extents.offsets.push(offset.parse()?);
            extents.before.push(extents.total);
            extents.total += length.trim().parse::<u64>()?;
        }
        Ok(extents)
    }

    fn at(&self, random: u64) -> u64 {
        let place = random % self.total;
        let extent = self.before.partition_point(|before| *before <= place) - 1;
        self.offsets[extent] + place - self.before[extent]
    }
}
