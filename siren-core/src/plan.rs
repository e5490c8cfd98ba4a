//! The plan of an epoch, shared by its workers and its store.

use std::ops::Range;

use rand::seq::SliceRandom;

use crate::{Compression, Error, Noise, Optimizer, Result, Seed, Stream, SyncMode};

/// The plan of one epoch, which does not change from [`open`](crate::ParameterStore::open) to
/// [`seal`](crate::ParameterStore::seal). It determines the batches, their order, their division
/// into shards, and the rule by which updates are applied.
///
/// Batches are numbered by their place in the data: batch `b` begins with example `b * batch_size`.
/// The epoch visits the batches in a random [`order`](EpochPlan::order). *Position* `i` of the
/// epoch is the i-th visited batch. A shard is a range of consecutive positions.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct EpochPlan {
    /// The name of the run.
    pub run: String,
    /// The number of the epoch, from 0.
    pub epoch: u64,
    /// The seed of the run.
    pub seed: Seed,
    /// The hash of the model's layout.
    pub layout: u64,
    /// The number of training examples.
    pub examples: u64,
    /// The number of examples in a batch; the last batch may be shorter.
    pub batch_size: u64,
    /// The number of shards, one for each worker.
    pub shards: u32,
    /// The number of batches in one push.
    pub local_steps: u64,
    /// The rule by which updates change the parameters.
    pub optimizer: Optimizer,
    /// The learning rate of the epoch.
    // Short keys: a store writes the plan with its state in every cycle of an aggregator.
    #[serde(rename = "rate")]
    pub learning_rate: f32,
    /// The weight decay: the parameters times this number are added to the gradient, or to the step
    /// under [`Optimizer::AdamW`].
    pub weight_decay: f32,
    /// Gradients with a larger Euclidean norm are scaled down to this norm. The limit for an update
    /// of k batches is k times this norm. Under top-k compression the worker clips each batch's
    /// gradient and the store does not clip, since clipping an update would also cut entries kept
    /// from earlier batches.
    pub clip_norm: Option<f32>,
    /// The synchronisation of workers between the barriers.
    #[serde(rename = "mode")]
    pub sync_mode: SyncMode,
    /// The entries of a gradient that workers push.
    #[serde(default)]
    pub compression: Compression,
    /// The measurement of gradient noise, and its use.
    #[serde(default)]
    pub noise: Noise,
}

impl EpochPlan {
    /// Checks that the plan is valid.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](crate::ErrorKind::Rejected), naming the setting and the
    /// remedy.
    pub fn check(&self) -> Result<()> {
        let reject = |message: String| Err(Error::rejected(message));
        if self.examples == 0 {
            return reject("the training data is empty: give at least one example".into());
        }
        if self.batch_size == 0 {
            return reject("the batch size is 0: give at least 1".into());
        }
        if self.batch_size > self.examples {
            return reject(format!(
                "the batch size {} is larger than the training data ({} examples): \
                 make it smaller or give more data",
                self.batch_size, self.examples
            ));
        }
        if self.local_steps == 0 {
            return reject("local steps are 0: give at least 1 step for each push".into());
        }
        if self.shards == 0 {
            return reject("the number of workers is 0: give at least 1".into());
        }
        if u64::from(self.shards) > self.batches() {
            return reject(format!(
                "{} workers for {} batches: give at most one worker for each batch",
                self.shards,
                self.batches()
            ));
        }
        if !self.learning_rate.is_finite() || self.learning_rate < 0.0 {
            return reject(format!(
                "the learning rate is {}: give a finite number, 0 or more",
                self.learning_rate
            ));
        }
        if !self.weight_decay.is_finite() || self.weight_decay < 0.0 {
            return reject(format!(
                "weight decay is {}: give a finite number, 0 or more",
                self.weight_decay
            ));
        }
        if let Some(limit) = self.clip_norm
            && !(limit > 0.0 && limit.is_finite())
        {
            return reject(format!(
                "the clipping norm is {limit}: give a finite number above 0, or none"
            ));
        }
        self.compression.check()?;
        self.noise.check(self.sync_mode.merges_rounds())?;
        self.optimizer.check()
    }

    /// The number of batches.
    pub fn batches(&self) -> u64 {
        self.examples.div_ceil(self.batch_size.max(1))
    }

    /// The positions of a shard. The lengths of shards differ by at most one.
    pub fn shard(&self, shard: u32) -> Range<u64> {
        let (batches, shards) = (self.batches(), u64::from(self.shards.max(1)));
        let cut = |i: u64| {
            // Widened, since batches * shards may pass 64 bits.
            (u128::from(batches) * u128::from(i.min(shards)) / u128::from(shards)) as u64
        };
        cut(shard.into())..cut(u64::from(shard) + 1)
    }

    /// The number of batches in a shard.
    pub fn shard_len(&self, shard: u32) -> u64 {
        let range = self.shard(shard);
        range.end - range.start
    }

    /// The number of updates of a whole shard.
    pub fn rounds(&self, shard: u32) -> u64 {
        self.updates(self.shard_len(shard))
    }

    /// The number of updates that cover the first `batches` batches of a shard.
    pub fn updates(&self, batches: u64) -> u64 {
        batches.div_ceil(self.local_steps.max(1))
    }

    /// `true` if, under top-k compression, update number `update` of a shard, counted from 0,
    /// contains all entries that were kept. This holds from the last update that all shards have
    /// with the same number of batches. In that round the kept entries of all shards have the same
    /// weight, and at its end no shard keeps any.
    pub fn leaves_nothing_out(&self, update: u64) -> bool {
        let shortest = self.batches() / u64::from(self.shards.max(1));
        update + 1 >= shortest / self.local_steps.max(1)
    }

    /// The number of batches in the update at `position` of `shard`: the local steps, or fewer at
    /// the end of the shard.
    pub fn update_len(&self, shard: u32, position: u64) -> u64 {
        self.local_steps.min(self.shard_len(shard).saturating_sub(position))
    }

    /// The batches in the order in which the epoch visits them, drawn from the seed.
    pub fn order(&self) -> Vec<u64> {
        let mut order: Vec<u64> = (0..self.batches()).collect();
        order.shuffle(&mut self.seed.split(Stream::Order, &[self.epoch]).rng());
        order
    }

    /// The examples of a batch.
    pub fn batch(&self, batch: u64) -> Range<u64> {
        let start = batch * self.batch_size;
        start..(start + self.batch_size).min(self.examples)
    }

    /// The seed for the gradient of a batch. It does not depend on the worker that computes it.
    pub fn gradient_seed(&self, batch: u64) -> Seed {
        self.seed.split(Stream::Gradient, &[self.epoch, batch])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(examples: u64, batch_size: u64, shards: u32) -> EpochPlan {
        EpochPlan {
            run: "test".into(),
            epoch: 0,
            seed: Seed::new(1),
            layout: 0,
            examples,
            batch_size,
            shards,
            local_steps: 1,
            optimizer: Optimizer::Sgd,
            learning_rate: 0.1,
            weight_decay: 0.0,
            clip_norm: None,
            sync_mode: SyncMode::Hybrid,
            compression: Compression::None,
            noise: Noise::Off,
        }
    }

    #[test]
    fn shards_cover_every_batch_once_and_batches_every_example_once() {
        for (examples, batch_size, shards) in [(1, 1, 1), (100, 7, 4), (1_000, 3, 334), (64, 64, 1)]
        {
            let plan = plan(examples, batch_size, shards);
            plan.check().unwrap();
            let order = plan.order();
            let mut seen = vec![0; examples as usize];
            for shard in 0..shards {
                assert!(plan.shard_len(shard) >= 1);
                for position in plan.shard(shard) {
                    for example in plan.batch(order[position as usize]) {
                        seen[example as usize] += 1;
                    }
                }
            }
            assert!(seen.iter().all(|&count| count == 1), "{plan:?}");
        }
    }

    #[test]
    fn epochs_visit_batches_in_different_orders() {
        let first = plan(1_000, 10, 2);
        let second = EpochPlan { epoch: 1, ..first.clone() };
        assert_eq!(first.order(), first.order());
        assert_ne!(first.order(), second.order());
    }

    #[test]
    fn each_bad_setting_is_named() {
        let good = plan(100, 10, 2);
        let top = |share| Compression::TopK { share };
        let bulk = EpochPlan { sync_mode: SyncMode::Bulk, ..good.clone() };
        let cases: [(&str, EpochPlan); 11] = [
            ("training data", EpochPlan { examples: 0, ..good.clone() }),
            ("batch size", EpochPlan { batch_size: 0, ..good.clone() }),
            ("batch size", EpochPlan { batch_size: 101, ..good.clone() }),
            ("workers", EpochPlan { shards: 0, ..good.clone() }),
            ("local steps", EpochPlan { local_steps: 0, ..good.clone() }),
            ("learning rate", EpochPlan { learning_rate: f32::NAN, ..good.clone() }),
            ("weight decay", EpochPlan { weight_decay: -1.0, ..good.clone() }),
            ("clipping norm", EpochPlan { clip_norm: Some(0.0), ..good.clone() }),
            ("top-k share", EpochPlan { compression: top(0.0), ..good.clone() }),
            ("top-k share", EpochPlan { compression: top(f64::NAN), ..good.clone() }),
            ("noise rule", EpochPlan { noise: Noise::RULE, ..bulk }),
        ];
        for (name, bad) in cases {
            let error = bad.check().unwrap_err();
            assert!(error.message().contains(name), "{error}");
        }
    }
}
