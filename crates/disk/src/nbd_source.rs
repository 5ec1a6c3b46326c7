//! A disk behind an NBD server.

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use sendense_nbd::Client;

use crate::source::check_range;
use crate::{BlockSource, Extent, ExtentSet, Result};

/// A disk that is read through an NBD client.
pub struct NbdSource(Client);

impl NbdSource {
    /// The export that the client is connected to.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self(client)
    }

    /// The client, to close it.
    #[must_use]
    pub fn into_client(self) -> Client {
        self.0
    }
}

#[async_trait]
impl BlockSource for NbdSource {
    fn size_bytes(&self) -> u64 {
        self.0.size_bytes()
    }

    async fn read(&self, offset: u64, length: usize) -> Result<Bytes> {
        check_range(offset, length, self.size_bytes())?;
        Ok(self.0.read(offset, length).await?)
    }

    async fn read_into(&self, offset: u64, length: usize, buffer: &mut BytesMut) -> Result<()> {
        check_range(offset, length, self.size_bytes())?;
        Ok(self.0.read_into(offset, length, buffer).await?)
    }

    async fn allocated(&self) -> Result<Vec<Extent>> {
        if !self.0.info().has_block_status() {
            return Ok(vec![Extent { offset: 0, length: self.size_bytes() }]);
        }
        let status = self.0.block_status(0, self.size_bytes()).await?;
        let data = status.into_iter().filter(|extent| !extent.is_zero);
        Ok(data
            .map(|extent| Extent { offset: extent.offset, length: extent.length })
            .collect::<ExtentSet>()
            .into_extents())
    }
}
