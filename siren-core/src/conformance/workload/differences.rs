//! Comparison of gradients with difference quotients.
//!
//! A workload computes in single precision: the error of a small step is dominated by rounding, and
//! that of a large one by curvature. A correct gradient agrees with the quotient of at least one of
//! several steps, and a wrong one with none.

use std::ops::Range;

use super::{Subject, signed_unit};
use crate::{Batch, Seed};

const STEPS: [f32; 4] = [3e-2, 1e-2, 3e-3, 1e-3];

/// Every tensor's gradient agrees with the central difference quotient of the loss, at its largest
/// entry and three others.
pub fn a_gradient_is_the_slope_of_the_loss(subject: &Subject) {
    let problem = Problem::new(subject);
    for (name, range) in problem.tensors() {
        let size = problem.size(&range);
        let largest = range
            .clone()
            .max_by(|&a, &b| problem.gradient[a].abs().total_cmp(&problem.gradient[b].abs()))
            .expect("a tensor with entries");
        let any = (0..3).map(|i| {
            let seed = Seed::new(4).child(range.start as u64).child(i);
            range.start + (seed.get() % range.len() as u64) as usize
        });
        for entry in std::iter::once(largest).chain(any) {
            let mut direction = vec![0.0; subject.dim()];
            direction[entry] = 1.0;
            problem.agrees(&direction, size, &format!("entry {entry}, of {name}"));
        }
    }
}

/// Along a random direction within each tensor, the loss changes according to the gradient, so that
/// no part of a tensor is missing.
pub fn every_tensor_has_its_part_in_the_gradient(subject: &Subject) {
    let problem = Problem::new(subject);
    for (name, range) in problem.tensors() {
        let size = problem.size(&range);
        let mut direction = vec![0.0; subject.dim()];
        for (entry, d) in (range.start..).zip(&mut direction[range]) {
            *d = signed_unit(Seed::new(5).child(entry as u64)).signum();
        }
        problem.agrees(&direction, size, &format!("a direction in {name}"));
    }
}

/// A workload at some parameters and a batch.
struct Problem<'a> {
    subject: &'a Subject,
    params: Vec<f32>,
    bytes: Vec<u8>,
    gradient: Vec<f32>,
}

impl<'a> Problem<'a> {
    fn new(subject: &'a Subject) -> Self {
        let (params, bytes) = (subject.params(), subject.bytes());
        let batch = Batch::new(subject.records.len(), &bytes);
        let (_, gradient) = subject.gradient(&params, &batch);
        Self { subject, gradient, params, bytes }
    }

    /// Names and ranges of the tensors that have entries.
    fn tensors(&self) -> impl Iterator<Item = (&str, Range<usize>)> {
        let mut start = 0;
        let tensors = self.subject.workload.layout().tensors().iter();
        tensors
            .map(move |tensor| {
                let range = start..start + tensor.elements();
                start = range.end;
                (tensor.name.as_str(), range)
            })
            .filter(|(_, range)| !range.is_empty())
    }

    /// The largest entry of a part of the gradient, but at least a thousandth of the largest entry
    /// of the whole.
    fn size(&self, part: &Range<usize>) -> f64 {
        let largest = |part: &[f32]| part.iter().fold(0.0, |size: f32, g| size.max(g.abs()));
        let least = largest(&self.gradient) * 1e-3;
        f64::from(largest(&self.gradient[part.clone()]).max(least).max(1e-6))
    }

    /// Panics unless the change of the loss along `direction` agrees with the gradient, up to the
    /// tolerance times `size` and the rounding of the loss.
    fn agrees(&self, direction: &[f32], size: f64, what: &str) {
        let length = direction.iter().map(|d| d * d).sum::<f32>().sqrt();
        let mut found = Vec::new();
        for step in STEPS {
            let moved = |by: f32| -> Vec<f32> {
                let params = self.params.iter().zip(direction);
                params.map(|(p, d)| p + by * d / length).collect()
            };
            let (above, below) = (moved(step), moved(-step));
            // The actual step after rounding, projected on the gradient.
            let expected: f64 = above
                .iter()
                .zip(&below)
                .zip(&self.gradient)
                .map(|((a, b), &g)| (f64::from(*a) - f64::from(*b)) * f64::from(g))
                .sum();
            let (expected, width) = (expected / f64::from(2.0 * step), f64::from(2.0 * step));
            let (above, below) = (self.loss(&above), self.loss(&below));
            let quotient = (above - below) / width;
            let rounding = 8.0 * f64::from(f32::EPSILON) * above.abs().max(below.abs()) / width;
            if (quotient - expected).abs() <= self.subject.tolerance * size + rounding {
                return;
            }
            found.push((step, quotient, expected));
        }
        panic!("the gradient is not the slope at {what}: (step, quotient, gradient) {found:?}");
    }

    fn loss(&self, params: &[f32]) -> f64 {
        let batch = Batch::new(self.subject.records.len(), &self.bytes);
        self.subject.gradient(params, &batch).0
    }
}
