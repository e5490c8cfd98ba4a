//! What a user writes.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use siren_core::{Batch, Result, Seed};

use crate::Measure;

/// A module and its loss: all that [`BurnWorkload`](crate::BurnWorkload) needs.
pub trait Learner: Send + Sync {
    /// The module that is trained, a plain `#[derive(Module)]`.
    type Module: Module;
    /// The tensors of one mini-batch.
    type Batch;

    /// Makes the module. Whatever it draws comes from burn's initialisers, which are seeded before
    /// the call; it must have the same parameters every time.
    fn init(&self, device: &Device) -> Self::Module;

    /// Turns a batch's bytes into tensors, as burn's `Batcher` does with items.
    ///
    /// # Errors
    ///
    /// Should be rejected when the bytes are not what the learner reads: wrong lengths, labels
    /// outside the classes. What is let through here may panic in the loss.
    fn batch(&self, batch: &Batch<'_>, device: &Device) -> Result<Self::Batch>;

    /// The mean loss over the batch.
    fn loss(&self, module: &Self::Module, batch: Self::Batch) -> Tensor<1>;

    /// The mean loss whose gradient is taken; [`loss`](Self::loss) unless overridden. Dropout masks
    /// and noise belong here and must be drawn from `seed`: burn's own generator is one for the
    /// whole process, and what it draws depends on what other threads do.
    fn training_loss(&self, module: &Self::Module, batch: Self::Batch, seed: Seed) -> Tensor<1> {
        let _ = seed;
        self.loss(module, batch)
    }

    /// Measures the module on a batch; the [`loss`](Self::loss) alone unless overridden. The module
    /// and the tensors record no graph.
    fn evaluate(&self, module: &Self::Module, batch: Self::Batch, measure: &mut Measure<'_>) {
        measure.mean_loss(self.loss(module, batch));
    }
}
