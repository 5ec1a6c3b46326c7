//! What a folder of this machine tells before there is a repository in it. It may be a mounted network share.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sendense_storage::{
    Capacity, Error, ErrorKind, LocalStorage, Result, Storage, is_temporary_name, temporary_name,
};

use crate::place_probe::{PROBE_TEXT, PlaceProbe};

const OPERATION: &str = "probe";

/// Writes, reads back, lists and removes a small file; needs no repository.
///
/// # Errors
/// The first thing that does not work, by its kind; [`ErrorKind::ContainerMissing`] for a folder that is not there.
pub async fn probe_folder(path: &Path) -> Result<PlaceProbe> {
    let folder = path.to_owned();
    let failed = |error: io::Error| Error::from_io(OPERATION, error);
    let tried = tokio::task::spawn_blocking(move || try_folder(&folder)).await;
    let tried =
        tried.map_err(|_| Error::new(ErrorKind::Other, OPERATION, "the thread that did it is gone"))?;
    let Some((is_empty, latency)) = tried.map_err(failed)? else {
        return Err(Error::new(ErrorKind::ContainerMissing, OPERATION, "the folder does not exist"));
    };
    let storage = LocalStorage::open(path).await?;
    let capacity: Option<Capacity> = storage.capacity().await?;
    let is_repository = storage.is_initialised().await?;
    Ok(PlaceProbe {
        is_repository,
        is_empty,
        capacity,
        latency,
        is_durable: true,
        clock_skew_ms: None,
        object_lock: None,
    })
}

/// Removed also where a step in the middle fails.
struct ProbeFile(PathBuf);

impl Drop for ProbeFile {
    fn drop(&mut self) {
        // It says in itself that it may be removed.
        let _ = fs::remove_file(&self.0);
    }
}

/// Whether the folder is empty, and how long the file took; `None` if the folder is not there.
fn try_folder(folder: &Path) -> io::Result<Option<(bool, Duration)>> {
    if !folder.try_exists()? {
        return Ok(None);
    }
    let before = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    // What a trial before this one may have left is nothing that anybody needs.
    let is_empty = before.iter().all(|entry| is_temporary_name(&entry.file_name()));
    let name = temporary_name();
    let probe = ProbeFile(folder.join(&name));
    let start = Instant::now();
    let mut file = fs::File::create_new(&probe.0)?;
    file.write_all(PROBE_TEXT)?;
    file.sync_all()?;
    let latency = start.elapsed();
    if fs::read(&probe.0)? != PROBE_TEXT {
        return Err(io::Error::other("what was written cannot be read back"));
    }
    let names: Vec<_> = fs::read_dir(folder)?.collect::<io::Result<_>>()?;
    if !names.iter().any(|entry| entry.file_name().to_str() == Some(&name)) {
        return Err(io::Error::other("what was written is not listed"));
    }
    fs::remove_file(&probe.0)?;
    Ok(Some((is_empty, latency)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_is_tried_out_and_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        for is_left_over in [false, false, true] {
            if is_left_over {
                fs::write(folder.path().join(temporary_name()), "of a trial that was killed").unwrap();
            }
            let probe = probe_folder(folder.path()).await.unwrap();
            assert!(probe.is_empty && !probe.is_repository);
            assert!(probe.capacity.unwrap().total_bytes > 0);
        }
        fs::write(folder.path().join("config"), "x").unwrap();
        let probe = probe_folder(folder.path()).await.unwrap();
        assert!(!probe.is_empty && probe.is_repository);
    }

    #[tokio::test]
    async fn a_folder_that_is_missing_has_a_name() {
        let folder = tempfile::tempdir().unwrap();
        let error = probe_folder(&folder.path().join("absent")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ContainerMissing);
    }
}
