//! Labelled examples in memory.

use ndarray::{Array2, ArrayView2, Axis};
use siren_core::{Error, Result};

use crate::{MemorySource, RaggedSource, SparseExample, binary_label};

/// Labelled examples of sparse features, packed as [`SparseExample::pack`] does.
///
/// [`libsvm::read`](crate::libsvm::read) makes one from a file. Examples from elsewhere:
///
/// ```
/// use siren_core::{DataSource, Entry};
/// use siren_data::{SparseExample, SparseTable};
///
/// let examples = [
///     SparseExample { positive: true, features: vec![Entry { index: 2, value: 0.5 }] },
///     SparseExample { positive: false, features: vec![Entry { index: 0, value: 1.0 }] },
/// ];
/// let table = SparseTable::pack(examples.map(Ok), None)?;
/// assert_eq!((table.features, table.positives, table.source.len()), (3, 1, 2));
/// # Ok::<(), siren_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SparseTable {
    /// The packed examples.
    pub source: RaggedSource,
    /// The number of features: indices are below it.
    pub features: usize,
    /// The number of examples with the label 1.
    pub positives: u64,
}

impl SparseTable {
    /// Packs the examples in their order. If `features` is `None`, the number of features is the
    /// largest index plus 1.
    ///
    /// # Errors
    ///
    /// Returns the first error among the examples, the errors of [`SparseExample::pack`], and
    /// [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected) if there are no examples or an
    /// index is not below `features`.
    pub fn pack(
        examples: impl IntoIterator<Item = Result<SparseExample>>,
        features: Option<usize>,
    ) -> Result<Self> {
        let (mut bytes, mut offsets) = (Vec::new(), vec![0]);
        let (mut needed, mut positives) = (0, 0);
        for example in examples {
            let example = example?;
            example.pack(&mut bytes)?;
            offsets.push(bytes.len());
            positives += u64::from(example.positive);
            needed = needed.max(example.features.last().map_or(0, |last| last.index as usize + 1));
        }
        let features = features.unwrap_or(needed);
        if needed > features {
            return Err(Error::rejected(format!(
                "the examples have {needed} features, and {features} were asked for: ask for all"
            )));
        }
        Ok(Self { source: RaggedSource::from_parts(bytes, offsets)?, features, positives })
    }
}

/// Labelled examples of dense features, before they are standardised and packed.
///
/// [`csv::read`](crate::csv::read) makes one from a file. Numbers from elsewhere:
///
/// ```
/// use siren_core::{DataSource, Seed};
/// use siren_data::DenseTable;
///
/// // Two examples, each a label and two features.
/// let table = DenseTable::new(vec![1.0, 0.5, 2.0, 0.0, 0.1, 3.0], 2)?;
/// assert_eq!((table.examples(), table.features(), table.positives()), (2, 2, 1));
/// // Batches are contiguous: shuffle once.
/// let source = table.pack()?.shuffled(Seed::new(0));
/// assert_eq!(source.len(), 2);
/// # Ok::<(), siren_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct DenseTable {
    /// A row for each example: the label, 0 or 1, and the features.
    pub(crate) rows: Array2<f32>,
}

impl DenseTable {
    /// A table of rows of `1 + features` numbers, end to end: the label, 0 or 1, and the features.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected) if the numbers are not one
    /// or more such rows, if a label is neither 0 nor 1, or if a number is not finite.
    pub fn new(numbers: Vec<f32>, features: usize) -> Result<Self> {
        let columns = features.saturating_add(1);
        if features == 0 || numbers.is_empty() || !numbers.len().is_multiple_of(columns) {
            return Err(Error::rejected(format!(
                "{} numbers are not one or more examples of a label and {features} features",
                numbers.len()
            )));
        }
        if let Some(at) = numbers.iter().position(|number| !number.is_finite()) {
            return Err(Error::rejected(format!(
                "column {} of example {} is {}: give finite numbers",
                at % columns,
                at / columns,
                numbers[at]
            )));
        }
        let rows = Array2::from_shape_vec((numbers.len() / columns, columns), numbers)
            .map_err(|error| Error::rejected("rows of another length").with_source(error))?;
        rows.column(0).iter().try_for_each(|&label| binary_label(label).map(drop))?;
        Ok(Self { rows })
    }

    /// The number of features.
    pub fn features(&self) -> usize {
        self.rows.ncols() - 1
    }

    /// The number of examples, at least one.
    pub fn examples(&self) -> usize {
        self.rows.nrows()
    }

    /// The number of examples with the label 1.
    pub fn positives(&self) -> u64 {
        self.rows.column(0).iter().filter(|&&label| label == 1.0).count() as u64
    }

    /// Label and features of one example.
    ///
    /// # Panics
    ///
    /// Panics if `example` is not below the number of examples.
    pub fn row(&self, example: usize) -> Vec<f32> {
        self.rows.row(example).to_vec()
    }

    /// The features of all examples, shape \[examples, features\].
    pub(crate) fn inputs(&self) -> ArrayView2<'_, f32> {
        self.rows.view().split_at(Axis(1), 1).1
    }

    /// The packed examples, in their order: each is `1 + features` little-endian `f32` numbers.
    ///
    /// # Errors
    ///
    /// Returns no error: a table has at least one example.
    pub fn pack(&self) -> Result<MemorySource> {
        let bytes: Vec<u8> = self.rows.iter().flat_map(|number| number.to_le_bytes()).collect();
        MemorySource::new(bytes, self.rows.ncols() * size_of::<f32>())
    }
}
