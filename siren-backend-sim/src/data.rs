//! Training data in simulated storage.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use siren_core::{DataSource, Requests, Result};

use crate::link::{Link, Request};

/// A data source behind a function's connection, with one GET for each fetch. Without a connection
/// it is the driver's view, which fetches at once and has the same request costs.
pub(crate) struct SimData {
    pub(crate) inner: Arc<dyn DataSource>,
    pub(crate) link: Option<Arc<Link>>,
}

#[async_trait]
impl DataSource for SimData {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn request_costs(&self) -> Requests {
        Requests { reads: 1, writes: 0 }
    }

    async fn fetch(&self, range: Range<u64>) -> Result<Vec<u8>> {
        let Some(link) = &self.link else {
            return self.inner.fetch(range).await;
        };
        link.request(Request::Get, 0).await?;
        let bytes = self.inner.fetch(range).await?;
        link.receive(bytes.len() as u64).await;
        link.receive_answer().await?;
        Ok(bytes)
    }
}
