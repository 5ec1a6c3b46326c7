//! What every storage must do. An implementation's test makes an empty storage and calls [`suite`].

// A suite is a test: it stops at the first broken promise.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use bytes::Bytes;
use sendense_storage::{Error, ErrorKind, FileEntry, FileId, FileKind, Storage};

/// Holds the promises of [`Storage`] against an empty place that was not yet created.
///
/// # Panics
/// When a promise is broken.
pub async fn suite(storage: Arc<dyn Storage>) {
    creation(&*storage).await;
    for kind in FileKind::ALL {
        written_files_can_be_read(&*storage, kind).await;
        ranges_are_exact(&*storage, kind).await;
        content_is_never_replaced(&*storage, kind).await;
        removal_can_be_repeated(&*storage, kind).await;
    }
    kinds_are_apart(&*storage).await;
    listings_are_complete(&*storage).await;
    writers_of_one_file_agree(&storage).await;
    empty_and_large_files(&*storage).await;
    capacity_is_plausible(&*storage).await;
}

/// What each operation says of a place that is a wrong one: none may look like an empty or a working place.
///
/// # Panics
/// When an operation succeeds.
pub async fn refusals(storage: &dyn Storage) -> Vec<Error> {
    let id = an_id(7);
    vec![
        storage.create().await.unwrap_err(),
        storage.is_initialised().await.unwrap_err(),
        storage.list(FileKind::Pack).await.unwrap_err(),
        storage.list(FileKind::Config).await.unwrap_err(),
        storage.size(FileKind::Pack, &id).await.unwrap_err(),
        storage.read(FileKind::Pack, &id).await.unwrap_err(),
        storage.read_range(FileKind::Pack, &id, 0, 1).await.unwrap_err(),
        storage.write(FileKind::Pack, &id, a_content(1, 10)).await.unwrap_err(),
        storage.remove(FileKind::Pack, &id).await.unwrap_err(),
    ]
}

fn an_id(seed: u8) -> FileId {
    FileId::new(std::array::from_fn(|i| seed.wrapping_mul(31).wrapping_add(u8::try_from(i).unwrap())))
}

fn a_content(seed: u8, len: usize) -> Bytes {
    (0..len).map(|i| seed.wrapping_add(u8::try_from(i % 251).unwrap())).collect::<Vec<_>>().into()
}

async fn creation(storage: &dyn Storage) {
    assert!(!storage.is_initialised().await.unwrap(), "the place must be empty");
    storage.create().await.unwrap();
    storage.create().await.unwrap();
    assert!(!storage.is_initialised().await.unwrap(), "a place without config is no repository");
    for kind in FileKind::ALL {
        assert_eq!(storage.list(kind).await.unwrap(), [], "{kind}");
    }
}

async fn written_files_can_be_read(storage: &dyn Storage, kind: FileKind) {
    let (id, content) = (an_id(1), a_content(1, 70_000));
    assert_eq!(storage.read(kind, &id).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(storage.size(kind, &id).await.unwrap_err().kind(), ErrorKind::NotFound);
    assert!(!storage.exists(kind, &id).await.unwrap());
    storage.write(kind, &id, content.clone()).await.unwrap();
    assert_eq!(storage.read(kind, &id).await.unwrap(), content);
    assert_eq!(storage.size(kind, &id).await.unwrap(), 70_000);
    assert!(storage.exists(kind, &id).await.unwrap());
    assert_eq!(storage.is_initialised().await.unwrap(), storage.exists(FileKind::Config, &id).await.unwrap());
    let listed_id = if kind == FileKind::Config { FileId::CONFIG } else { id };
    assert_eq!(storage.list(kind).await.unwrap(), [FileEntry { id: listed_id, size_bytes: 70_000 }]);
}

async fn ranges_are_exact(storage: &dyn Storage, kind: FileKind) {
    let (id, content) = (an_id(1), a_content(1, 70_000));
    for (offset, len) in [(0, 1), (0, 70_000), (69_999, 1), (123, 4567), (70_000, 0)] {
        let range = storage.read_range(kind, &id, offset as u64, len).await.unwrap();
        assert_eq!(range, content.slice(offset..offset + len), "{kind} {offset} {len}");
    }
    for (offset, len) in [(0, 70_001), (70_000, 1), (u64::MAX >> 2, 1)] {
        let error = storage.read_range(kind, &id, offset, len).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{kind} {offset} {len}");
    }
    let missing = storage.read_range(FileKind::Pack, &an_id(99), 0, 1).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

async fn content_is_never_replaced(storage: &dyn Storage, kind: FileKind) {
    let (id, content) = (an_id(1), a_content(1, 70_000));
    storage.write(kind, &id, content.clone()).await.unwrap();
    for other in [a_content(2, 70_000), a_content(1, 69_999)] {
        let error = storage.write(kind, &id, other).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{kind}");
    }
    assert_eq!(storage.read(kind, &id).await.unwrap(), content);
}

async fn removal_can_be_repeated(storage: &dyn Storage, kind: FileKind) {
    let id = an_id(1);
    storage.remove(kind, &id).await.unwrap();
    assert!(!storage.exists(kind, &id).await.unwrap());
    storage.remove(kind, &id).await.unwrap();
    assert_eq!(storage.list(kind).await.unwrap(), []);
}

async fn kinds_are_apart(storage: &dyn Storage) {
    let id = an_id(2);
    for (seed, kind) in (0..).zip(FileKind::ALL) {
        storage.write(kind, &id, a_content(seed, 100)).await.unwrap();
    }
    for (seed, kind) in (0..).zip(FileKind::ALL) {
        assert_eq!(storage.read(kind, &id).await.unwrap(), a_content(seed, 100), "{kind}");
        storage.remove(kind, &id).await.unwrap();
    }
}

async fn listings_are_complete(storage: &dyn Storage) {
    let mut expected = Vec::new();
    for seed in 0..200 {
        storage.write(FileKind::Pack, &an_id(seed), a_content(seed, usize::from(seed))).await.unwrap();
        expected.push(FileEntry { id: an_id(seed), size_bytes: u64::from(seed) });
    }
    let mut listed = storage.list(FileKind::Pack).await.unwrap();
    listed.sort_unstable();
    expected.sort_unstable();
    assert_eq!(listed, expected);
    for seed in 0..200 {
        storage.remove(FileKind::Pack, &an_id(seed)).await.unwrap();
    }
}

async fn writers_of_one_file_agree(storage: &Arc<dyn Storage>) {
    let tasks: Vec<_> = (0..8_u8)
        .map(|writer| {
            let storage = Arc::clone(storage);
            tokio::spawn(async move {
                storage.write(FileKind::Pack, &an_id(3), a_content(writer % 2, 5000)).await
            })
        })
        .collect();
    let mut results = Vec::new();
    for task in tasks {
        results.push(task.await.unwrap());
    }
    let winner = storage.read(FileKind::Pack, &an_id(3)).await.unwrap();
    for (writer, result) in (0..8_u8).zip(results) {
        match result {
            Ok(()) => assert_eq!(winner, a_content(writer % 2, 5000)),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::AlreadyExists);
                assert_ne!(winner, a_content(writer % 2, 5000));
            }
        }
    }
    storage.remove(FileKind::Pack, &an_id(3)).await.unwrap();
}

async fn empty_and_large_files(storage: &dyn Storage) {
    for len in [0, 17 << 20] {
        storage.write(FileKind::Pack, &an_id(4), a_content(4, len)).await.unwrap();
        assert_eq!(storage.read(FileKind::Pack, &an_id(4)).await.unwrap(), a_content(4, len));
        storage.remove(FileKind::Pack, &an_id(4)).await.unwrap();
    }
}

async fn capacity_is_plausible(storage: &dyn Storage) {
    if let Some(capacity) = storage.capacity().await.unwrap() {
        assert!(capacity.total_bytes > 0);
        assert!(capacity.free_bytes <= capacity.total_bytes);
    }
}
