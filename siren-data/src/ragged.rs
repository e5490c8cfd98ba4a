//! Examples of unequal size in memory.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use rand::seq::SliceRandom;
use siren_core::{DataSource, Error, Result, Seed, Stream};

/// Examples of unequal size in memory, such as sparse vectors or sentences. Cheap to clone: clones
/// share the bytes.
///
/// A batch holds only the bytes of its examples. An example must therefore contain its own length,
/// for example as a count at its beginning.
///
/// ```
/// use siren_core::DataSource;
/// use siren_data::RaggedSource;
/// let words = RaggedSource::new(["a", "swarm", "of", "functions"])?;
/// assert_eq!(words.len(), 4);
/// assert_eq!(words.records().nth(1), Some(&b"swarm"[..]));
/// # Ok::<(), siren_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct RaggedSource {
    bytes: Arc<[u8]>,
    /// The start of each example, and the end of the last one.
    offsets: Arc<[usize]>,
    /// The index of the first example in `offsets`.
    first: usize,
    len: usize,
}

impl RaggedSource {
    /// These examples, in this order.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected) if there is none, or if one
    /// has no bytes.
    pub fn new(records: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<Self> {
        let (mut bytes, mut offsets) = (Vec::new(), vec![0]);
        for record in records {
            bytes.extend_from_slice(record.as_ref());
            offsets.push(bytes.len());
        }
        Self::from_parts(bytes, offsets)
    }

    /// Examples that are already packed: example i has the bytes from `offsets[i]` to
    /// `offsets[i + 1]`. The first offset is 0, and the last one is the number of bytes.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected) if the first or last offset
    /// differs from that, if the offsets do not rise, or if there is no example.
    pub fn from_parts(
        bytes: impl Into<Arc<[u8]>>,
        offsets: impl Into<Arc<[usize]>>,
    ) -> Result<Self> {
        let (bytes, offsets) = (bytes.into(), offsets.into());
        if offsets.len() < 2 {
            return Err(Error::rejected("there is no example: give at least one"));
        }
        if let Some(at) = offsets.windows(2).position(|pair| pair[0] >= pair[1]) {
            return Err(Error::rejected(format!(
                "example {at} goes from byte {} to byte {}: give each at least one byte",
                offsets[at],
                offsets[at + 1]
            )));
        }
        if offsets[0] != 0 || offsets[offsets.len() - 1] != bytes.len() {
            return Err(Error::rejected(format!(
                "the examples go from byte {} to byte {} of {}: leave no bytes before or after them",
                offsets[0],
                offsets[offsets.len() - 1],
                bytes.len()
            )));
        }
        let len = offsets.len() - 1;
        Ok(Self { bytes, offsets, first: 0, len })
    }

    /// The same examples in a random order. Batches are contiguous ranges, so shuffle once, before
    /// training or packing.
    #[must_use]
    pub fn shuffled(&self, seed: Seed) -> Self {
        let mut order: Vec<usize> = (0..self.len).collect();
        order.shuffle(&mut seed.split(Stream::Order, &[]).rng());
        let mut bytes = Vec::with_capacity(self.slice(0..self.len).len());
        let mut offsets = Vec::with_capacity(self.len + 1);
        offsets.push(0);
        for index in order {
            bytes.extend_from_slice(self.slice(index..index + 1));
            offsets.push(bytes.len());
        }
        Self { bytes: bytes.into(), offsets: offsets.into(), first: 0, len: self.len }
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
        let offset = |index: usize| self.offsets[self.first + index];
        &self.bytes[offset(range.start)..offset(range.end)]
    }

    /// The bytes of each example, in order.
    pub fn records(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        (0..self.len).map(|index| self.slice(index..index + 1))
    }
}

#[async_trait]
impl DataSource for RaggedSource {
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

    /// Example i is i + 1 bytes of i.
    fn stairs(steps: u8) -> RaggedSource {
        RaggedSource::new((0..steps).map(|i| vec![i; usize::from(i) + 1])).unwrap()
    }

    data_tests!(whole, data::Subject::new(stairs(20)));
    data_tests!(part, data::Subject::new(stairs(20).split(9).unwrap().1));
    data_tests!(shuffled_part, data::Subject::new(stairs(20).take(9).shuffled(Seed::new(1))));

    #[test]
    fn shuffling_and_splitting_keep_every_example() {
        let all = stairs(100).shuffled(Seed::new(1));
        let (first, others) = all.split(30).unwrap();
        let others = others.shuffled(Seed::new(2));
        let mut seen: Vec<_> = first.records().chain(others.records()).collect();
        assert_ne!(seen, stairs(100).records().collect::<Vec<_>>());
        seen.sort_unstable();
        assert_eq!(seen, stairs(100).records().collect::<Vec<_>>());
    }

    #[test]
    fn offsets_that_are_no_examples_are_refused() {
        for (bytes, offsets) in [
            (3, vec![]),
            (3, vec![0]),
            (3, vec![0, 2]),
            (3, vec![1, 3]),
            (3, vec![0, 4]),
            (3, vec![0, 2, 2, 3]),
            (3, vec![0, 2, 1, 3]),
        ] {
            let refused = RaggedSource::from_parts(vec![0; bytes], offsets.clone());
            assert!(refused.is_err(), "{offsets:?}");
        }
        assert!(RaggedSource::new(Vec::<Vec<u8>>::new()).is_err());
        assert!(RaggedSource::new([&b"a"[..], b""]).is_err());
        assert!(RaggedSource::from_parts(vec![0; 3], vec![0, 2, 3]).is_ok());
    }
}
