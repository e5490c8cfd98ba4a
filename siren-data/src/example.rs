//! One sparse example, and its bytes.

use siren_core::{Batch, Entry, Error, Result};

use crate::binary_label;

/// A label and the features that are not zero, by rising index.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SparseExample {
    /// `true` if the label is 1.
    pub positive: bool,
    /// The features that are not zero; indices count from 0 and rise.
    pub features: Vec<Entry>,
}

impl SparseExample {
    /// The number of bytes of the packed example: 8, and 8 for each feature in it.
    pub fn packed_len(&self) -> usize {
        8 * (1 + self.features.len())
    }

    /// Appends the packed example: the label as an `f32`, 0 or 1; the number of features in it as a
    /// `u32`; and for each its index as a `u32` and its value as an `f32`; all little-endian.
    /// [`SparseRecord::unpack`] reads it.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected) if an index is not above
    /// the one before it, or if a value is not finite.
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

/// A packed sparse example, read in place from the bytes of a batch.
///
/// ```
/// use siren_core::{Batch, Entry};
/// use siren_data::{SparseExample, SparseRecord};
///
/// let example = SparseExample { positive: true, features: vec![Entry { index: 3, value: 0.5 }] };
/// let mut bytes = Vec::new();
/// example.pack(&mut bytes)?;
/// for record in SparseRecord::unpack(&Batch::new(1, &bytes))? {
///     let record = record?;
///     assert!(record.is_positive());
///     assert!(record.features().eq(example.features.iter().copied()));
/// }
/// # Ok::<(), siren_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SparseRecord<'a> {
    positive: bool,
    features: &'a [[u8; 8]],
}

impl<'a> SparseRecord<'a> {
    /// The examples of a batch, one by one.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected), at once or as the
    /// iterator's last item, if the bytes are not those of the batch's examples or if a label is
    /// neither 0 nor 1.
    #[inline]
    pub fn unpack(batch: &Batch<'a>) -> Result<impl Iterator<Item = Result<Self>> + use<'a>> {
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

    /// `true` if the label is 1.
    #[inline]
    pub fn is_positive(&self) -> bool {
        self.positive
    }

    /// The features in the example, by rising index.
    #[inline]
    pub fn features(&self) -> impl Iterator<Item = Entry> + use<'a> {
        self.features.iter().map(|&[a, b, c, d, e, f, g, h]| Entry {
            index: u32::from_le_bytes([a, b, c, d]),
            value: f32::from_le_bytes([e, f, g, h]),
        })
    }
}

/// Removes the first example from `words`.
#[inline]
fn next<'a>(words: &mut &'a [[u8; 8]]) -> Result<SparseRecord<'a>> {
    let Some((&[a, b, c, d, e, f, g, h], rest)) = words.split_first() else {
        return Err(malformed());
    };
    let positive = binary_label(f32::from_le_bytes([a, b, c, d]))?;
    let count = u32::from_le_bytes([e, f, g, h]) as usize;
    let (features, rest) = rest.split_at_checked(count).ok_or_else(malformed)?;
    *words = rest;
    Ok(SparseRecord { positive, features })
}

fn malformed() -> Error {
    Error::rejected(
        "a batch's bytes are not its sparse examples: pack each as label, number of features, and \
         index and value of each",
    )
}
