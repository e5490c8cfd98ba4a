//! Robust least squares: a few large errors do not decide the fit.

use crate::solve::least_squares;

/// The relative deviation that is assumed before the noise is known, and the number of errors that
/// the assumption counts for: a few epochs that fit exactly do not mean that there is no noise.
const NOISE: f64 = 0.03;
const COUNTS: f64 = 4.0;

/// Finds unknowns near `start`, with these standard deviations, that make the relative errors
/// small. A few large errors have little influence. It runs twice, because the size of the errors
/// is known only after the first time.
pub(super) fn fit_near_prior<const N: usize>(
    start: [f64; N],
    deviations: [f64; N],
    errors: impl Fn(&[f64; N], &mut Vec<f64>),
) -> [f64; N] {
    let (mut x, mut noise) = (start, NOISE);
    for _ in 0..2 {
        let residuals = |x: &[f64; N], into: &mut Vec<f64>| {
            errors(x, into);
            for error in into.iter_mut() {
                *error = pseudo_huber(*error / noise);
            }
            into.extend((0..N).map(|i| (x[i] - start[i]) / deviations[i]));
        };
        (x, _) = least_squares(x, residuals);
        let mut left = Vec::new();
        errors(&x, &mut left);
        left.iter_mut().for_each(|error| *error = error.abs());
        let count = left.len() as f64;
        // Half of all normally distributed numbers are within 0.6745 standard deviations.
        let found = median(&mut left).unwrap_or(NOISE) / 0.6745;
        let mean = (COUNTS * NOISE * NOISE + count * found * found) / (COUNTS + count);
        noise = mean.sqrt().min(0.5);
    }
    x
}

/// The error itself if it is small, and its square root if it is large (pseudo-Huber).
fn pseudo_huber(error: f64) -> f64 {
    const FROM: f64 = 2.0;
    let square = error / FROM;
    (2.0 * ((1.0 + square * square).sqrt() - 1.0)).sqrt() * FROM * error.signum()
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

pub(super) fn median_of(values: impl Iterator<Item = f64>) -> Option<f64> {
    median(&mut values.collect::<Vec<_>>())
}
