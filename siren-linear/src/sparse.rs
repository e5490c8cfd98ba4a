//! Logistic regression of sparse features.

use siren_core::{Batch, Error, Layout, Metrics, Result, Seed, SparseGradient, Workload};
use siren_data::SparseRecord;

use crate::dense::layout;
use crate::loss::{self, Judged};

/// Binary logistic regression of sparse features, with a bias. The [crate's documentation](crate)
/// has the formulae.
///
/// Examples are packed by [`SparseExample::pack`](siren_data::SparseExample::pack). A gradient has
/// entries for the bias and for the features in the batch's examples, and nothing else is computed
/// or pushed. The work of a batch therefore grows with these features, not with the number of all
/// features. There is no penalty, because its gradient would be dense. The store's
/// `siren_hsp::Config::weight_decay` is a penalty without traffic.
///
/// ```
/// use siren_core::{Batch, Entry, Seed, SparseGradient, Workload};
/// use siren_data::SparseExample;
/// use siren_linear::SparseLogisticRegression;
///
/// let model = SparseLogisticRegression::new(100_000)?;
/// let example = SparseExample { positive: true, features: vec![Entry { index: 7, value: 2.0 }] };
/// let mut bytes = Vec::new();
/// example.pack(&mut bytes)?;
/// let (params, batch) = (model.init(Seed::new(0))?, Batch::new(1, &bytes));
/// let mut gradient = SparseGradient::new();
/// model.sparse_gradient(&params, &batch, Seed::new(0), &mut gradient)?;
/// gradient.merge();
/// // The bias, and the weight of feature 7: (p - y) times 1 and the feature.
/// let expected = [Entry { index: 0, value: -0.5 }, Entry { index: 8, value: -1.0 }];
/// assert_eq!(gradient.entries(), expected);
/// # Ok::<(), siren_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SparseLogisticRegression {
    layout: Layout,
    features: usize,
}

impl SparseLogisticRegression {
    /// A model of `features` features.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected) when there is no feature,
    /// or when there are too many for a 32-bit index.
    pub fn new(features: usize) -> Result<Self> {
        Ok(Self { layout: layout(features)?, features })
    }

    /// The number of features.
    pub fn features(&self) -> usize {
        self.features
    }

    /// Loss and slope of one example.
    fn judge(&self, params: &[f32], example: &SparseRecord<'_>) -> Result<Judged> {
        let mut score = params[0];
        for feature in example.features() {
            let index = feature.index as usize;
            if index >= self.features {
                return Err(Error::rejected(format!(
                    "feature {index} (from 0) in an example, but the model has {} features: read the \
                     data with the model's number of features",
                    self.features
                )));
            }
            score += params[1 + index] * feature.value;
        }
        Ok(loss::judge(score, example.is_positive()))
    }

    /// Returns the mean loss. Passes the parts of its gradient to `add`, in the same order every
    /// time.
    fn descend(
        &self,
        params: &[f32],
        batch: &Batch<'_>,
        mut add: impl FnMut(u32, f32),
    ) -> Result<f64> {
        let examples = batch.examples as f64;
        let (mut loss, mut bias) = (0.0, 0.0);
        for example in SparseRecord::unpack(batch)? {
            let example = example?;
            let judged = self.judge(params, &example)?;
            loss += judged.loss;
            bias += judged.error;
            let error = (judged.error / examples) as f32;
            for feature in example.features() {
                add(1 + feature.index, error * feature.value);
            }
        }
        add(0, (bias / examples) as f32);
        Ok(loss / examples)
    }
}

impl Workload for SparseLogisticRegression {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn init(&self, _: Seed) -> Result<Vec<f32>> {
        Ok(vec![0.0; self.dim()])
    }

    fn gradient(
        &self,
        params: &[f32],
        batch: &Batch<'_>,
        _: Seed,
        gradient: &mut [f32],
    ) -> Result<f64> {
        gradient.fill(0.0);
        self.descend(params, batch, |index, value| gradient[index as usize] += value)
    }

    fn sparse_gradient(
        &self,
        params: &[f32],
        batch: &Batch<'_>,
        _: Seed,
        gradient: &mut SparseGradient,
    ) -> Result<Option<f64>> {
        self.descend(params, batch, |index, value| gradient.add(index, value)).map(Some)
    }

    fn evaluate(&self, params: &[f32], batch: &Batch<'_>, metrics: &mut Metrics) -> Result<()> {
        for example in SparseRecord::unpack(batch)? {
            let example = example?;
            let judged = self.judge(params, &example)?;
            metrics.add_loss(1, judged.loss);
            loss::measure(judged, example.is_positive(), metrics);
        }
        Ok(())
    }
}
