//! Gaussian-process regression in the unit square.

/// A Gaussian process with a Matérn 5/2 kernel that has a length for each dimension, conditioned on
/// noisy values (Rasmussen and Williams 2006, algorithm 2.1). Lengths and noise are those of a list
/// with the largest marginal likelihood; the mean and the scale follow from the values.
pub(super) struct GaussianProcess {
    points: Vec<[f64; 2]>,
    lengths: [f64; 2],
    mean: f64,
    scale: f64,
    noise: f64,
    /// The lower triangle of the covariance's Cholesky factor, row by row.
    factor: Vec<Vec<f64>>,
    weights: Vec<f64>,
}

const LENGTHS: [f64; 5] = [0.15, 0.3, 0.6, 1.2, 2.4];
/// Variances of the noise, as shares of the process's variance.
const NOISES: [f64; 4] = [1e-6, 1e-5, 1e-4, 1e-3];

impl GaussianProcess {
    /// The process that explains these values best. There must be at least one value.
    pub(super) fn fit(points: &[[f64; 2]], values: &[f64]) -> Self {
        let count = values.len().max(1) as f64;
        let mean = values.iter().sum::<f64>() / count;
        let centred: Vec<f64> = values.iter().map(|value| value - mean).collect();
        let mut best: Option<(f64, Self)> = None;
        for lengths in LENGTHS.iter().flat_map(|&one| LENGTHS.map(|two| [one, two])) {
            for noise in NOISES {
                let Some(factor) = cholesky(points, lengths, noise) else { continue };
                let half = forward(&factor, &centred);
                let variance = (half.iter().map(|x| x * x).sum::<f64>() / count).max(1e-12);
                let determinant: f64 = factor.iter().map(|row| row[row.len() - 1].ln()).sum();
                let likelihood = -0.5 * count * variance.ln() - determinant;
                if best.as_ref().is_none_or(|best| likelihood > best.0) {
                    let (weights, scale) = (backward(&factor, half), variance.sqrt());
                    let new = Self {
                        points: points.to_vec(),
                        lengths,
                        mean,
                        scale,
                        noise: scale * noise.sqrt(),
                        factor,
                        weights,
                    };
                    best = Some((likelihood, new));
                }
            }
        }
        best.map_or_else(
            || Self {
                points: Vec::new(),
                lengths: [1.0; 2],
                mean,
                scale: 1.0,
                noise: 0.0,
                factor: Vec::new(),
                weights: Vec::new(),
            },
            |best| best.1,
        )
    }

    /// The mean and the standard deviation of the value at a point, without noise.
    pub(super) fn predict(&self, point: [f64; 2]) -> (f64, f64) {
        let near: Vec<f64> =
            self.points.iter().map(|of| kernel(*of, point, self.lengths)).collect();
        let mean: f64 = near.iter().zip(&self.weights).map(|(near, weight)| near * weight).sum();
        let known: f64 = forward(&self.factor, &near).iter().map(|x| x * x).sum();
        (self.mean + mean, self.scale * (1.0 - known).max(0.0).sqrt())
    }

    /// The standard deviation of the noise.
    pub(super) fn noise(&self) -> f64 {
        self.noise
    }
}

fn kernel(one: [f64; 2], two: [f64; 2], lengths: [f64; 2]) -> f64 {
    let distance = ((one[0] - two[0]) / lengths[0]).hypot((one[1] - two[1]) / lengths[1]);
    let r = 5.0_f64.sqrt() * distance;
    (1.0 + r + r * r / 3.0) * (-r).exp()
}

fn cholesky(points: &[[f64; 2]], lengths: [f64; 2], noise: f64) -> Option<Vec<Vec<f64>>> {
    let mut factor: Vec<Vec<f64>> = Vec::with_capacity(points.len());
    for (i, point) in points.iter().enumerate() {
        let mut row = Vec::with_capacity(i + 1);
        for j in 0..i {
            let dot: f64 = row.iter().zip(&factor[j]).map(|(a, b): (&f64, &f64)| a * b).sum();
            row.push((kernel(*point, points[j], lengths) - dot) / factor[j][j]);
        }
        let rest = 1.0 + noise - row.iter().map(|x| x * x).sum::<f64>();
        if rest.is_nan() || rest <= 0.0 {
            return None;
        }
        row.push(rest.sqrt());
        factor.push(row);
    }
    Some(factor)
}

/// Solves `factor x = values`.
fn forward(factor: &[Vec<f64>], values: &[f64]) -> Vec<f64> {
    let mut solved: Vec<f64> = Vec::with_capacity(values.len());
    for (row, value) in factor.iter().zip(values) {
        let dot: f64 = row.iter().zip(&solved).map(|(a, b)| a * b).sum();
        solved.push((value - dot) / row[row.len() - 1]);
    }
    solved
}

/// Solves `factor' x = values`.
fn backward(factor: &[Vec<f64>], mut values: Vec<f64>) -> Vec<f64> {
    for i in (0..values.len()).rev() {
        values[i] /= factor[i][i];
        for j in 0..i {
            values[j] -= factor[i][j] * values[i];
        }
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smooth_function_is_predicted_between_what_is_known() {
        let of = |[x, y]: [f64; 2]| 3.0 * x + (4.0 * y).sin() + 7.0;
        let points: Vec<[f64; 2]> =
            (0..36).map(|i| [f64::from(i % 6) / 5.0, f64::from(i / 6) / 5.0]).collect();
        let values: Vec<f64> = points.iter().map(|&point| of(point)).collect();
        let process = GaussianProcess::fit(&points, &values);
        for point in [[0.33, 0.47], [0.9, 0.1], [0.52, 0.77]] {
            let (mean, deviation) = process.predict(point);
            assert!((mean - of(point)).abs() < 0.02, "{mean}, not {}", of(point));
            assert!(deviation < 0.2);
        }
        // The value is certain near a known point and uncertain far from one.
        let near = GaussianProcess::fit(&points[..3], &values[..3]);
        assert!(near.predict([0.0, 0.0]).1 < near.predict([1.0, 1.0]).1);
        assert!(
            GaussianProcess::fit(&[[0.5, 0.5]; 3], &[1.0, 1.0, 1.0])
                .predict([0.0, 0.1])
                .0
                .is_finite()
        );
    }
}
