//! Examples in memory.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use rand::seq::SliceRandom;
use siren_core::{DataSource, Error, Result, Seed, Stream};

/// Examples of equal size in memory. Cheap to clone: clones share the bytes.
#[derive(Clone, Debug)]
pub struct MemorySource {
    bytes: Arc<[u8]>,
    record: usize,
    /// The index of the first example in `bytes`.
    first: usize,
    len: usize,
}

impl MemorySource {
    /// Examples of `record` bytes each, end to end.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected) if there is no example, or
    /// if the bytes are not a whole number of examples.
    pub fn new(bytes: impl Into<Arc<[u8]>>, record: usize) -> Result<Self> {
        let bytes = bytes.into();
        if record == 0 || bytes.is_empty() || !bytes.len().is_multiple_of(record) {
            return Err(Error::rejected(format!(
                "{} bytes are not one or more examples of {record} bytes",
                bytes.len()
            )));
        }
        let len = bytes.len() / record;
        Ok(Self { bytes, record, first: 0, len })
    }

    /// Examples of `record` numbers each, end to end; packed as little-endian `f32`, which
    /// [`Batch::floats`](siren_core::Batch::floats) reads.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    ///
    /// ```
    /// use siren_data::MemorySource;
    /// use siren_core::DataSource;
    /// let points = MemorySource::from_floats(&[0.0, 1.0, 2.0, 3.0], 2)?;
    /// assert_eq!(points.len(), 2);
    /// # Ok::<(), siren_core::Error>(())
    /// ```
    pub fn from_floats(numbers: &[f32], record: usize) -> Result<Self> {
        let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
        Self::new(bytes, record * size_of::<f32>())
    }

    /// The same examples in a random order. Batches are contiguous ranges, so shuffle once, before
    /// training or packing.
    #[must_use]
    pub fn shuffled(&self, seed: Seed) -> Self {
        let mut order: Vec<usize> = (0..self.len).collect();
        order.shuffle(&mut seed.split(Stream::Order, &[]).rng());
        let bytes: Vec<u8> =
            order.into_iter().flat_map(|i| self.slice(i..i + 1)).copied().collect();
        Self { bytes: bytes.into(), first: 0, ..*self }
    }

    /// The first `len` examples, or all of them if there are fewer.
    #[must_use]
    pub fn take(&self, len: u64) -> Self {
        let len = usize::try_from(len).unwrap_or(usize::MAX).min(self.len);
        Self { len, ..self.clone() }
    }

    /// The first `len` examples, and the others.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected) if either part would be
    /// empty.
    pub fn split(&self, len: u64) -> Result<(Self, Self)> {
        if len == 0 || len >= self.len() {
            return Err(Error::rejected(format!(
                "{} examples cannot be split after {len}: leave at least one on either side",
                self.len
            )));
        }
        let first = self.take(len);
        let others =
            Self { first: self.first + first.len, len: self.len - first.len, ..self.clone() };
        Ok((first, others))
    }

    fn slice(&self, range: Range<usize>) -> &[u8] {
        &self.bytes
            [(self.first + range.start) * self.record..(self.first + range.end) * self.record]
    }

    /// The bytes of each example, in order.
    pub fn records(&self) -> std::slice::ChunksExact<'_, u8> {
        self.slice(0..self.len).chunks_exact(self.record)
    }

    /// The number of bytes of an example.
    pub fn record_len(&self) -> usize {
        self.record
    }
}

#[async_trait]
impl DataSource for MemorySource {
    fn len(&self) -> u64 {
        self.len as u64
    }

    async fn fetch(&self, range: Range<u64>) -> Result<Vec<u8>> {
        if range.start > range.end || range.end > self.len() {
            return Err(Error::rejected(format!(
                "examples {} to {} of {}: ask for a range within the data",
                range.start, range.end, self.len
            )));
        }
        Ok(self.slice(range.start as usize..range.end as usize).to_vec())
    }
}

#[cfg(test)]
mod tests {
    use siren_core::conformance::{data, data_tests};

    use super::*;

    data_tests!(whole, data::Subject::new(MemorySource::new(vec![7; 300], 3).unwrap()));
    data_tests!(
        part,
        data::Subject::new(MemorySource::from_floats(&[0.5; 64], 2).unwrap().split(9).unwrap().1)
    );

    #[test]
    fn shuffling_and_splitting_keep_every_example() {
        let all =
            MemorySource::new((0..100_u8).collect::<Vec<_>>(), 1).unwrap().shuffled(Seed::new(1));
        let (first, others) = all.split(30).unwrap();
        let mut seen = first.slice(0..30).to_vec();
        seen.extend(others.shuffled(Seed::new(2)).slice(0..70));
        assert_ne!(seen[..30], (0..30).collect::<Vec<_>>());
        seen.sort_unstable();
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn bytes_that_are_no_whole_examples_are_refused() {
        assert!(MemorySource::new(vec![0; 7], 2).is_err());
        assert!(MemorySource::new(vec![], 2).is_err());
        assert!(MemorySource::new(vec![0; 4], 0).is_err());
        assert!(MemorySource::new(vec![0; 4], 2).unwrap().split(2).is_err());
    }
}
