//! One suite for every source: the same disk from memory, from a file, and over NBD.
#![allow(clippy::unwrap_used, reason = "A test stops at what it does not expect.")]

use std::os::unix::fs::FileExt;

use bytes::BytesMut;
use sendense_disk::{BlockSource, Error, Extent, ExtentSet, FileSource, MemorySource, NbdSource};
use sendense_nbd::{Address, Client, ConnectOptions};
use sendense_testkit::nbd_server::NbdServer;
use tempfile::NamedTempFile;

/// No multiple of any block, so that the end of the disk is met.
const SIZE: usize = (3 << 20) + 517;

/// Data in the middle and at the end, and nothing elsewhere.
fn disk() -> Vec<u8> {
    let mut bytes = vec![0; SIZE];
    for (index, byte) in bytes[1 << 20..2 << 20].iter_mut().enumerate() {
        *byte = u8::try_from(index % 251).unwrap() + 1;
    }
    bytes[SIZE - 1] = 7;
    bytes
}

fn image() -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    file.as_file().set_len(SIZE as u64).unwrap();
    file.as_file().write_all_at(&disk()[1 << 20..2 << 20], 1 << 20).unwrap();
    file.as_file().write_all_at(&[7], SIZE as u64 - 1).unwrap();
    file
}

async fn over_nbd(arguments: &[&str], image: &NamedTempFile) -> (NbdServer, NbdSource) {
    let file = ["--readonly", "file", image.path().to_str().unwrap()];
    let server = NbdServer::nbdkit(&[arguments, &file].concat()).await.unwrap();
    let client = Client::connect(ConnectOptions::new(Address::Unix(server.socket()))).await.unwrap();
    (server, NbdSource::new(client))
}

/// What every source promises.
async fn keeps_its_promises(source: &dyn BlockSource) {
    let disk = disk();
    assert_eq!(source.size_bytes(), SIZE as u64);
    for (offset, length) in
        [(0, SIZE), (0, 1), (1 << 20, 1 << 20), ((1 << 20) - 3, 7), (SIZE - 1, 1), (SIZE, 0), (5, 0)]
    {
        let read = source.read(offset as u64, length).await.unwrap();
        assert_eq!(read, disk[offset..offset + length], "{length} at {offset}");
        let mut buffer = BytesMut::from(&b"before"[..]);
        source.read_into(offset as u64, length, &mut buffer).await.unwrap();
        assert_eq!(buffer, [b"before", &disk[offset..offset + length]].concat(), "{length} at {offset}");
    }
    for (offset, length) in [(SIZE as u64, 1), (SIZE as u64 - 1, 2), (u64::MAX, 1)] {
        let beyond = source.read(offset, length).await;
        assert!(matches!(beyond, Err(Error::OutOfRange { .. })), "{length} at {offset}: {beyond:?}");
    }
    let allocated = source.allocated().await.unwrap();
    assert_eq!(ExtentSet::new(allocated.clone()).into_extents(), allocated, "sorted, disjoint, not adjacent");
    assert!(allocated.iter().all(|extent| extent.end() <= SIZE as u64));
    let is_allocated =
        |byte: usize| allocated.iter().any(|extent| (extent.offset..extent.end()).contains(&(byte as u64)));
    let mut data = disk.iter().enumerate().filter(|(_, byte)| **byte != 0);
    assert!(data.all(|(index, _)| is_allocated(index)), "{allocated:?}");
}

#[tokio::test]
async fn a_disk_in_memory_keeps_the_promises() {
    keeps_its_promises(&MemorySource::new(disk())).await;
}

#[tokio::test]
async fn a_file_keeps_the_promises_and_knows_its_holes() {
    let image = image();
    let source = FileSource::open(image.path()).unwrap();
    keeps_its_promises(&source).await;
    assert!(ExtentSet::new(source.allocated().await.unwrap()).total_bytes() < 2 << 20);
}

#[tokio::test]
async fn an_nbd_server_keeps_the_promises_and_knows_the_holes() {
    let image = image();
    let (_server, source) = over_nbd(&[], &image).await;
    keeps_its_promises(&source).await;
    assert!(ExtentSet::new(source.allocated().await.unwrap()).total_bytes() < 2 << 20);
    source.into_client().close().await;
}

#[tokio::test]
async fn an_nbd_server_that_knows_no_holes_has_data_everywhere() {
    let image = image();
    let (_server, source) = over_nbd(&["--no-sr"], &image).await;
    keeps_its_promises(&source).await;
    assert_eq!(source.allocated().await.unwrap(), [Extent { offset: 0, length: SIZE as u64 }]);
}

#[tokio::test]
async fn a_file_that_is_not_there_is_no_disk() {
    let missing = FileSource::open("/nowhere/disk.raw".as_ref()).unwrap_err();
    assert!(matches!(missing, Error::File(_)) && !missing.is_temporary(), "{missing}");
}
