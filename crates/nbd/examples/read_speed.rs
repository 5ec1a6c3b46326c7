//! Reads a whole export and prints megabytes per second and CPU seconds per gigabyte of this process.
//!
//! ```sh
//! nbdkit -U - file big.img --run 'cargo run --release -p sendense-nbd --example read_speed -- $unixsocket'
//! ```
//!
//! Arguments: socket, connections (1), KiB of a read (1024), reads at the same time (16).
#![expect(clippy::print_stdout, reason = "An example talks to a person.")]

use std::error::Error;
use std::time::Instant;

use futures::{StreamExt, TryStreamExt, stream};
use sendense_nbd::{Address, Client, ConnectOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let number = |index: usize, default: usize| arguments.get(index).map_or(Ok(default), |text| text.parse());
    let socket = arguments.first().ok_or("Which socket?")?;
    let (connections, read_bytes, at_once) = (number(1, 1)?, number(2, 1024)? << 10, number(3, 16)?);
    let client = Client::connect(ConnectOptions {
        connections,
        force_multi_conn: true,
        ..ConnectOptions::new(Address::Unix(socket.into()))
    })
    .await?;
    let begin = Instant::now();
    let total = client.size_bytes();
    let offsets = (0..total).step_by(read_bytes);
    let reads = offsets.map(|offset| {
        let length = usize::try_from(total - offset).unwrap_or(usize::MAX).min(read_bytes);
        client.read(offset, length)
    });
    let read_total =
        stream::iter(reads).buffer_unordered(at_once).try_fold(0, async |sum, bytes| Ok(sum + bytes.len()));
    let gigabytes = f64::from(u32::try_from(read_total.await? >> 10)?) * 1024.0 / 1e9;
    let seconds = begin.elapsed().as_secs_f64();
    let cpu_seconds = cpu_seconds()?;
    println!(
        "{connections} connections, {at_once} x {} KiB: {:.0} MB/s, {:.3} CPU s/GB",
        read_bytes >> 10,
        gigabytes * 1000.0 / seconds,
        cpu_seconds / gigabytes
    );
    client.close().await;
    Ok(())
}

/// User and system time of this process (`proc_pid_stat(5)`, fields 14 and 15), in ticks of 10 ms.
fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11);
    let ticks: u32 = fields.take(2).map(str::parse::<u32>).sum::<Result<_, _>>()?;
    Ok(f64::from(ticks) / 100.0)
}
