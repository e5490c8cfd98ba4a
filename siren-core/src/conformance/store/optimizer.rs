//! Comparison of optimizers with their formulae.
//!
//! For optimizers without roots and quotients, all numbers are small multiples of powers of two.
//! Every order of operations then gives the same bits, and results must be equal.

use super::{Epoch, Subject, plan};
use crate::{Compression, EpochPlan, EpochSummary, Optimizer, Snapshot};

/// `p -= rate * g`.
pub fn sgd_subtracts_the_rate_times_the_gradient(subject: &Subject) {
    let plan = EpochPlan { learning_rate: 0.5, ..plan(0, 2, 3) };
    exactly(subject, &plan, gradient);
}

/// Weight decay times the parameters is added to the gradient, and is not clipped.
pub fn weight_decay_is_added_after_clipping(subject: &Subject) {
    let decayed = EpochPlan { learning_rate: 0.5, weight_decay: 0.25, ..plan(0, 2, 3) };
    exactly(subject, &decayed, gradient);
    let clipped = EpochPlan { clip_norm: Some(2.5), ..decayed };
    exactly(subject, &clipped, three_and_four);
}

/// A gradient of k batches is scaled by `min(1, k * limit / norm)`.
pub fn clipping_allows_every_batch_the_limit(subject: &Subject) {
    // Shards of three batches: an update of two and one of one.
    let plan = EpochPlan { local_steps: 2, clip_norm: Some(1.25), ..plan(0, 2, 6) };
    exactly(subject, &plan, three_and_four);
    // Below the limit nothing is scaled.
    let quarter = |dim, update| {
        let gradient: Vec<f32> = three_and_four(dim, update);
        gradient.into_iter().map(|g| g / 4.0).collect()
    };
    exactly(subject, &plan, quarter);
}

/// Under top-k compression workers clip before they select entries. The store does not clip again,
/// so entries that were kept and are pushed later stay whole.
pub fn updates_of_top_k_are_not_clipped(subject: &Subject) {
    let plan = EpochPlan {
        clip_norm: Some(1.25),
        compression: Compression::TopK { share: 0.5 },
        ..plan(0, 2, 6)
    };
    let as_if = EpochPlan { clip_norm: None, ..plan.clone() };
    let (reached, _) = train(subject, &plan, 1, three_and_four);
    let (_, expected) = train(subject, &as_if, 1, three_and_four);
    for (&reached, expected) in reached.values.iter().zip(expected) {
        assert!(f64::from(reached) == expected, "{reached} instead of {expected}: clipped");
    }
}

/// `v = momentum * v + g; p -= rate * v`.
pub fn momentum_accumulates_a_velocity(subject: &Subject) {
    let plan = EpochPlan {
        optimizer: Optimizer::Momentum { momentum: 0.5 },
        learning_rate: 0.5,
        weight_decay: 0.25,
        ..plan(0, 2, 3)
    };
    exactly(subject, &plan, gradient);
}

/// `v = momentum * v + g; p -= rate * (g + momentum * v)`.
pub fn nesterov_looks_ahead(subject: &Subject) {
    let plan = EpochPlan {
        optimizer: Optimizer::Nesterov { momentum: 0.5 },
        learning_rate: 0.5,
        weight_decay: 0.25,
        ..plan(0, 2, 3)
    };
    exactly(subject, &plan, gradient);
}

/// AdaGrad (Duchi, Hazan, Singer, 2011), to a relative error of 1e-6: `s += g * g;
/// p -= rate * g / (sqrt(s + initial) + epsilon)`.
pub fn adagrad_divides_by_the_root_of_all_squares(subject: &Subject) {
    let plan = EpochPlan {
        optimizer: Optimizer::Adagrad { initial: 0.25, epsilon: 0.125 },
        learning_rate: 0.125,
        weight_decay: 0.25,
        ..plan(0, 2, 5)
    };
    nearly(subject, &plan, gradient);
}

/// Adam with bias correction (Kingma, Ba, 2015), to a relative error of 1e-6.
pub fn adam_corrects_its_bias(subject: &Subject) {
    let plan = EpochPlan {
        optimizer: Optimizer::ADAM,
        learning_rate: 0.125,
        weight_decay: 0.25,
        ..plan(0, 2, 5)
    };
    nearly(subject, &plan, gradient);
}

/// AdamW (Loshchilov, Hutter, 2019), to a relative error of 1e-6: Adam of a gradient without weight
/// decay, and `p -= rate * weight_decay * p` apart from it. The decay is not clipped.
pub fn adamw_decays_parameters_apart_from_the_gradient(subject: &Subject) {
    let decayed = EpochPlan {
        optimizer: Optimizer::ADAMW,
        learning_rate: 0.125,
        weight_decay: 0.25,
        ..plan(0, 2, 5)
    };
    nearly(subject, &decayed, gradient);
    let clipped = EpochPlan { clip_norm: Some(2.5), ..decayed };
    nearly(subject, &clipped, three_and_four);
}

/// Velocity, moments and the number of updates continue from epoch to epoch.
pub fn a_rule_carries_its_state_into_the_next_epoch(subject: &Subject) {
    for optimizer in Optimizer::samples() {
        let plan = EpochPlan { optimizer, learning_rate: 0.125, ..plan(0, 2, 2) };
        let (reached, expected) = train(subject, &plan, 3, gradient);
        assert_eq!(reached.optimizer_state.len(), optimizer.state_vectors(), "{optimizer:?}");
        for (&reached, expected) in reached.values.iter().zip(expected) {
            let error = (f64::from(reached) - expected).abs();
            assert!(
                error <= 1e-6 * expected.abs().max(0.125),
                "{optimizer:?}: {reached}, not {expected}"
            );
        }
    }
}

/// Trains an epoch, and panics unless the result has the bits of the formula's result.
fn exactly(subject: &Subject, plan: &EpochPlan, gradient: impl Fn(usize, u64) -> Vec<f32>) {
    let (reached, expected) = train(subject, plan, 1, gradient);
    for (entry, (&reached, expected)) in reached.values.iter().zip(expected).enumerate() {
        assert!(
            f64::from(reached) == expected,
            "parameter {entry} is {reached}, not {expected}, by {:?} of rate {} with decay {} and \
             limit {:?}",
            plan.optimizer,
            plan.learning_rate,
            plan.weight_decay,
            plan.clip_norm,
        );
    }
}

/// Trains an epoch, and panics unless the result is that of the formula to a relative error of
/// 1e-6.
fn nearly(subject: &Subject, plan: &EpochPlan, gradient: impl Fn(usize, u64) -> Vec<f32>) {
    let (reached, expected) = train(subject, plan, 1, gradient);
    for (entry, (&reached, expected)) in reached.values.iter().zip(expected).enumerate() {
        let error = (f64::from(reached) - expected).abs();
        let size = expected.abs().max(f64::from(plan.learning_rate));
        assert!(error <= 1e-6 * size, "parameter {entry} is {reached}, not {expected}");
    }
}

/// Trains epochs like `plan`. Returns the store's state, and the parameters according to the
/// formulae in double precision.
fn train(
    subject: &Subject,
    plan: &EpochPlan,
    epochs: u64,
    gradient: impl Fn(usize, u64) -> Vec<f32>,
) -> (Snapshot, Vec<f64>) {
    let start: Vec<f32> = (0..subject.dim).map(|i| (i % 5) as f32 - 2.0).collect();
    let mut reference = Reference::new(&start);
    subject.run(async {
        let store = subject.store_at(&start).await;
        for number in 0..epochs {
            let epoch = Epoch::of(EpochPlan { epoch: number, ..plan.clone() });
            let sealed = epoch.train(&*store, |i| gradient(subject.dim, i)).await;
            reference.train(plan, &sealed, |i| gradient(subject.dim, i));
        }
        (store.snapshot().await.expect("snapshot"), reference.values)
    })
}

/// A gradient of small multiples of a quarter, different for every entry and update.
fn gradient(dim: usize, update: u64) -> Vec<f32> {
    (0..dim).map(|i| ((i + 3 * update as usize) % 7) as f32 * 0.25 - 0.5).collect()
}

/// A vector of norm 5 whose two nonzero entries are as far apart as possible.
pub(super) fn three_and_four(dim: usize, _update: u64) -> Vec<f32> {
    let mut gradient = vec![0.0; dim];
    gradient[0] = 3.0;
    gradient[dim - 1] = -4.0;
    gradient
}

/// The optimizers as in their papers, in double precision.
struct Reference {
    values: Vec<f64>,
    first: Vec<f64>,
    second: Vec<f64>,
    updates: i32,
}

impl Reference {
    fn new(values: &[f32]) -> Self {
        Self {
            values: values.iter().copied().map(f64::from).collect(),
            first: vec![0.0; values.len()],
            second: vec![0.0; values.len()],
            updates: 0,
        }
    }

    /// Applies the updates of an epoch in which the shards push in turn.
    fn train(
        &mut self,
        plan: &EpochPlan,
        sealed: &EpochSummary,
        gradient: impl Fn(u64) -> Vec<f32>,
    ) {
        assert_eq!(sealed.batches(), plan.batches(), "all batches count");
        let mut update = 0;
        for round in 0..plan.batches() {
            for shard in 0..plan.shards {
                let batches = plan.update_len(shard, round * plan.local_steps);
                if batches > 0 {
                    self.apply(plan, batches, &gradient(update));
                    update += 1;
                }
            }
        }
    }

    fn apply(&mut self, plan: &EpochPlan, batches: u64, gradient: &[f32]) {
        let norm = gradient.iter().map(|&g| f64::from(g).powi(2)).sum::<f64>();
        let norm = norm.sqrt();
        let limit = plan.clip_norm.map_or(f64::INFINITY, f64::from) * batches as f64;
        let scale = if norm > limit { limit / norm } else { 1.0 };
        let rate = f64::from(plan.learning_rate);
        self.updates += 1;
        let t = self.updates;
        for (entry, &g) in gradient.iter().enumerate() {
            let p = &mut self.values[entry];
            let (m, v) = (&mut self.first[entry], &mut self.second[entry]);
            let clipped = scale * f64::from(g);
            let decay = f64::from(plan.weight_decay) * *p;
            let g = clipped + decay;
            *p -= rate
                * match plan.optimizer {
                    Optimizer::Sgd => g,
                    Optimizer::Momentum { momentum } => {
                        *m = f64::from(momentum) * *m + g;
                        *m
                    }
                    Optimizer::Nesterov { momentum } => {
                        *m = f64::from(momentum) * *m + g;
                        g + f64::from(momentum) * *m
                    }
                    Optimizer::Adagrad { initial, epsilon } => {
                        *v += g * g;
                        g / ((*v + f64::from(initial)).sqrt() + f64::from(epsilon))
                    }
                    Optimizer::Adam { beta1, beta2, epsilon } => {
                        adam([beta1, beta2, epsilon], t, m, v, g)
                    }
                    Optimizer::AdamW { beta1, beta2, epsilon } => {
                        adam([beta1, beta2, epsilon], t, m, v, clipped) + decay
                    }
                };
        }
    }
}

/// Adam's step at a learning rate of one.
fn adam(constants: [f32; 3], t: i32, m: &mut f64, v: &mut f64, g: f64) -> f64 {
    let [beta1, beta2, epsilon] = constants.map(f64::from);
    *m = beta1 * *m + (1.0 - beta1) * g;
    *v = beta2 * *v + (1.0 - beta2) * g * g;
    *m / (1.0 - beta1.powi(t)) / ((*v / (1.0 - beta2.powi(t))).sqrt() + epsilon)
}
