//! Checks of updates, and the arithmetic of applying them.

use std::ops::Range;

use siren_core::{Entry, EpochPlan, Error, ErrorKind, NoiseAverages, Result, Update};

use crate::kernel::{self, Step, clip_scale};

/// The entries of an update in a range of the parameters.
#[derive(Clone, Copy)]
pub(super) enum Piece<'a> {
    /// A value for each parameter.
    Dense(&'a [f32]),
    /// The non-zero entries, with indices into the whole vector.
    Sparse(&'a [Entry]),
}

/// The entries within a range of indices.
pub(super) fn within<'a>(entries: &'a [Entry], range: &Range<usize>) -> &'a [Entry] {
    let below = |end: usize| entries.partition_point(|entry| (entry.index as usize) < end);
    &entries[below(range.start)..below(range.end)]
}

/// The weight of an update's gradient in the mean of its round, which has `examples` examples in
/// all.
pub(super) fn weight(scale: f32, of: u64, examples: u64) -> f32 {
    (f64::from(scale) * (of as f64 / examples.max(1) as f64)) as f32
}

/// The weighted sum of a round's updates in the range from `start`, in their order, with sparse
/// updates after the dense ones.
pub(super) fn sum_up<'a>(
    sum: &mut [f32],
    start: usize,
    updates: impl Iterator<Item = (f32, Piece<'a>)> + Clone,
) {
    let dense = updates.clone().filter_map(|(weight, piece)| match piece {
        Piece::Dense(values) => Some((weight, values)),
        Piece::Sparse(_) => None,
    });
    kernel::weighted_sum(sum, dense);
    for (weight, piece) in updates {
        if let Piece::Sparse(entries) = piece {
            for entry in entries {
                sum[entry.index as usize - start] += weight * entry.value;
            }
        }
    }
}

/// Splits entries into those with indices below `end` and the others. It reads ahead in strides and
/// only forwards, so that the hardware prefetches entries that are not yet cached.
pub(super) fn split_below(entries: &[Entry], end: usize) -> (&[Entry], &[Entry]) {
    const STRIDE: usize = 16;
    let below = |entry: &Entry| (entry.index as usize) < end;
    let strides = entries.chunks_exact(STRIDE).take_while(|stride| below(&stride[STRIDE - 1]));
    let sure = strides.count() * STRIDE;
    let more = entries[sure..].iter().take_while(|entry| below(entry)).count();
    entries.split_at(sure + more)
}

/// The weight that the noise rule gives to an update.
#[derive(Clone, Copy)]
pub(super) struct Weight {
    /// The factor of its step.
    pub(super) step: f64,
    /// The share of its examples that count as progress.
    pub(super) efficiency: f64,
}

impl Weight {
    /// The weight without the rule.
    pub(super) const FULL: Self = Self { step: 1.0, efficiency: 1.0 };

    /// The weight of an update that is about to be applied to parameters of `version`.
    pub(super) fn new(
        plan: &EpochPlan,
        averages: &NoiseAverages,
        version: u64,
        update: &Update<'_>,
    ) -> Self {
        let efficiency = plan.noise.efficiency(averages, in_flight(plan, version, update));
        Self { step: plan.optimizer.step_factor(efficiency), efficiency }
    }
}

/// The step that applies a gradient with the clipping factor `scale`. The noise rule's `factor`
/// multiplies the whole step.
pub(super) fn step(plan: &EpochPlan, scale: f32, factor: f64) -> Step {
    Step {
        optimizer: plan.optimizer,
        rate: (f64::from(plan.learning_rate) * factor) as f32,
        scale,
        decay: plan.weight_decay,
    }
}

/// The number of updates in flight when one is applied to parameters of `version`: the larger one
/// of the number of workers and its staleness plus one.
fn in_flight(plan: &EpochPlan, version: u64, update: &Update<'_>) -> u64 {
    u64::from(plan.shards).max(version.saturating_sub(update.version).saturating_add(1))
}

/// The number of updates of a round whose noise can be measured: all have as many examples. Zero if
/// they differ, or if there is only one.
pub(super) fn equal_updates(examples: impl Iterator<Item = u64>) -> u64 {
    let (mut updates, mut last) = (0, None);
    for examples in examples {
        if last.is_some_and(|last| last != examples) {
            return 0;
        }
        (updates, last) = (updates + 1, Some(examples));
    }
    if updates > 1 { updates } else { 0 }
}

/// Returns the clipping factor of an update, or an error if the update does not fit the plan or is
/// not finite.
pub(super) fn check(plan: &EpochPlan, dim: usize, update: &Update<'_>) -> Result<f32> {
    let id = update.id;
    if id.shard >= plan.shards {
        return Err(Error::rejected(format!(
            "shard {} of {}: shards are numbered from 0",
            id.shard, plan.shards
        )));
    }
    if update.gradient.dim() != dim {
        return Err(Error::rejected(format!(
            "the gradient is of {} parameters, the model has {dim}: push one of the same model",
            update.gradient.dim()
        )));
    }
    let length = plan.update_len(id.shard, id.position);
    if update.batches != length || length == 0 || !id.position.is_multiple_of(plan.local_steps) {
        return Err(Error::rejected(format!(
            "an update of {} batches at position {} of a shard of {}: with {} local steps it \
             covers {length}, from a multiple of them",
            update.batches,
            id.position,
            plan.shard_len(id.shard),
            plan.local_steps
        )));
    }
    let most = length.saturating_mul(plan.batch_size);
    if update.examples == 0 || update.examples > most {
        return Err(Error::rejected(format!(
            "an update of {} batches with {} examples: they hold at least 1 and at most {most}",
            update.batches, update.examples
        )));
    }
    let diverged = |what: &str, value: f64| {
        Err(Error::new(
            ErrorKind::Diverged,
            format!(
                "{what} of shard {} at batch {} of epoch {} is {value}",
                id.shard, id.position, id.epoch
            ),
        ))
    };
    if !update.loss.is_finite() {
        return diverged("the loss", update.loss);
    }
    if !update.squared_norm.is_finite() || update.squared_norm < 0.0 {
        return diverged("the gradient's squared norm", update.squared_norm);
    }
    // Workers with compression have clipped each batch's gradient before.
    let limit = plan.clip_norm.filter(|_| !plan.compression.clips_in_worker());
    let scale = clip_scale(limit, update.batches, update.squared_norm);
    let length = f64::from(plan.learning_rate) * f64::from(scale) * update.squared_norm.sqrt();
    if length > f64::from(f32::MAX) {
        return diverged("the length of the update", length);
    }
    Ok(scale)
}
