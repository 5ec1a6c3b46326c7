//! A raw image in a file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use crate::source::check_range;
use crate::{BlockSource, Error, Extent, Result};

/// A disk whose bytes are in a file; its holes are the file's.
#[derive(Debug, Clone)]
pub struct FileSource {
    file: Arc<File>,
    size_bytes: u64,
}

impl FileSource {
    /// Opens a raw image.
    ///
    /// # Errors
    /// [`Error::File`] when it cannot be opened.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::File)?;
        let size_bytes = file.metadata().map_err(Error::File)?.len();
        Ok(Self { file: Arc::new(file), size_bytes })
    }
}

#[async_trait]
impl BlockSource for FileSource {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    async fn read(&self, offset: u64, length: usize) -> Result<Bytes> {
        check_range(offset, length, self.size_bytes)?;
        let file = Arc::clone(&self.file);
        blocking(move || {
            let mut buffer = vec![0; length];
            file.read_exact_at(&mut buffer, offset)?;
            Ok(Bytes::from(buffer))
        })
        .await
    }

    async fn allocated(&self) -> Result<Vec<Extent>> {
        let (file, size_bytes) = (Arc::clone(&self.file), self.size_bytes);
        blocking(move || data_extents(&file, size_bytes)).await
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T> {
    let done =
        tokio::task::spawn_blocking(work).await.map_err(|error| Error::File(io::Error::other(error)))?;
    done.map_err(Error::File)
}

fn data_extents(file: &File, size_bytes: u64) -> io::Result<Vec<Extent>> {
    let mut extents = Vec::new();
    let mut position = 0;
    while position < size_bytes {
        let offset = match seek(file, SeekFrom::Data(position)) {
            Ok(offset) => offset,
            // There is no data up to the end.
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        position = seek(file, SeekFrom::Hole(offset))?.min(size_bytes);
        extents.push(Extent { offset, length: position - offset });
    }
    Ok(extents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_reads_the_file_and_knows_its_holes() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(10 << 20).unwrap();
        file.as_file().write_all_at(&vec![7; 65_536], 4 << 20).unwrap();
        let source = FileSource::open(file.path()).unwrap();
        assert_eq!(source.size_bytes(), 10 << 20);
        assert_eq!(source.read(4 << 20, 3).await.unwrap().as_ref(), [7, 7, 7]);
        assert_eq!(source.allocated().await.unwrap(), [Extent { offset: 4 << 20, length: 65_536 }]);
        assert!(source.read((10 << 20) - 1, 2).await.is_err());
    }
}
