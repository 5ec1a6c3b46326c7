//! What a client reads from real servers is what they serve, however it is asked for.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "A test stops at what it does not expect."
)]

mod peers;

use std::time::{Duration, Instant};

use bytes::BytesMut;
use futures::future::join_all;
use peers::{MIB, connect, options, pattern};
use sendense_nbd::{Client, Error};
use sendense_testkit::nbd_server::NbdServer;
use tokio::time::timeout;

#[tokio::test]
async fn reads_of_any_alignment_give_the_bytes_of_the_disk() {
    let strict = ["--filter=blocksize-policy", "pattern", "3M", "blocksize-minimum=512"];
    let server = NbdServer::nbdkit(&[&strict[..], &["blocksize-error-policy=error"]].concat()).await.unwrap();
    let client = connect(&server).await;
    assert_eq!(client.size_bytes(), 3 << 20);
    assert_eq!(client.info().block_sizes.minimum, 512);
    for (offset, length) in
        [(0, 1), (1, 511), (511, 2), (513, 1024), (100, 3 * MIB - 100), (3 * MIB as u64 - 1, 1), (7, 0)]
    {
        let bytes = client.read(offset, length).await.unwrap();
        assert_eq!(bytes, pattern(offset, length), "{length} at {offset}");
    }
}

#[tokio::test]
async fn a_disk_whose_size_is_no_multiple_of_anything_is_read_to_its_end() {
    let server = NbdServer::nbdkit(&["pattern", "1000003"]).await.unwrap();
    let client = connect(&server).await;
    assert_eq!(client.read(0, 1_000_003).await.unwrap(), pattern(0, 1_000_003));
    assert_eq!(client.read(1_000_000, 3).await.unwrap(), pattern(1_000_000, 3));
    for (offset, length) in [(1_000_000, 4), (1_000_003, 1), (1_000_004, 0), (u64::MAX, 2)] {
        let beyond = client.read(offset, length).await.unwrap_err();
        assert!(matches!(beyond, Error::OutOfRange { size_bytes: 1_000_003, .. }), "{beyond}");
    }
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
    join_all(reads).await;
}

#[tokio::test]
async fn a_server_over_tcp_reads_like_one_over_a_unix_socket() {
    let server = NbdServer::nbdkit_tcp(&["pattern", "8M"]).await.unwrap();
    let client = connect(&server).await;
    assert_eq!(client.read(12_345, 5 * MIB).await.unwrap(), pattern(12_345, 5 * MIB));
}

#[tokio::test]
async fn a_server_with_one_thread_and_small_requests_reads_the_same() {
    let small = ["--filter=noparallel", "--filter=blocksize-policy", "pattern", "4M", "serialize=requests"];
    let limits = ["blocksize-minimum=512", "blocksize-preferred=4k", "blocksize-maximum=64k"];
    let strict = ["blocksize-error-policy=error"];
    let server = NbdServer::nbdkit(&[&small[..], &limits, &strict].concat()).await.unwrap();
    let client = connect(&server).await;
    assert_eq!(client.info().block_sizes.maximum, 64 << 10);
    assert_eq!(client.read(1, 3 * MIB).await.unwrap(), pattern(1, 3 * MIB));
}

#[tokio::test]
async fn a_server_without_structured_replies_reads_the_same() {
    let server = NbdServer::nbdkit(&["--no-sr", "pattern", "4M"]).await.unwrap();
    let client = connect(&server).await;
    assert!(!client.info().has_structured_replies);
    let reads = join_all((0..16).map(|index| client.read(index * 250_000, 250_000))).await;
    for (read, offset) in reads.into_iter().zip((0..).step_by(250_000)) {
        assert_eq!(read.unwrap(), pattern(offset, 250_000));
    }
}

#[tokio::test]
async fn a_filesystem_made_by_the_server_is_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("HELLO.TXT"), vec![b'x'; 100_000]).unwrap();
    let server = NbdServer::nbdkit(&["floppy", folder.path().to_str().unwrap()]).await.unwrap();
    let client = connect(&server).await;
    let length = usize::try_from(client.size_bytes()).unwrap();
    let disk = client.read(0, length).await.unwrap();
    assert_eq!(disk.len(), length);
    assert_eq!(disk[510..512], [0x55, 0xaa], "the boot sector is signed");
    let longest = disk.split(|byte| *byte != b'x').map(<[u8]>::len).max();
    assert_eq!(longest, Some(100_000), "the file lies in one piece");
}

#[tokio::test]
async fn reads_into_a_buffer_are_appended() {
    let server = NbdServer::nbdkit(&["pattern", "4M"]).await.unwrap();
    let mut options = options(&server);
    options.request_bytes_max = 64 << 10;
    let client = Client::connect(options).await.unwrap();
    let mut buffer = BytesMut::with_capacity(3 * MIB);
    buffer.extend_from_slice(b"head");
    let place = buffer.as_ptr();
    client.read_into(4096, MIB, &mut buffer).await.unwrap();
    client.read_into(5, 1000, &mut buffer).await.unwrap();
    client.read_into(0, 1001, &mut buffer).await.unwrap();
    assert_eq!(buffer.as_ptr(), place, "the bytes were received where the caller wanted them");
    let expected = [&b"head"[..], &pattern(4096, MIB), &pattern(5, 1000), &pattern(0, 1001)].concat();
    assert_eq!(buffer, expected);
    assert!(client.read_into(4 << 20, 1, &mut buffer).await.is_err());
    assert_eq!(buffer, expected, "an error leaves the buffer as it was");
}

#[tokio::test]
async fn reading_goes_on_after_callers_have_gone_away() {
    let server = NbdServer::nbdkit(&["--filter=delay", "pattern", "4M", "rdelay=50ms"]).await.unwrap();
    let mut options = options(&server);
    options.max_in_flight_bytes = 2 * MIB;
    let client = Client::connect(options).await.unwrap();
    for _ in 0..20 {
        assert!(timeout(Duration::from_millis(5), client.read(0, MIB)).await.is_err());
    }
    assert_eq!(client.read(8, MIB).await.unwrap(), pattern(8, MIB));
}

#[tokio::test]
async fn no_more_bytes_are_in_flight_than_allowed() {
    let server = NbdServer::nbdkit(&["--filter=delay", "memory", "64M", "rdelay=100ms"]).await.unwrap();
    let mut options = options(&server);
    options.connections = 2;
    options.force_multi_conn = true;
    options.max_in_flight_bytes = 2 * MIB;
    let client = Client::connect(options).await.unwrap();
    let begin = Instant::now();
    for read in join_all((0..8).map(|index| client.read(index << 20, MIB))).await {
        read.unwrap();
    }
    // Two at a time, so four rounds of a tenth of a second.
    assert!(begin.elapsed() >= Duration::from_millis(400), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn several_connections_are_opened_only_if_the_server_or_the_caller_vouches_for_them() {
    for (mode, force, expected) in [("disable", false, 1), ("disable", true, 3), ("emulate", false, 3)] {
        let mode_argument = format!("multi-conn-mode={mode}");
        let arguments = ["--filter=multi-conn", "memory", "1M", &mode_argument];
        let server = NbdServer::nbdkit(&arguments).await.unwrap();
        let mut options = options(&server);
        options.connections = 3;
        options.force_multi_conn = force;
        let client = Client::connect(options).await.unwrap();
        assert_eq!(client.connections(), expected, "{mode} {force}");
        assert_eq!(client.info().can_multi_conn, mode == "emulate");
    }
}

#[tokio::test]
async fn slow_connections_are_opened_side_by_side() {
    let server = NbdServer::nbdkit(&["--filter=delay", "memory", "1M", "delay-open=300ms"]).await.unwrap();
    let mut options = options(&server);
    options.connections = 8;
    options.force_multi_conn = true;
    let begin = Instant::now();
    Client::connect(options).await.unwrap();
    assert!(begin.elapsed() < Duration::from_millis(1500), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_closed_client_refuses_and_its_server_is_told() {
    let server = NbdServer::nbdkit(&["--filter=exitlast", "--filter=delay", "memory", "1M", "rdelay=100ms"]);
    let mut server = server.await.unwrap();
    let client = connect(&server).await;
    let (read, ()) = tokio::join!(client.read(0, 512), async {
        tokio::time::sleep(Duration::from_millis(20)).await;
        client.close().await;
    });
    read.unwrap();
    assert!(matches!(client.read(0, 512).await, Err(Error::Closed)));
    client.close().await;
    // The filter ends nbdkit when its last client has left.
    let ended = timeout(Duration::from_secs(5), server.wait()).await;
    assert!(ended.unwrap().unwrap().success());
}
