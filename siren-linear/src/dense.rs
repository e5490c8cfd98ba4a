//! Logistic regression of dense features.

use ndarray::{Array1, Array2, ArrayView1, ArrayViewMut1, Zip};
use siren_core::{Batch, Error, Layout, Metrics, Result, Seed, TensorSpec, Workload};
use siren_data::binary_label;

use crate::loss::{self, Judged};

/// Binary logistic regression of dense features, with a bias and an optional L2 penalty. The
/// [crate's documentation](crate) has the formulae.
///
/// An example is `1 + features` little-endian `f32` numbers: the label, 0 or 1, and the features.
/// [`DenseTable::pack`](siren_data::DenseTable::pack) packs them in this form.
///
/// ```
/// use siren_core::{Batch, Seed, Workload};
/// use siren_linear::LogisticRegression;
///
/// let model = LogisticRegression::new(2)?;
/// let numbers = [1.0_f32, 0.5, -2.0]; // label, two features
/// let bytes: Vec<u8> = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
/// let mut gradient = [0.0; 3]; // bias, two weights
/// let batch = Batch::new(1, &bytes);
/// let loss = model.gradient(&[0.0; 3], &batch, Seed::new(0), &mut gradient)?;
/// assert!((loss - 2.0_f64.ln()).abs() < 1e-6);
/// assert_eq!(gradient, [-0.5, -0.25, 1.0]); // (p - y) times 1 and the features
/// # Ok::<(), siren_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct LogisticRegression {
    layout: Layout,
    features: usize,
    l2: f32,
}

impl LogisticRegression {
    /// A model of `features` features, without a penalty.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected) when there is no feature,
    /// or when there are too many for a 32-bit index.
    pub fn new(features: usize) -> Result<Self> {
        Ok(Self { layout: layout(features)?, features, l2: 0.0 })
    }

    /// Adds `l2 / 2 · |weight|²` to the loss of every batch, including evaluations, and
    /// `l2 · weight` to its gradient. The penalty leaves out the bias;
    /// `siren_hsp::Config::weight_decay` includes it.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected) when it is negative or not
    /// finite.
    pub fn with_l2(self, l2: f32) -> Result<Self> {
        if !(0.0..f32::INFINITY).contains(&l2) {
            return Err(Error::rejected(format!(
                "the L2 penalty is {l2}: give 0 for none, or a positive number"
            )));
        }
        Ok(Self { l2, ..self })
    }

    /// The number of features.
    pub fn features(&self) -> usize {
        self.features
    }

    /// The penalty of these parameters.
    fn penalty(&self, params: &[f32]) -> f64 {
        let weight = ArrayView1::from(&params[1..]);
        f64::from(self.l2) / 2.0 * f64::from(weight.dot(&weight))
    }

    /// The rows of the batch, and the loss and slope of each.
    fn forward(&self, params: &[f32], batch: &Batch<'_>) -> Result<Forward> {
        let columns = 1 + self.features;
        let mut rows = Array2::from_shape_vec((batch.examples, columns), batch.floats(columns)?)
            .map_err(|error| Error::rejected("examples of another size").with_source(error))?;
        let labels: Vec<bool> =
            rows.column(0).iter().map(|&label| binary_label(label)).collect::<Result<_>>()?;
        // The factor of the bias takes the place of the label, so that one product computes the
        // scores.
        rows.column_mut(0).fill(1.0);
        let scores = rows.dot(&ArrayView1::from(params));
        let judged = scores.iter().zip(&labels).map(|(&z, &label)| loss::judge(z, label)).collect();
        Ok(Forward { rows, labels, judged })
    }
}

/// The results of a pass over a batch, with an entry for each example.
struct Forward {
    /// 1 and the features.
    rows: Array2<f32>,
    labels: Vec<bool>,
    judged: Vec<Judged>,
}

impl Forward {
    /// The sum of the losses.
    fn loss(&self) -> f64 {
        self.judged.iter().map(|judged| judged.loss).sum()
    }
}

impl Workload for LogisticRegression {
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
        let pass = self.forward(params, batch)?;
        let examples = batch.examples as f64;
        let errors: Array1<f32> =
            pass.judged.iter().map(|judged| (judged.error / examples) as f32).collect();
        let mut sum = ArrayViewMut1::from(&mut *gradient);
        sum.fill(0.0);
        // The transposed product, row by row: rows lie together in memory, and columns do not.
        Zip::from(pass.rows.rows()).and(&errors).for_each(|row, &error| {
            sum.scaled_add(error, &row);
        });
        ArrayViewMut1::from(&mut gradient[1..])
            .scaled_add(self.l2, &ArrayView1::from(&params[1..]));
        Ok(pass.loss() / examples + self.penalty(params))
    }

    fn evaluate(&self, params: &[f32], batch: &Batch<'_>, metrics: &mut Metrics) -> Result<()> {
        let pass = self.forward(params, batch)?;
        let penalty = self.penalty(params) * batch.examples as f64;
        metrics.add_loss(batch.examples as u64, pass.loss() + penalty);
        for (&judged, &label) in pass.judged.iter().zip(&pass.labels) {
            loss::measure(judged, label, metrics);
        }
        Ok(())
    }
}

/// A bias, and a weight for each feature.
pub(crate) fn layout(features: usize) -> Result<Layout> {
    // Sparse gradients have 32-bit indices of parameters.
    if features == 0 || u32::try_from(features).is_err() {
        return Err(Error::rejected(format!(
            "{features} features: a linear model has 1 to {} of them",
            u32::MAX
        )));
    }
    Layout::new(vec![TensorSpec::new("bias", [1]), TensorSpec::new("weight", [features])])
}
