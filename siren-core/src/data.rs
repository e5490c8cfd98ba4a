//! The contract of a data source, and batches of its examples.

use std::ops::Range;

use async_trait::async_trait;

use crate::{Error, Requests, Result};

/// Examples in a fixed order, read by range from memory, a file or an object in shared storage.
///
/// A batch is a contiguous range of examples, and an epoch visits the batches in an order drawn
/// from the seed. The examples themselves are shuffled only once, when they are packed. Training
/// data and held-out data are two sources.
///
/// # Examples
///
/// ```
/// use std::ops::Range;
///
/// use async_trait::async_trait;
/// use siren_core::{DataSource, Error, Result};
///
/// /// Examples of `each` bytes in memory.
/// struct Records {
///     bytes: Vec<u8>,
///     each: usize,
/// }
///
/// #[async_trait]
/// impl DataSource for Records {
///     fn len(&self) -> u64 {
///         (self.bytes.len() / self.each) as u64
///     }
///
///     async fn fetch(&self, range: Range<u64>) -> Result<Vec<u8>> {
///         let start = |example: u64| (example as usize).saturating_mul(self.each);
///         let bytes = self.bytes.get(start(range.start)..start(range.end));
///         bytes.map(<[u8]>::to_vec).ok_or_else(|| {
///             Error::rejected(format!("{range:?} is not within the {} examples", self.len()))
///         })
///     }
/// }
/// ```
#[async_trait]
pub trait DataSource: Send + Sync {
    /// The number of examples.
    fn len(&self) -> u64;

    /// `true` if there are no examples.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most requests of one fetch to shared storage; by default none.
    fn request_costs(&self) -> Requests {
        Requests::NONE
    }

    /// Returns the bytes of the examples in `range`, in the format that the workload reads. The
    /// time of this call is the fetch time P^F.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) when the range ends past
    /// [`len`](Self::len) or is reversed. [Transient](Error::is_transient) errors may be retried.
    ///
    /// # Cancellation
    ///
    /// Safe at any point.
    async fn fetch(&self, range: Range<u64>) -> Result<Vec<u8>>;
}

/// A mini-batch: the bytes of consecutive examples, as returned by the data source.
#[derive(Clone, Copy, Debug)]
pub struct Batch<'a> {
    /// The number of examples, at least one.
    pub examples: usize,
    /// The bytes of the examples, one after the other.
    pub bytes: &'a [u8],
}

impl<'a> Batch<'a> {
    /// A batch of `examples` examples.
    pub fn new(examples: usize, bytes: &'a [u8]) -> Self {
        Self { examples, bytes }
    }

    /// The bytes of each example, if all examples have the same number of bytes.
    pub fn records(&self) -> std::slice::ChunksExact<'a, u8> {
        self.bytes.chunks_exact((self.bytes.len() / self.examples.max(1)).max(1))
    }

    /// The examples as `f32` numbers, `each` for every example, one example after the other. For
    /// sources that pack numbers as little-endian `f32`.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) when the batch does not have
    /// `4 * each` bytes for every example.
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
