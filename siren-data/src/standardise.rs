//! Features on one scale.

use ndarray::{Array1, Axis, Zip};
use siren_core::{Error, Result};

use crate::DenseTable;

/// Shifts and scales each feature: `x' = (x - mean) / deviation`. One learning rate then suits all
/// features.
///
/// Take mean and standard deviation from the training data, and apply them to the test data too:
///
/// ```
/// use siren_data::{DenseTable, Standardisation};
/// let mut train = DenseTable::new(vec![0.0, 10.0, 1.0, 30.0], 1)?; // label, feature, …
/// let mut test = DenseTable::new(vec![1.0, 40.0], 1)?;
/// let scale = Standardisation::of(&train);
/// scale.apply(&mut train)?;
/// scale.apply(&mut test)?;
/// assert_eq!(train.row(0), [0.0, -1.0]);
/// assert_eq!(test.row(0), [1.0, 2.0]);
/// # Ok::<(), siren_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Standardisation {
    means: Array1<f64>,
    deviations: Array1<f64>,
}

impl Standardisation {
    /// Computes mean and standard deviation (of the population) of each feature. A constant feature
    /// gets the deviation 1, and becomes 0.
    pub fn of(table: &DenseTable) -> Self {
        let inputs = table.inputs();
        let columns = inputs.columns().into_iter().map(|column| column.mapv(f64::from));
        let (means, deviations): (Vec<f64>, Vec<f64>) = columns
            .map(|column| {
                let mean = column.mean().unwrap_or(0.0);
                let deviation = column.std(0.0);
                // The rounding error of a constant is not a deviation.
                let varies = deviation > 1e-12 * mean.abs() && deviation > 0.0;
                (mean, if varies { deviation } else { 1.0 })
            })
            .unzip();
        Self { means: means.into(), deviations: deviations.into() }
    }

    /// Standardises a table's features.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected) if the table has another
    /// number of features.
    pub fn apply(&self, table: &mut DenseTable) -> Result<()> {
        if table.features() != self.means.len() {
            return Err(Error::rejected(format!(
                "a table of {} features is measured by one of {}: take both from the same data",
                table.features(),
                self.means.len()
            )));
        }
        let (_, mut inputs) = table.rows.view_mut().split_at(Axis(1), 1);
        for row in inputs.rows_mut() {
            Zip::from(row).and(&self.means).and(&self.deviations).for_each(|x, mean, deviation| {
                *x = ((f64::from(*x) - mean) / deviation) as f32;
            });
        }
        Ok(())
    }

    /// The mean of each feature.
    pub fn means(&self) -> &[f64] {
        self.means.as_slice().unwrap_or_default()
    }

    /// The standard deviation of each feature.
    pub fn deviations(&self) -> &[f64] {
        self.deviations.as_slice().unwrap_or_default()
    }
}
