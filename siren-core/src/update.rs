//! The updates that workers push.

use crate::{Error, Result};

/// The identity of one update in a run. It makes a push idempotent.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct UpdateId {
    /// The epoch.
    pub epoch: u64,
    /// The shard.
    pub shard: u32,
    /// The first batch that the update covers, counted from the start of the shard.
    pub position: u64,
}

/// The sum of the gradients of consecutive batches of one shard. [`wire`](crate::wire) is its form
/// in bytes.
#[derive(Clone, Copy, Debug)]
pub struct Update<'a> {
    /// The identity of the update.
    pub id: UpdateId,
    /// The number of batches that it covers:
    /// [`EpochPlan::update_len`](crate::EpochPlan::update_len) at its position.
    pub batches: u64,
    /// The number of examples in these batches.
    pub examples: u64,
    /// The sum of these examples' losses at the worker's parameters.
    pub loss: f64,
    /// The version of the parameters that the gradient was computed at.
    pub version: u64,
    /// The squared Euclidean norm of `gradient`.
    pub squared_norm: f64,
    /// The sum of the batches' mean gradients.
    pub gradient: Gradient<'a>,
}

/// A vector of the parameters' length. A sparse gradient means the same as the dense one in which
/// all other entries are zero, for every optimizer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Gradient<'a> {
    /// All entries.
    Dense(&'a [f32]),
    /// The entries that are not zero.
    Sparse(SparseSlice<'a>),
}

impl Gradient<'_> {
    /// The number of parameters.
    pub fn dim(&self) -> usize {
        match self {
            Self::Dense(values) => values.len(),
            Self::Sparse(sparse) => sparse.dim,
        }
    }

    /// The number of stored entries: all of a dense gradient, the given ones of a sparse gradient.
    pub fn stored(&self) -> usize {
        match self {
            Self::Dense(values) => values.len(),
            Self::Sparse(sparse) => sparse.entries.len(),
        }
    }
}

/// One entry of a sparse vector.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Entry {
    /// The position in the vector, counted from 0.
    pub index: u32,
    /// The value at this position.
    pub value: f32,
}

/// A sparse vector: entries with rising indices below `dim`, each at most once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SparseSlice<'a> {
    dim: usize,
    entries: &'a [Entry],
}

impl<'a> SparseSlice<'a> {
    /// A vector of length `dim`.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) when an index is not below
    /// `dim`, or not above the one before it.
    pub fn new(dim: usize, entries: &'a [Entry]) -> Result<Self> {
        if let Some(at) = entries.windows(2).position(|pair| pair[0].index >= pair[1].index) {
            let [before, after] = [entries[at].index, entries[at + 1].index];
            return Err(Error::rejected(format!(
                "index {after} follows index {before} in a sparse vector: sort the entries and give \
                 each index once"
            )));
        }
        match entries.last() {
            Some(last) if last.index as usize >= dim => Err(Error::rejected(format!(
                "index {} in a sparse vector of length {dim}: indices count from 0",
                last.index
            ))),
            _ => Ok(Self { dim, entries }),
        }
    }

    /// The length of the vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The entries, by rising index.
    pub fn entries(&self) -> &'a [Entry] {
        self.entries
    }
}

/// A sparse vector under construction. Entries may be added in any order; those with the same index
/// are summed.
///
/// ```
/// use siren_core::SparseGradient;
/// let mut gradient = SparseGradient::new();
/// // Two examples of a linear model, which share feature 7.
/// for (error, features) in [(0.5, [(7, 1.0), (2, 1.0)]), (-0.25, [(7, 4.0), (9, 1.0)])] {
///     for (feature, value) in features {
///         gradient.add(feature, error * value / 2.0);
///     }
/// }
/// let sparse = gradient.as_slice(10)?;
/// let entries: Vec<_> = sparse.entries().iter().map(|e| (e.index, e.value)).collect();
/// assert_eq!(entries, [(2, 0.25), (7, -0.25), (9, -0.125)]);
/// # Ok::<_, siren_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SparseGradient {
    entries: Vec<Entry>,
    /// `true` if no entry was added since the last merge.
    merged: bool,
}

impl SparseGradient {
    /// The vector that is zero everywhere.
    pub fn new() -> Self {
        Self::default()
    }

    /// Removes all entries. The allocated memory is kept for later entries.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.merged = false;
    }

    /// Adds `value` to the entry at `index`.
    pub fn add(&mut self, index: u32, value: f32) {
        self.entries.push(Entry { index, value });
        self.merged = false;
    }

    /// Sorts the entries by index, and sums those of one index in the order in which they were
    /// added.
    pub fn merge(&mut self) {
        if self.merged {
            return;
        }
        self.entries.sort_by_key(|entry| entry.index);
        self.entries.dedup_by(|later, sum| {
            let same = later.index == sum.index;
            if same {
                sum.value += later.value;
            }
            same
        });
        self.merged = true;
    }

    /// The entries, in the order in which they were added, or by rising index after
    /// [`merge`](Self::merge).
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// [Merges](Self::merge) the entries and returns them as a vector of length `dim`.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) when an index is not below
    /// `dim`.
    pub fn as_slice(&mut self, dim: usize) -> Result<SparseSlice<'_>> {
        self.merge();
        SparseSlice::new(dim, &self.entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_one_index_are_added_up_in_order() {
        let mut gradient = SparseGradient::new();
        // In another order the small one would be lost in the large ones.
        for (index, value) in [(7, 1e9), (2, 0.5), (7, -1e9), (7, 0.25), (0, 1.0)] {
            gradient.add(index, value);
        }
        let sparse = gradient.as_slice(8).unwrap();
        let entries: Vec<_> = sparse.entries().iter().map(|e| (e.index, e.value)).collect();
        assert_eq!(entries, [(0, 1.0), (2, 0.5), (7, 0.25)]);
        let error = gradient.as_slice(7).unwrap_err();
        assert!(error.message().contains("index 7"), "{error}");
        gradient.clear();
        assert_eq!(gradient.as_slice(1).unwrap().entries(), []);
    }

    #[test]
    fn unsorted_and_repeated_indices_are_rejected() {
        let entry = |index| Entry { index, value: 1.0 };
        SparseSlice::new(5, &[entry(0), entry(4)]).unwrap();
        for bad in [[3, 2], [3, 3], [3, 5]] {
            SparseSlice::new(5, &bad.map(entry)).unwrap_err();
        }
    }
}
