//! The measurement of gradient noise, and the rule that follows from it.
//!
//! All entries of a gradient are equal here. Every part of a store then measures the same ratio of
//! noise and signal as the whole, and the expected factors follow from one number per update.

use super::{Epoch, Subject, plan};
use crate::{EpochPlan, EpochSummary, Noise, NoiseAverages, Optimizer, ParameterStore, SyncMode};

/// The number of updates in a window.
const WINDOW: usize = NoiseAverages::WINDOW as usize;

/// Measuring noise changes no parameter, in any mode.
pub fn measuring_noise_changes_no_bit(subject: &Subject) {
    for sync_mode in [SyncMode::Hybrid, SyncMode::Bulk, SyncMode::Stale { bound: 1 }] {
        let values = [Noise::Off, Noise::Measure].map(|noise| {
            subject.run(async {
                let store = subject.store().await;
                let plan = EpochPlan { noise, sync_mode, ..noisy(0, 3, 30) };
                let sealed = train(subject, &*store, plan).await;
                assert_eq!(sealed.step_factor, 1.0, "no update is shortened");
                assert_eq!(sealed.progress, 1.0, "all examples count in full");
                assert_eq!(sealed.noise.is_some(), noise.measures(), "{noise:?}, {sync_mode:?}");
                store.snapshot().await.expect("snapshot").values
            })
        });
        assert!(values[0] == values[1], "measuring changes the parameters in {sync_mode:?} mode");
    }
}

/// With one worker, or as many as the rate was chosen for, the rule leaves every bit as it is.
pub fn the_rule_leaves_alone_what_the_rate_was_chosen_for(subject: &Subject) {
    for shards in [1, 3] {
        let rule = Noise::Rule { tuned_for: shards };
        let values = [Noise::Off, rule].map(|noise| {
            subject.run(async {
                let store = subject.store().await;
                let plan = EpochPlan { noise, optimizer: Optimizer::ADAM, ..noisy(0, shards, 30) };
                let sealed = train(subject, &*store, plan).await;
                assert_eq!((sealed.step_factor, sealed.progress), (1.0, 1.0));
                store.snapshot().await.expect("snapshot").values
            })
        });
        assert!(values[0] == values[1], "{shards} workers: the rule changes the parameters");
    }
}

/// The factor of an update's step follows from the windows that ended before it, and from the
/// optimizer. A window never spans a barrier, the averages do. Staleness counts as updates in
/// flight.
pub fn the_rule_follows_the_noise_of_earlier_windows(subject: &Subject) {
    subject.run(async {
        for optimizer in [Optimizer::Sgd, Optimizer::ADAGRAD] {
            let store = subject.store().await;
            let mut expected = Expected::default();
            // 20 updates in an epoch: two windows, and four updates that are in none.
            for epoch in 0..3 {
                let plan = EpochPlan { noise: Noise::RULE, optimizer, ..noisy(epoch, 4, 20) };
                let sealed = train(subject, &*store, plan.clone()).await;
                expected.train(&plan, 0);
                expected.check(&sealed);
            }
            for value in store.snapshot().await.expect("snapshot").values {
                let error = (f64::from(value) - expected.value).abs();
                assert!(error <= 1e-4, "a parameter is {value}, not {}", expected.value);
            }
        }
    });
    if !subject.knows_staleness {
        return;
    }
    subject.run(async {
        let store = subject.store().await;
        let mut expected = Expected::default();
        let plan = EpochPlan { noise: Noise::RULE, ..noisy(0, 2, 20) };
        let epoch = Epoch::of(plan.clone());
        // All gradients were computed at the first parameters.
        let sealed = epoch.train(&*store, |update| gradient(subject.dim, &plan, update)).await;
        expected.train(&plan, u64::MAX);
        expected.check(&sealed);
    });
}

/// For each optimizer, the factor of a step follows from the efficiency as
/// [`Optimizer::step_factor`] says, and progress is the efficiency.
pub fn the_optimizer_decides_the_factor(subject: &Subject) {
    for optimizer in Optimizer::samples() {
        subject.run(async {
            let store = subject.store().await;
            // No window ends among four updates.
            let plan = EpochPlan { noise: Noise::RULE, optimizer, ..noisy(0, 4, 4) };
            let sealed = train(subject, &*store, plan).await;
            let expected = optimizer.step_factor(0.25);
            assert!((sealed.step_factor - expected).abs() < 1e-12, "{optimizer:?}: {sealed:?}");
            assert!((sealed.progress - 0.25).abs() < 1e-12, "{optimizer:?}: {sealed:?}");
        });
    }
}

/// A snapshot has the averages of the noise: a store that is restored from it goes on with the same
/// factors.
pub fn a_snapshot_has_the_averages_of_the_noise(subject: &Subject) {
    subject.run(async {
        let store = subject.store().await;
        let of = |epoch| EpochPlan { noise: Noise::RULE, ..noisy(epoch, 4, 20) };
        train(subject, &*store, of(0)).await;
        let taken = store.snapshot().await.expect("snapshot");
        assert!(taken.noise.iter().any(|part| part.windows > 0), "no averages in the snapshot");
        let went_on = train(subject, &*store, of(1)).await;
        let snapshot = store.snapshot().await.expect("snapshot");
        for store in [&subject.store().await, &store] {
            store.restore(&taken).await.expect("restore");
            assert_eq!(train(subject, &**store, of(1)).await, went_on, "after a restore");
            assert_eq!(store.snapshot().await.expect("snapshot"), snapshot, "after a restore");
        }
    });
}

/// Under bulk mode, noise and signal are those of each round and its mean.
pub fn bulk_measures_the_noise_of_each_round(subject: &Subject) {
    subject.run(async {
        let store = subject.store().await;
        let plan =
            EpochPlan { noise: Noise::Measure, sync_mode: SyncMode::Bulk, ..noisy(0, 4, 40) };
        let sealed = train(subject, &*store, plan.clone()).await;
        let mut expected = Expected::default();
        let updates: Vec<f64> = (0..40).map(|update| f64::from(number(&plan, update))).collect();
        // A round with the short batch is not measured. Its place depends on the order.
        let rounds: Vec<&[f64]> = updates.chunks(4).collect();
        let short = Epoch::of(plan.clone());
        for (round, updates) in (0..).zip(&rounds) {
            let examples = |shard| short.watermark(shard, round + 1).examples;
            let before = |shard| short.watermark(shard, round).examples;
            if (0..4).all(|shard| examples(shard) - before(shard) == plan.batch_size) {
                expected.window(updates);
            }
        }
        expected.check_scale(&sealed, expected.sums);
    });
}

/// A plan whose updates are noisy around a mean.
fn noisy(epoch: u64, shards: u32, batches: u64) -> EpochPlan {
    EpochPlan { learning_rate: 0.125, ..plan(epoch, shards, batches) }
}

/// The entries of an update's gradient: their mean is about 0.5, their variance about 1.
fn number(plan: &EpochPlan, update: u64) -> f32 {
    ((7 * update + 3 * plan.epoch) % 11) as f32 * 0.3125 - 1.0
}

fn gradient(dim: usize, plan: &EpochPlan, update: u64) -> Vec<f32> {
    vec![number(plan, update); dim]
}

/// Trains an epoch whose gradients are computed at the latest parameters.
async fn train(subject: &Subject, store: &dyn ParameterStore, plan: EpochPlan) -> EpochSummary {
    let before = store.status().await.expect("status").version;
    let epoch = Epoch::of(plan.clone());
    store.open(&plan).await.expect("open");
    let mut number = 0;
    for position in 0..plan.batches() {
        for shard in 0..plan.shards {
            if position < plan.shard_len(shard) {
                let gradient = gradient(subject.dim, &plan, number);
                let mut update = epoch.update(shard, position, &gradient);
                update.version = before + number;
                store.push(&update).await.expect("push");
                number += 1;
            }
        }
    }
    store.seal(plan.epoch).await.expect("seal")
}

/// The rule in double precision, for one parameter.
#[derive(Default)]
struct Expected {
    value: f64,
    /// AdaGrad's sum of squares.
    squares: f64,
    signal: f64,
    noise: f64,
    windows: u64,
    /// The sums of signal and noise over the epoch's windows.
    sums: (f64, f64),
    /// The factors of the steps, and the efficiencies.
    factors: Vec<f64>,
    efficiencies: Vec<f64>,
}

impl Expected {
    /// Trains an epoch in which each update is stale by the number of those before it, at most
    /// `staleness`.
    fn train(&mut self, plan: &EpochPlan, staleness: u64) {
        let mut window = Vec::new();
        (self.factors, self.efficiencies, self.sums) = Default::default();
        for update in 0..plan.batches() {
            let in_flight = u64::from(plan.shards).max(update.min(staleness) + 1) as f64;
            let scale = match self.windows {
                0 => 0.0,
                _ => self.noise / self.signal.max(self.noise / 1_000.0),
            };
            let efficiency = ((scale + 1.0) / (scale + in_flight)).min(1.0);
            let gradient = f64::from(number(plan, update));
            // AdaGrad divides by the root of the sum of squares, and takes the root of the
            // efficiency.
            let (mut factor, mut size) = (efficiency, 1.0);
            if let Optimizer::Adagrad { epsilon, .. } = plan.optimizer {
                self.squares += gradient * gradient;
                (factor, size) = (efficiency.sqrt(), self.squares.sqrt() + f64::from(epsilon));
            }
            self.value -= f64::from(plan.learning_rate) * factor * gradient / size;
            self.factors.push(factor);
            self.efficiencies.push(efficiency);
            window.push(gradient / size);
            if window.len() == WINDOW {
                self.window(&window);
                window.clear();
            }
        }
    }

    fn window(&mut self, updates: &[f64]) {
        let k = updates.len() as f64;
        let squares = updates.iter().map(|g| g * g).sum::<f64>() / k;
        let mean = updates.iter().sum::<f64>() / k;
        let signal = (k * mean * mean - squares) / (k - 1.0);
        let noise = k * (squares - mean * mean) / (k - 1.0);
        let kept = 0.98_f64.powf(k);
        self.signal = kept * self.signal + (1.0 - kept) * signal;
        self.noise = kept * self.noise + (1.0 - kept) * noise;
        self.windows += 1;
        self.sums.0 += signal;
        self.sums.1 += noise;
    }

    /// Compares the summary of the epoch trained last.
    fn check(&self, sealed: &EpochSummary) {
        let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
        let (factor, efficiency) = (mean(&self.factors), mean(&self.efficiencies));
        let error = (sealed.step_factor - factor).abs();
        assert!(error < 1e-4, "the mean factor is {}, not {factor}", sealed.step_factor);
        // One batch has half the examples.
        let error = (sealed.progress - efficiency).abs();
        let tolerance = 1.0 / self.factors.len() as f64;
        assert!(error <= tolerance, "the progress is {}, not {efficiency}", sealed.progress);
        self.check_scale(sealed, self.sums);
    }

    /// Compares the noise scale with the ratio of the epoch's sums.
    fn check_scale(&self, sealed: &EpochSummary, (signal, noise): (f64, f64)) {
        let scale = sealed.noise.expect("a noise scale");
        let examples: u64 = sealed.watermarks.iter().map(|mark| mark.examples).sum();
        let batches: u64 = sealed.watermarks.iter().map(|mark| mark.batches).sum();
        let expected = noise / signal * examples as f64 / batches as f64;
        let is_right = (scale.examples / expected - 1.0).abs() < 1e-3;
        // With few windows the signal may be too uncertain: then it is a lower bound.
        let is_below = signal <= 0.0 && scale.examples.is_finite() && scale.examples > 0.0;
        let is_bound = scale.above && (is_below || scale.examples < expected);
        assert!(is_right || is_bound, "the noise scale is {scale}, not {expected}");
    }
}
