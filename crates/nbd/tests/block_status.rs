//! What real servers tell of holes and zeroes.
#![allow(clippy::unwrap_used, reason = "A test stops at what it does not expect.")]

mod peers;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use peers::{Export, Liar, MIB, chunk, connect, negotiate, next_request, options};
use sendense_nbd::{Client, Error, Extent};
use sendense_testkit::nbd_server::NbdServer;
use tokio::io::AsyncWriteExt;

/// 8 MiB, of which the third holds data.
fn sparse_image(path: &Path) {
    let file = File::create(path).unwrap();
    file.set_len(8 * MIB as u64).unwrap();
    file.write_all_at(&vec![9; MIB], 2 * MIB as u64).unwrap();
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
    let expected = |index| if (2 * MIB..3 * MIB).contains(&index) { 9 } else { 0 };
    assert!(bytes.iter().enumerate().all(|(index, byte)| *byte == expected(index)));
}

#[tokio::test]
async fn a_sparse_file_has_its_holes() {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("disk.raw");
    sparse_image(&image);
    let server = NbdServer::nbdkit(&["--readonly", "file", image.to_str().unwrap()]).await.unwrap();
    expect_hole_data_hole(&connect(&server).await).await;
}

#[tokio::test]
async fn a_qcow2_image_has_its_holes_on_several_connections() {
    let folder = tempfile::tempdir().unwrap();
    let (raw, qcow2) = (folder.path().join("disk.raw"), folder.path().join("disk.qcow2"));
    sparse_image(&raw);
    let mut convert = tokio::process::Command::new("qemu-img");
    convert.args(["convert", "-f", "raw", "-O", "qcow2"]).arg(&raw).arg(&qcow2);
    assert!(convert.status().await.unwrap().success());
    let server = NbdServer::qemu_nbd("qcow2", &qcow2).await.unwrap();
    let mut options = options(&server);
    options.connections = 4;
    let client = Client::connect(options).await.unwrap();
    assert_eq!(client.connections(), 4, "a read-only export of qemu-nbd may be shared");
    expect_hole_data_hole(&client).await;
}

#[tokio::test]
async fn a_disk_of_terabytes_is_asked_piece_by_piece() {
    let server = NbdServer::nbdkit(&["memory", "5T"]).await.unwrap();
    let client = connect(&server).await;
    let size_bytes = client.size_bytes();
    let all = client.block_status(0, size_bytes).await.unwrap();
    assert_eq!(all, [Extent { offset: 0, length: size_bytes, is_hole: true, is_zero: true }]);
    assert_eq!(client.block_status(7, 0).await.unwrap(), []);
    assert!(matches!(client.block_status(size_bytes, 1).await, Err(Error::OutOfRange { .. })));
}

#[tokio::test]
async fn a_server_that_cannot_tell_is_not_taken_for_one_without_holes() {
    let server = NbdServer::nbdkit(&["--no-sr", "memory", "1M"]).await.unwrap();
    let client = connect(&server).await;
    assert!(!client.info().has_block_status());
    assert!(matches!(client.block_status(0, 512).await, Err(Error::NoBlockStatus)));
    assert_eq!(client.read(0, 512).await.unwrap(), [0; 512].as_slice());
}

/// A server that describes `ranges` of lengths and flags whatever is asked, in the context of its choice.
fn describing(context: u32, ranges: &'static [(u32, u32)]) -> Liar {
    let payload = |(length, flags): &(u32, u32)| [length.to_be_bytes(), flags.to_be_bytes()].concat();
    let payload = [context.to_be_bytes().to_vec(), ranges.iter().flat_map(payload).collect()].concat();
    Liar::answering(move |asked| Some(chunk(true, 5, asked.cookie, &payload)))
}

#[tokio::test]
async fn short_answers_are_asked_on_and_long_ones_are_cut() {
    let liar = Liar::answering(|asked| {
        // Two descriptors, the last of which may reach past the end of the request.
        let told = [(300_000_u32, 0_u32), (200_000, 3)];
        let told = &told[..if asked.length > told[0].0 { 2 } else { 1 }];
        let fields = told.iter().flat_map(|(length, flags)| [*length, *flags]);
        let payload: Vec<_> = std::iter::once(42).chain(fields).flat_map(u32::to_be_bytes).collect();
        Some(chunk(true, 5, asked.cookie, &payload))
    });
    let client = Client::connect(liar.options()).await.unwrap();
    let told = client.block_status(100, (1 << 20) - 100).await.unwrap();
    let ends: Vec<_> = told.iter().map(|extent| (extent.offset, extent.length, extent.is_zero)).collect();
    let expected = [
        (100, 300_000, false),
        (300_100, 200_000, true),
        (500_100, 300_000, false),
        (800_100, 200_000, true),
    ];
    assert_eq!(ends[..4], expected);
    assert_eq!(ends[4..], [(1_000_100, 48_476, false)]);
}

#[tokio::test]
async fn answers_that_describe_nothing_or_something_else_are_refused() {
    for (context, ranges) in [
        (42, &[][..]),
        (42, &[(0, 0)]),
        (43, &[(4096, 0)]),
        (42, &[(4096, 0), (0, 0)]),
        (42, &[(1 << 20, 0), (1, 0)]),
    ] {
        let liar = describing(context, ranges);
        let client = Client::connect(liar.options()).await.unwrap();
        let error = client.block_status(0, 1 << 20).await.unwrap_err();
        assert!(matches!(error, Error::Protocol(_)), "{context} {ranges:?}: {error}");
    }
}

#[tokio::test]
async fn an_unaligned_question_is_widened_and_its_answer_cut() {
    let liar = Liar::telling(|mut stream| async move {
        negotiate(&mut stream, Export { block_sizes: [4096, 4096, 1 << 20], ..Export::default() }).await;
        while let Some(asked) = next_request(&mut stream).await {
            assert_eq!((asked.offset % 4096, asked.length % 4096), (0, 0));
            let payload = [42_u32, asked.length, 3].map(u32::to_be_bytes).concat();
            stream.write_all(&chunk(true, 5, asked.cookie, &payload)).await.unwrap();
        }
    });
    let client = Client::connect(liar.options()).await.unwrap();
    let told = client.block_status(5000, 1000).await.unwrap();
    assert_eq!(told, [Extent { offset: 5000, length: 1000, is_hole: true, is_zero: true }]);
}
