//! Where examples come from.

use std::ops::Range;

use async_trait::async_trait;

use crate::{Error, Requests, Result};

/// Examples in a fixed order, read by range: memory, a file, a byte range of an object.
///
/// Examples are shuffled once, when they are packed; a batch is a contiguous range, and an epoch
/// visits the batches in an order drawn from the seed. Training and held-out data are two sources.
#[async_trait]
pub trait DataSource: Send + Sync {
    /// The number of examples.
    fn len(&self) -> u64;

    /// Whether there is no example at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What one fetch asks of shared storage, at the most; nothing by default.
    fn request_costs(&self) -> Requests {
        Requests::NONE
    }

    /// The bytes of the examples in `range`, in the packing that the workload reads. What this takes
    /// is the fetch time P^F.
    ///
    /// # Errors
    ///
    /// Rejected when the range ends past [`len`](Self::len) or is reversed; transient errors may be
    /// tried again.
    ///
    /// # Cancellation
    ///
    /// Safe at any point.
    async fn fetch(&self, range: Range<u64>) -> Result<Vec<u8>>;
}

/// A mini-batch: the bytes of consecutive examples, as the data source packed them.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// The number of examples, at least one.
    pub examples: usize,
    /// Their bytes, end to end.
    pub bytes: &'a [u8],
}

impl<'a> Batch<'a> {
    /// A batch of `examples` examples.
    pub fn new(examples: usize, bytes: &'a [u8]) -> Self {
        Self { examples, bytes }
    }

    /// The examples one by one, when all have the same number of bytes.
    pub fn records(&self) -> std::slice::ChunksExact<'a, u8> {
        self.bytes.chunks_exact((self.bytes.len() / self.examples.max(1)).max(1))
    }

    /// The examples as little-endian `f32` numbers, `each` for an example, end to end: for sources
    /// packed that way.
    ///
    /// # Errors
    ///
    /// Rejected when there are more or fewer bytes than that.
    pub fn floats(&self, each: usize) -> Result<Vec<f32>> {
        let (numbers, rest) = self.bytes.as_chunks::<4>();
        if numbers.len() != self.examples * each || !rest.is_empty() {
            return Err(Error::rejected(format!(
                "{} examples of {each} numbers are {} bytes, not {}: pack each number as four bytes",
                self.examples,
                self.examples * each * 4,
                self.bytes.len()
            )));
        }
        Ok(numbers.iter().map(|&number| f32::from_le_bytes(number)).collect())
    }
}
