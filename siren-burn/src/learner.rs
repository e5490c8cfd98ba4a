//! The trait that a user implements.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use siren_core::{Batch, Better, Evaluation, Metrics, Result, Seed};

use crate::Measure;

/// A module and its loss: all that [`BurnWorkload`](crate::BurnWorkload) needs.
///
/// The [crate's documentation](crate) has an example.
pub trait Learner: Send + Sync {
    /// The module that is trained, a plain `#[derive(Module)]`.
    type Module: Module;
    /// The tensors of one mini-batch.
    type Batch;

    /// Makes the module. All random values must come from burn's initialisers, which are seeded
    /// before the call. The module must have the same parameters every time.
    fn init(&self, device: &Device) -> Self::Module;

    /// Turns a batch's bytes into tensors, as burn's `Batcher` does with items.
    ///
    /// # Errors
    ///
    /// Should return [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected) when the bytes are
    /// not valid for the learner, such as wrong lengths or labels outside the classes. Invalid
    /// values that are not refused here may panic in the loss.
    fn batch(&self, batch: &Batch<'_>, device: &Device) -> Result<Self::Batch>;

    /// The mean loss over the batch.
    fn loss(&self, module: &Self::Module, batch: Self::Batch) -> Tensor<1>;

    /// The mean loss whose gradient is taken; by default [`loss`](Self::loss). Dropout masks and
    /// noise belong here and must be drawn from `seed`: the whole process shares burn's own
    /// generator, and its values depend on other threads.
    fn training_loss(&self, module: &Self::Module, batch: Self::Batch, seed: Seed) -> Tensor<1> {
        let _ = seed;
        self.loss(module, batch)
    }

    /// Measures the module on a batch; by default the [`loss`](Self::loss) alone. The module and
    /// the tensors record no graph.
    fn evaluate(&self, module: &Self::Module, batch: Self::Batch, measure: &mut Measure<'_>) {
        measure.mean_loss(self.loss(module, batch));
    }

    /// Turns the sums over a whole data set into the loss and the metrics, as
    /// [`Workload::finish`](siren_core::Workload::finish) does.
    fn finish(&self, metrics: &Metrics) -> Evaluation {
        metrics.evaluation()
    }

    /// The direction in which a metric improves: higher by default.
    fn better(&self, metric: &str) -> Better {
        let _ = metric;
        Better::Higher
    }
}
