//! Running means and variances.

use serde::{Deserialize, Serialize};

/// Scales a policy's inputs to mean 0 and variance 1, by the inputs seen so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Normaliser {
    count: f64,
    mean: Vec<f64>,
    squares: Vec<f64>,
    scale: Vec<f32>,
    shift: Vec<f32>,
}

/// Values further from the mean, in standard deviations, are clamped to this distance.
const FAR: f32 = 10.0;

impl Normaliser {
    pub(super) fn new(inputs: usize) -> Self {
        Self {
            count: 0.0,
            mean: vec![0.0; inputs],
            squares: vec![0.0; inputs],
            scale: vec![1.0; inputs],
            shift: vec![0.0; inputs],
        }
    }

    /// `true` if it has this number of inputs and only finite numbers.
    pub(super) fn is_sound(&self, inputs: usize) -> bool {
        let lengths = [self.mean.len(), self.squares.len(), self.scale.len(), self.shift.len()];
        let finite = self.scale.iter().chain(&self.shift).all(|x| x.is_finite());
        lengths.iter().all(|length| *length == inputs) && finite && self.count.is_finite()
    }

    /// Adds rows to the statistics (Welford, 1962).
    pub(super) fn learn(&mut self, rows: &[f32]) {
        for row in rows.chunks_exact(self.mean.len()) {
            self.count += 1.0;
            for ((mean, squares), &x) in self.mean.iter_mut().zip(&mut self.squares).zip(row) {
                let from = f64::from(x) - *mean;
                *mean += from / self.count;
                *squares += from * (f64::from(x) - *mean);
            }
        }
        for (i, squares) in self.squares.iter().enumerate() {
            let deviation = (squares / self.count.max(1.0)).sqrt();
            // A constant input carries no information.
            let scale = if deviation < 1e-6 { 0.0 } else { 1.0 / deviation };
            self.scale[i] = scale as f32;
            self.shift[i] = (self.mean[i] * scale) as f32;
        }
    }

    pub(super) fn apply(&self, rows: &mut [f32]) {
        for row in rows.chunks_exact_mut(self.scale.len()) {
            for ((x, scale), shift) in row.iter_mut().zip(&self.scale).zip(&self.shift) {
                *x = (*x * scale - shift).clamp(-FAR, FAR);
            }
        }
    }
}
