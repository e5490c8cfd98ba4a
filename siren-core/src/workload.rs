//! The contract of a workload, the model that is trained.

use crate::{Batch, Better, Evaluation, Layout, Metrics, Result, Seed, SparseGradient};

/// A differentiable loss over mini-batches. Its methods are pure and synchronous: they do no input
/// or output, use no clock, no threads and no random numbers but those drawn from a given seed. A
/// worker can therefore run them anywhere and get the same bits.
///
/// Parameters and gradients are flat slices of [`dim`](Workload::dim) entries in the order of the
/// [`layout`](Workload::layout). A batch has at least one example. Callers guarantee both.
///
/// # Examples
///
/// ```
/// use siren_core::{Batch, Layout, Metrics, Result, Seed, Workload};
///
/// /// One parameter, fitted to the examples by their squared distance from it.
/// struct Mean(Layout);
///
/// impl Workload for Mean {
///     fn layout(&self) -> &Layout {
///         &self.0
///     }
///     fn init(&self, _: Seed) -> Result<Vec<f32>> {
///         Ok(vec![0.0])
///     }
///     fn gradient(&self, at: &[f32], batch: &Batch<'_>, _: Seed, to: &mut [f32]) -> Result<f64> {
///         let errors: Vec<f32> = batch.floats(1)?.iter().map(|x| at[0] - x).collect();
///         to[0] = 2.0 * errors.iter().sum::<f32>() / batch.examples as f32;
///         let squares: f64 = errors.iter().map(|&error| f64::from(error).powi(2)).sum();
///         Ok(squares / batch.examples as f64)
///     }
///     fn evaluate(&self, at: &[f32], batch: &Batch<'_>, metrics: &mut Metrics) -> Result<()> {
///         let loss = self.gradient(at, batch, Seed::new(0), &mut [0.0])?;
///         metrics.add_loss(batch.examples as u64, loss * batch.examples as f64);
///         Ok(())
///     }
/// }
/// ```
pub trait Workload: Send + Sync {
    /// The named tensors behind the flat vector.
    fn layout(&self) -> &Layout;

    /// The number of parameters.
    fn dim(&self) -> usize {
        self.layout().dim()
    }

    /// The initial parameters, [`dim`](Workload::dim) of them. Equal seeds give equal parameters.
    ///
    /// # Errors
    ///
    /// Returns an error when the workload cannot make its parameters.
    fn init(&self, seed: Seed) -> Result<Vec<f32>>;

    /// Returns the mean loss over the batch at `params`, and writes the gradient of that mean into
    /// `gradient`. It overwrites every entry of `gradient`. The last batch of a data set may be
    /// short. Random numbers, such as those of a dropout mask, are drawn from `seed`.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) when the batch's bytes do not
    /// have the format that the workload reads.
    fn gradient(
        &self,
        params: &[f32],
        batch: &Batch<'_>,
        seed: Seed,
        gradient: &mut [f32],
    ) -> Result<f64>;

    /// As [`gradient`](Workload::gradient), for a workload whose gradients are mostly zero, such as
    /// a linear model of sparse features. Adds the entries that are not zero to `gradient`, in any
    /// order; `gradient` is empty before. Only these entries are then pushed.
    ///
    /// The default returns `None` and adds nothing, for a workload without sparse gradients. A
    /// workload returns `None` either for every batch or for none.
    ///
    /// # Errors
    ///
    /// As [`gradient`](Workload::gradient).
    fn sparse_gradient(
        &self,
        params: &[f32],
        batch: &Batch<'_>,
        seed: Seed,
        gradient: &mut SparseGradient,
    ) -> Result<Option<f64>> {
        let _ = (params, batch, seed, gradient);
        Ok(None)
    }

    /// Adds the batch's loss, and the sums of all other metrics, to `metrics`. A data set is
    /// evaluated in parts of any size, and their sums are [merged](Metrics::merge).
    ///
    /// # Errors
    ///
    /// As [`gradient`](Workload::gradient).
    fn evaluate(&self, params: &[f32], batch: &Batch<'_>, metrics: &mut Metrics) -> Result<()>;

    /// Returns the loss and the metrics of a whole data set, computed from its sums. The default is
    /// [`Metrics::evaluation`]: the mean loss and, if they were measured, `accuracy` and `auc`.
    ///
    /// Omit a metric that is not defined for these sums. The trainer drops metrics that are not
    /// finite.
    fn finish(&self, metrics: &Metrics) -> Evaluation {
        metrics.evaluation()
    }

    /// The direction in which a metric of [`finish`](Workload::finish) improves. The default is
    /// [`Better::Higher`] for every metric.
    fn better(&self, metric: &str) -> Better {
        let _ = metric;
        Better::Higher
    }
}
