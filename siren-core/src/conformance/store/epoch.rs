//! Epochs with a known outcome.

use std::fmt::Debug;

use crate::{
    Compression, EpochPlan, EpochSummary, ErrorKind, Gradient, Noise, Optimizer, ParameterStore,
    PushOutcome, Result, Seed, SyncMode, Update, UpdateId, Watermark,
};

/// The entry of a gradient that adds one to a parameter at a learning rate of one.
pub(super) const ONE_MORE: f32 = -1.0;

/// A plan of `shards` shards and `batches` batches of two examples, with plain SGD at a learning
/// rate of one. The last batch is short unless it is the only one.
pub(in crate::conformance) fn plan(epoch: u64, shards: u32, batches: u64) -> EpochPlan {
    EpochPlan {
        run: "conformance".into(),
        epoch,
        seed: Seed::new(7),
        layout: 0,
        examples: (2 * batches - 1).max(2),
        batch_size: 2,
        shards,
        local_steps: 1,
        optimizer: Optimizer::Sgd,
        learning_rate: 1.0,
        weight_decay: 0.0,
        clip_norm: None,
        sync_mode: SyncMode::Hybrid,
        compression: Compression::None,
        noise: Noise::Off,
    }
}

/// A plan, and the updates of its workers.
pub(super) struct Epoch {
    pub(super) plan: EpochPlan,
    order: Vec<u64>,
}

impl Epoch {
    pub(super) fn new(epoch: u64, shards: u32, batches: u64) -> Self {
        Self::of(plan(epoch, shards, batches))
    }

    pub(super) fn of(plan: EpochPlan) -> Self {
        let order = plan.order();
        Self { plan, order }
    }

    /// The update at a position of a shard, computed at version 0.
    pub(super) fn update<'a>(&self, shard: u32, position: u64, gradient: &'a [f32]) -> Update<'a> {
        self.update_with(shard, position, Gradient::Dense(gradient))
    }

    /// As [`update`](Self::update), with a gradient in any form.
    pub(super) fn update_with<'a>(
        &self,
        shard: u32,
        position: u64,
        gradient: Gradient<'a>,
    ) -> Update<'a> {
        let square = |value: f32| f64::from(value).powi(2);
        let batches = self.plan.update_len(shard, position);
        let covered = self.covered(shard, position, batches);
        Update {
            id: UpdateId { epoch: self.plan.epoch, shard, position },
            batches,
            examples: covered.examples,
            loss: covered.loss,
            version: 0,
            squared_norm: match gradient {
                Gradient::Dense(values) => values.iter().map(|&value| square(value)).sum(),
                Gradient::Sparse(sparse) => sparse.entries().iter().map(|e| square(e.value)).sum(),
            },
            gradient,
        }
    }

    /// The watermark of a shard whose first `batches` batches count.
    pub(super) fn watermark(&self, shard: u32, batches: u64) -> Watermark {
        self.covered(shard, 0, batches)
    }

    /// Batches, examples and losses of `batches` batches from a position. Losses are multiples of a
    /// quarter, so that sums of them are exact.
    fn covered(&self, shard: u32, position: u64, batches: u64) -> Watermark {
        let start = self.plan.shard(shard).start;
        let mut covered = Watermark::default();
        for position in position..position + batches {
            let batch = self.plan.batch(self.order[(start + position) as usize]);
            let examples = batch.end - batch.start;
            covered.batches += 1;
            covered.examples += examples;
            covered.loss += (f64::from(shard) + 0.25 * position as f64) * examples as f64;
        }
        covered
    }

    /// Pushes the update at a position of a shard.
    pub(super) async fn push(
        &self,
        store: &dyn ParameterStore,
        shard: u32,
        position: u64,
        gradient: &[f32],
    ) -> Result<PushOutcome> {
        store.push(&self.update(shard, position, gradient)).await
    }

    /// Pushes all updates, with the shards in turn, and seals the epoch. `gradient` returns the
    /// gradient for the number of the update.
    pub(super) async fn train(
        &self,
        store: &dyn ParameterStore,
        gradient: impl Fn(u64) -> Vec<f32>,
    ) -> EpochSummary {
        store.open(&self.plan).await.expect("open");
        let mut updates = 0;
        for round in 0..self.plan.batches() {
            let position = round * self.plan.local_steps;
            for shard in 0..self.plan.shards {
                if position < self.plan.shard_len(shard) {
                    let gradient = gradient(updates);
                    let push_outcome = self.push(store, shard, position, &gradient).await;
                    assert_eq!(push_outcome.expect("push"), PushOutcome::Accepted);
                    updates += 1;
                }
            }
        }
        store.seal(self.plan.epoch).await.expect("seal")
    }
}

/// Panics unless `result` is an error of this kind.
#[track_caller]
pub(super) fn refused<T: Debug>(result: Result<T>, kind: ErrorKind, what: &str) {
    match result {
        Err(error) => assert_eq!(error.kind(), kind, "{what} failed: {}", error.chain()),
        Ok(value) => panic!("{what} is accepted ({value:?}): it must fail as {kind}"),
    }
}
