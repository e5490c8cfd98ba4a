//! What is learned.

use crate::{Batch, Better, Evaluation, Layout, Metrics, Result, Seed, SparseGradient};

/// A differentiable loss over mini-batches. Pure and synchronous: no input, output, clock or random
/// generator of its own, and no threads, so that a worker can run it anywhere and get the same bits.
///
/// Parameters and gradients are flat slices of [`dim`](Workload::dim) entries in the order of the
/// [`layout`](Workload::layout), and a batch has at least one example: callers see to that.
pub trait Workload: Send + Sync {
    /// The named tensors behind the flat vector.
    fn layout(&self) -> &Layout;

    /// The number of parameters.
    fn dim(&self) -> usize {
        self.layout().dim()
    }

    /// The initial parameters, `dim` of them; equal seeds give equal parameters.
    ///
    /// # Errors
    ///
    /// Whatever keeps the workload from making them.
    fn init(&self, seed: Seed) -> Result<Vec<f32>>;

    /// The mean loss over the batch at `params`; writes the gradient of that mean into `gradient`
    /// (every entry: what it held before does not matter). The last batch of a data set may be short.
    /// What a gradient draws, such as a dropout mask, comes from `seed`.
    ///
    /// # Errors
    ///
    /// Rejected when the batch's bytes are not what the workload reads.
    fn gradient(
        &self,
        params: &[f32],
        batch: &Batch<'_>,
        seed: Seed,
        gradient: &mut [f32],
    ) -> Result<f64>;

    /// As [`gradient`](Workload::gradient), for a workload whose gradients are mostly zero, such as a
    /// linear model of sparse features: adds what is not zero to `gradient`, which is empty, in any
    /// order. Only these entries are then pushed. None, and nothing added, when the workload has no
    /// such form, which is the default; it then has none for every batch.
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

    /// Adds the batch's loss, and the sums of all other metrics, to `metrics`. A data set is measured in
    /// parts of any size, and their sums are [merged](Metrics::merge).
    ///
    /// # Errors
    ///
    /// As [`gradient`](Workload::gradient).
    fn evaluate(&self, params: &[f32], batch: &Batch<'_>, metrics: &mut Metrics) -> Result<()>;

    /// Turns the sums over a whole data set into its loss and metrics. The default is
    /// [`Metrics::evaluation`]: the mean loss and, where they were measured, `accuracy` and `auc`.
    ///
    /// Leave out a metric that is not defined for these sums. The trainer leaves out one that is not
    /// finite.
    fn finish(&self, metrics: &Metrics) -> Evaluation {
        metrics.evaluation()
    }

    /// The direction in which a metric of [`finish`](Workload::finish) improves: higher by default.
    fn better(&self, metric: &str) -> Better {
        let _ = metric;
        Better::Higher
    }
}
