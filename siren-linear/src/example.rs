//! One sparse example, and its bytes.

use siren_core::{Batch, Entry, Error, Result};

use crate::loss;

/// A label and the features that are not zero, by rising index.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SparseExample {
    /// Whether the label is 1.
    pub positive: bool,
    /// The features that are not zero; indices count from 0 and rise.
    pub features: Vec<Entry>,
}

impl SparseExample {
    /// The number of bytes of the packed example: 8 and 8 for each feature given.
    pub fn packed_len(&self) -> usize {
        8 * (1 + self.features.len())
    }

    /// Appends the packed example, which [`SparseLogisticRegression`](crate::SparseLogisticRegression)
    /// reads: the label as an `f32`, 0 or 1; the number of features given as a `u32`; and of each its
    /// index as a `u32` and its value as an `f32`; all little-endian.
    ///
    /// # Errors
    ///
    /// Rejected when an index is not above the one before it, or a value is not finite.
    pub fn pack(&self, into: &mut Vec<u8>) -> Result<()> {
        if let Some(pair) = self.features.windows(2).find(|pair| pair[0].index >= pair[1].index) {
            return Err(Error::rejected(format!(
                "feature {} follows feature {} in an example: sort the features and give each once",
                pair[1].index, pair[0].index
            )));
        }
        if let Some(bad) = self.features.iter().find(|feature| !feature.value.is_finite()) {
            return Err(Error::rejected(format!(
                "feature {} is {}: give a finite number, or leave the feature out",
                bad.index, bad.value
            )));
        }
        let count = u32::try_from(self.features.len())
            .map_err(|error| Error::rejected("too many features").with_source(error))?;
        into.reserve(self.packed_len());
        into.extend_from_slice(&f32::from(u8::from(self.positive)).to_le_bytes());
        into.extend_from_slice(&count.to_le_bytes());
        for feature in &self.features {
            into.extend_from_slice(&feature.index.to_le_bytes());
            into.extend_from_slice(&feature.value.to_le_bytes());
        }
        Ok(())
    }
}

/// A packed example that is read where it lies.
pub(crate) struct Packed<'a> {
    pub(crate) positive: bool,
    features: &'a [[u8; 8]],
}

impl Packed<'_> {
    /// The features given.
    pub(crate) fn features(&self) -> impl Iterator<Item = Entry> {
        self.features.iter().map(|&[a, b, c, d, e, f, g, h]| Entry {
            index: u32::from_le_bytes([a, b, c, d]),
            value: f32::from_le_bytes([e, f, g, h]),
        })
    }
}

/// The examples of a batch, one by one; the last item is an error when the bytes are not theirs.
pub(crate) fn unpack<'a>(batch: &Batch<'a>) -> Result<impl Iterator<Item = Result<Packed<'a>>>> {
    let (words, rest) = batch.bytes.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(malformed());
    }
    let (mut words, mut left) = (words, batch.examples);
    Ok(std::iter::from_fn(move || {
        if left == 0 {
            let more = !words.is_empty();
            words = &[];
            return more.then(|| Err(malformed()));
        }
        let example = next(&mut words);
        left = if example.is_ok() { left - 1 } else { 0 };
        Some(example)
    }))
}

/// Takes the first example off `words`.
fn next<'a>(words: &mut &'a [[u8; 8]]) -> Result<Packed<'a>> {
    let Some((&[a, b, c, d, e, f, g, h], rest)) = words.split_first() else {
        return Err(malformed());
    };
    let positive = loss::positive(f32::from_le_bytes([a, b, c, d]))?;
    let count = u32::from_le_bytes([e, f, g, h]) as usize;
    let (features, rest) = rest.split_at_checked(count).ok_or_else(malformed)?;
    *words = rest;
    Ok(Packed { positive, features })
}

fn malformed() -> Error {
    Error::rejected(
        "a batch's bytes are not its sparse examples: pack each as label, number of features, and \
         index and value of each",
    )
}
