//! The client against nbdkit and qemu-nbd.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "A test stops at what it does not expect."
)]

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use sendense_nbd::{Address, Client, ConnectOptions, Error, Extent};
use sendense_testkit::nbd_server::NbdServer;

const MIB: usize = 1 << 20;

fn options(server: &NbdServer) -> ConnectOptions {
    ConnectOptions::new(Address::Unix(server.socket().to_owned()))
}

async fn connect(server: &NbdServer) -> Client {
    Client::connect(options(server)).await.unwrap()
}

/// The bytes of nbdkit's pattern plugin: each 8 bytes are their own offset.
fn pattern(offset: u64, length: usize) -> Vec<u8> {
    let first = offset / 8;
    let words = (first..first + length as u64 / 8 + 2).flat_map(|word| (word * 8).to_be_bytes());
    words.skip((offset % 8) as usize).take(length).collect()
}

#[tokio::test]
async fn reads_of_any_alignment_give_the_bytes_of_the_disk() {
    let server = NbdServer::nbdkit(&["--filter=blocksize-policy", "pattern", "3M", "blocksize-minimum=512"])
        .await
        .unwrap();
    let client = connect(&server).await;
    assert_eq!(client.size_bytes(), 3 << 20);
    assert_eq!(client.info().block_bytes_min, 512);
    for (offset, length) in
        [(0, 1), (1, 511), (511, 2), (513, 1024), (100, 3 * MIB - 100), (3 * MIB as u64 - 1, 1), (7, 0)]
    {
        assert_eq!(
            client.read(offset, length).await.unwrap(),
            pattern(offset, length),
            "{length} at {offset}"
        );
    }
    client.close().await;
}

#[tokio::test]
async fn a_disk_whose_size_is_no_multiple_of_anything_is_read_to_its_end() {
    let server = NbdServer::nbdkit(&["pattern", "1000003"]).await.unwrap();
    let client = connect(&server).await;
    assert_eq!(client.read(0, 1_000_003).await.unwrap(), pattern(0, 1_000_003));
    let beyond = client.read(1_000_000, 4).await.unwrap_err();
    assert!(matches!(beyond, Error::OutOfRange { .. }), "{beyond}");
    assert!(client.read(u64::MAX, 2).await.is_err());
}

#[tokio::test]
async fn many_reads_on_several_connections_do_not_mix() {
    let server = NbdServer::nbdkit(&["pattern", "64M"]).await.unwrap();
    let mut options = options(&server);
    options.connections = 4;
    options.force_multi_conn = true;
    options.max_in_flight_bytes = 4 * MIB;
    options.request_bytes_max = 300 * 1024;
    let client = Client::connect(options).await.unwrap();
    assert_eq!(client.connections(), 4);
    let reads = (0..200_u64).map(|index| {
        let (offset, length) = (index * 331_777 % (60 << 20), (index as usize * 7919) % (2 * MIB) + 1);
        let client = &client;
        async move { assert_eq!(client.read(offset, length).await.unwrap(), pattern(offset, length)) }
    });
    futures::future::join_all(reads).await;
}

#[tokio::test]
async fn holes_are_told_and_read_as_zeroes() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(8 * MIB as u64).unwrap();
    file.as_file().write_all_at(&vec![9; MIB], 2 * MIB as u64).unwrap();
    let server = NbdServer::nbdkit(&["--readonly", "file", file.path().to_str().unwrap()]).await.unwrap();
    let client = connect(&server).await;
    expect_hole_data_hole(&client).await;
}

#[tokio::test]
async fn qemu_tells_the_holes_of_a_qcow2_image() {
    let folder = tempfile::tempdir().unwrap();
    let (raw, qcow2) = (folder.path().join("disk.raw"), folder.path().join("disk.qcow2"));
    let file = std::fs::File::create(&raw).unwrap();
    file.set_len(8 * MIB as u64).unwrap();
    file.write_all_at(&vec![9; MIB], 2 * MIB as u64).unwrap();
    convert(&raw, &qcow2).await;
    let server = NbdServer::qemu_nbd("qcow2", &qcow2).await.unwrap();
    expect_hole_data_hole(&connect(&server).await).await;
}

async fn convert(raw: &Path, qcow2: &Path) {
    let mut command = tokio::process::Command::new("qemu-img");
    let status =
        command.args(["convert", "-f", "raw", "-O", "qcow2"]).arg(raw).arg(qcow2).status().await.unwrap();
    assert!(status.success());
}

async fn expect_hole_data_hole(client: &Client) {
    let all = client.block_status(0, client.size_bytes()).await.unwrap();
    let data: Vec<_> = all.iter().filter(|extent| !extent.is_zero).collect();
    let total: u64 = all.iter().map(|extent| extent.length).sum();
    assert_eq!(total, 8 * MIB as u64);
    assert!(matches!(data[..], [Extent { offset: 2_097_152, length: 1_048_576, .. }]), "{all:?}");
    let part = client.block_status(2 * MIB as u64 + 100, 1000).await.unwrap();
    assert!(matches!(part[..], [Extent { offset: 2_097_252, length: 1000, is_zero: false, .. }]), "{part:?}");
    let bytes = client.read(0, 8 * MIB).await.unwrap();
    assert!(
        bytes
            .iter()
            .enumerate()
            .all(|(index, byte)| *byte == if (2 * MIB..3 * MIB).contains(&index) { 9 } else { 0 })
    );
}

#[tokio::test]
async fn an_error_of_the_disk_is_told_with_its_place_and_the_connection_goes_on() {
    let server =
        NbdServer::nbdkit(&["--filter=error", "memory", "4M", "error-pread=EIO", "error-pread-rate=50%"])
            .await
            .unwrap();
    let client = connect(&server).await;
    let mut results = Vec::new();
    for index in 0..64 {
        results.push(client.read(index * 4096, 4096).await);
    }
    let errors: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    assert!((1..64).contains(&errors.len()));
    assert!(
        errors
            .iter()
            .all(|error| matches!(error, Error::Read { name: "EIO", length: 4096, .. })
                && !error.is_temporary())
    );
}

#[tokio::test]
async fn an_unknown_export_is_refused_with_the_words_of_the_server() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(MIB as u64).unwrap();
    let server = NbdServer::qemu_nbd("raw", file.path()).await.unwrap();
    let mut options = options(&server);
    options.export = "nowhere".into();
    let error = Client::connect(options).await.err().unwrap();
    assert!(matches!(error, Error::Refused { option: "NBD_OPT_GO", .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_dies_fails_all_who_wait_at_once() {
    let mut server = NbdServer::nbdkit(&["--filter=delay", "memory", "4M", "rdelay=30"]).await.unwrap();
    let client = connect(&server).await;
    let begin = Instant::now();
    let reads = futures::future::join_all((0..8).map(|index| client.read(index * 4096, 4096)));
    let (results, ()) = tokio::join!(reads, async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.kill().await.unwrap();
    });
    assert!(results.iter().all(|result| matches!(result, Err(error) if error.is_temporary())), "{results:?}");
    assert!(client.read(0, 512).await.is_err());
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_given_up() {
    let server = NbdServer::nbdkit(&["--filter=delay", "memory", "4M", "rdelay=30"]).await.unwrap();
    let mut options = options(&server);
    options.request_timeout = Duration::from_millis(200);
    let client = Client::connect(options).await.unwrap();
    let error = client.read(0, 512).await.unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }) && error.is_temporary(), "{error}");
    assert!(matches!(client.read(0, 512).await, Err(Error::Disconnected(_))));
}

#[tokio::test]
async fn reading_goes_on_after_a_caller_has_gone_away() {
    let server = NbdServer::nbdkit(&["--filter=delay", "pattern", "4M", "rdelay=50ms"]).await.unwrap();
    let client = connect(&server).await;
    for _ in 0..5 {
        let cut_off = tokio::time::timeout(Duration::from_millis(5), client.read(0, MIB)).await;
        assert!(cut_off.is_err());
    }
    assert_eq!(client.read(8, MIB).await.unwrap(), pattern(8, MIB));
}

#[tokio::test]
async fn nobody_there_is_an_error_that_names_the_place() {
    let error =
        Client::connect(ConnectOptions::new(Address::Unix("/nowhere/nbd.sock".into()))).await.err().unwrap();
    assert!(error.is_temporary() && error.to_string().contains("/nowhere/nbd.sock"), "{error}");
}
