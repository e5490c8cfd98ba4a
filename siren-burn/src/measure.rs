//! Metrics from tensors.

use burn::tensor::{Int, Tensor};
use siren_core::Metrics;

/// Adds a module's results on one batch to [`Metrics`].
#[derive(Debug)]
pub struct Measure<'a> {
    metrics: &'a mut Metrics,
    examples: u64,
}

impl<'a> Measure<'a> {
    pub(crate) fn new(metrics: &'a mut Metrics, examples: u64) -> Self {
        Self { metrics, examples }
    }

    /// The number of examples in the batch.
    pub fn examples(&self) -> u64 {
        self.examples
    }

    /// The metrics, for values that have no method here.
    pub fn metrics(&mut self) -> &mut Metrics {
        self.metrics
    }

    /// Adds a loss that is a mean over the batch.
    pub fn mean_loss(&mut self, loss: Tensor<1>) {
        let mean = loss.into_data().iter::<f64>().next().unwrap_or(f64::NAN);
        self.metrics.add_loss(self.examples, mean * self.examples as f64);
    }

    /// Adds the cross-entropy loss and the number of right answers of a classifier. `logits` is
    /// `[examples, classes]`, before the softmax. `targets` holds the classes, from 0. A target
    /// that is not a class makes the loss NaN.
    pub fn classification(&mut self, logits: Tensor<2>, targets: Tensor<1, Int>) {
        let [examples, classes] = logits.dims();
        let logits: Vec<f32> = logits.into_data().iter().collect();
        let (mut loss, mut correct) = (0.0, 0);
        let rows = logits.chunks_exact(classes.max(1));
        for (row, target) in rows.zip(targets.into_data().iter::<i64>()) {
            let target = usize::try_from(target).unwrap_or(usize::MAX);
            let score = row.get(target).map_or(f64::NAN, |&score| f64::from(score));
            // Every comparison with NaN is false, so a diverged module is never right.
            let highest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 =
                row.iter().map(|&other| (f64::from(other) - f64::from(highest)).exp()).sum();
            loss += f64::from(highest) + sum.ln() - score;
            correct += u64::from(first_highest(row) == Some(target));
        }
        self.metrics.add_loss(examples as u64, loss);
        self.metrics.add_answers(examples as u64, correct);
    }

    /// Adds the logistic loss, the number of right answers and the scores (for the AUC) of a binary
    /// classifier. `logits` holds the log-odds of the positive class. `targets` is 1 for a positive
    /// and 0 for a negative.
    pub fn binary(&mut self, logits: Tensor<1>, targets: Tensor<1, Int>) {
        let (mut examples, mut loss, mut correct) = (0, 0.0, 0);
        let logits = logits.into_data();
        for (logit, target) in logits.iter::<f64>().zip(targets.into_data().iter::<i64>()) {
            let positive = target != 0;
            // ln(1 + exp(-margin)), without overflow.
            let margin = if positive { logit } else { -logit };
            loss += (-margin).max(0.0) + (-margin.abs()).exp().ln_1p();
            let probability = 1.0 / (1.0 + (-logit).exp());
            self.metrics.add_score(probability as f32, positive);
            correct += u64::from((probability > 0.5) == positive);
            examples += 1;
        }
        self.metrics.add_loss(examples, loss);
        self.metrics.add_answers(examples, correct);
    }
}

fn first_highest(row: &[f32]) -> Option<usize> {
    let mut best = None;
    let mut highest = f32::NEG_INFINITY;
    for (index, &score) in row.iter().enumerate() {
        if score > highest {
            (best, highest) = (Some(index), score);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn a_classifier_is_measured_by_cross_entropy_and_right_answers() {
        let device = Device::flex();
        let logits = Tensor::<2>::from_floats([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]], &device);
        let targets = Tensor::<1, Int>::from_ints([0, 2], &device);
        let mut metrics = Metrics::new();
        Measure::new(&mut metrics, 2).classification(logits, targets);
        let expected = ((2_f64.exp() + 2.0).ln() - 2.0 + 3_f64.ln()) / 2.0;
        assert!((metrics.loss() - expected).abs() < 1e-12);
        assert_eq!(metrics.accuracy(), Some(0.5));
    }

    #[test]
    fn a_diverged_classifier_is_never_right() {
        let device = Device::flex();
        let logits = Tensor::<2>::from_floats([[f32::NAN, f32::NAN]], &device);
        let targets = Tensor::<1, Int>::from_ints([0], &device);
        let mut metrics = Metrics::new();
        Measure::new(&mut metrics, 1).classification(logits, targets);
        assert!(metrics.loss().is_nan());
        assert_eq!(metrics.accuracy(), Some(0.0));
    }

    #[test]
    fn a_target_outside_the_classes_makes_the_loss_nan() {
        let device = Device::flex();
        let logits = Tensor::<2>::from_floats([[1.0, 2.0]], &device);
        let targets = Tensor::<1, Int>::from_ints([7], &device);
        let mut metrics = Metrics::new();
        Measure::new(&mut metrics, 1).classification(logits, targets);
        assert!(metrics.loss().is_nan());
    }

    #[test]
    fn a_binary_classifier_is_measured_by_logistic_loss_and_auc() {
        let device = Device::flex();
        let logits = Tensor::<1>::from_floats([1.0, -1.0, 800.0, -800.0], &device);
        let targets = Tensor::<1, Int>::from_ints([1, 0, 1, 0], &device);
        let mut metrics = Metrics::new();
        Measure::new(&mut metrics, 4).binary(logits, targets);
        let expected = 2.0 * (-1_f64).exp().ln_1p() / 4.0;
        assert!((metrics.loss() - expected).abs() < 1e-12);
        assert_eq!(metrics.accuracy(), Some(1.0));
        assert_eq!(metrics.auc(), Some(1.0));
    }
}
