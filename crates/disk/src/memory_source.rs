//! A disk in memory, for tests.

use async_trait::async_trait;
use bytes::Bytes;

use crate::source::check_range;
use crate::{BlockSource, Extent, ExtentSet, Result, is_zero};

/// Granularity at which it tells zeroes from data.
const GRANULE: usize = 4096;

/// A disk whose bytes are in memory.
#[derive(Debug, Clone)]
pub struct MemorySource(Bytes);

impl MemorySource {
    /// A disk of these bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }
}

#[async_trait]
impl BlockSource for MemorySource {
    fn size_bytes(&self) -> u64 {
        self.0.len() as u64
    }

    async fn read(&self, offset: u64, length: usize) -> Result<Bytes> {
        check_range(offset, length, self.size_bytes())?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        Ok(self.0.slice(start..start + length))
    }

    async fn allocated(&self) -> Result<Vec<Extent>> {
        let granules = self.0.chunks(GRANULE).enumerate();
        let data = granules
            .filter(|(_, bytes)| !is_zero(bytes))
            .map(|(index, bytes)| Extent { offset: (index * GRANULE) as u64, length: bytes.len() as u64 });
        Ok(ExtentSet::new(data.collect()).into_extents())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_reads_its_bytes_and_knows_where_they_are() {
        let mut bytes = vec![0; 3 * GRANULE + 7];
        bytes[GRANULE] = 1;
        bytes[3 * GRANULE + 6] = 2;
        let source = MemorySource::new(bytes);
        assert_eq!(source.read(GRANULE as u64, 2).await.unwrap().as_ref(), [1, 0]);
        assert!(source.read(source.size_bytes(), 1).await.is_err());
        assert!(source.read(u64::MAX, 1).await.is_err());
        let extents = source.allocated().await.unwrap();
        let expected = [(GRANULE as u64, GRANULE as u64), (3 * GRANULE as u64, 7)];
        assert_eq!(extents.iter().map(|one| (one.offset, one.length)).collect::<Vec<_>>(), expected);
    }
}
