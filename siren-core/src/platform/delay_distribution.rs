//! Sums of random delays, and the largest of many draws.

/// A distribution as a few values and their weights, in rising order. It approximates the sum of
/// independent delays. The values are denser at the upper end, which determines the largest of many
/// draws.
#[derive(Clone, Debug)]
pub(super) struct DelayDistribution(Vec<(f64, f64)>);

/// The number of quantiles of the normal distribution between `LOWEST` and `HIGHEST` at which
/// values are taken.
const POINTS: u32 = 44;
const LOWEST: f64 = -3.5;
const HIGHEST: f64 = 4.5;

impl DelayDistribution {
    /// A constant.
    pub(super) fn constant(value: f64) -> Self {
        Self(vec![(value, 1.0)])
    }

    /// From its quantiles: `value(z)` rises with the normal quantile z.
    pub(super) fn from_quantiles(value: impl Fn(f64) -> f64) -> Self {
        let width = (HIGHEST - LOWEST) / f64::from(POINTS);
        let mut points: Vec<(f64, f64)> = (0..POINTS)
            .map(|point| LOWEST + (f64::from(point) + 0.5) * width)
            .map(|z| (value(z), (-z * z / 2.0).exp()))
            .collect();
        let sum: f64 = points.iter().map(|(_, weight)| weight).sum();
        points.iter_mut().for_each(|(_, weight)| *weight /= sum);
        Self(points)
    }

    /// A uniform distribution from 0 to `most`.
    pub(super) fn uniform(most: f64) -> Self {
        if most <= 0.0 {
            return Self::constant(0.0);
        }
        let parts = 16;
        let weight = 1.0 / f64::from(parts);
        Self((0..parts).map(|part| (most * (f64::from(part) + 0.5) * weight, weight)).collect())
    }

    /// A lognormal distribution with this mean and variance. It approximates the sum of many delays
    /// that are never negative.
    pub(super) fn lognormal(mean: f64, variance: f64) -> Self {
        if mean <= 0.0 || variance <= 0.0 {
            return Self::constant(mean);
        }
        let square = (1.0 + variance / (mean * mean)).ln();
        let deviation = square.sqrt();
        Self::from_quantiles(|z| mean * (deviation * z - square / 2.0).exp())
    }

    /// The sum of rare delays: `expected` of them on average, each one of `delays` with equal
    /// probability.
    pub(super) fn rare(expected: f64, delays: impl Iterator<Item = f64> + Clone) -> Self {
        if expected <= 0.0 {
            return Self::constant(0.0);
        }
        // The expectation is halved until one delay is rare and two together can be neglected.
        let halves = (expected / 0.1).log2().ceil().max(0.0) as i32;
        let probability = expected * 0.5_f64.powi(halves);
        let weight = probability / delays.clone().count().max(1) as f64;
        let none = std::iter::once((0.0, 1.0 - probability));
        let once = Self(none.chain(delays.map(|delay| (delay, weight))).collect());
        (0..halves).fold(once, |sum, _| sum.plus(&sum))
    }

    /// The distribution of the sum of two independent delays.
    pub(super) fn plus(&self, other: &Self) -> Self {
        if let [(shift, _)] = other.0[..] {
            return Self(self.0.iter().map(|&(value, weight)| (value + shift, weight)).collect());
        }
        if self.0.len() == 1 {
            return other.plus(self);
        }
        let pairs = self.0.iter().flat_map(|&(a, weight)| {
            other.0.iter().map(move |&(b, other)| (a + b, weight * other))
        });
        let mut pairs: Vec<(f64, f64)> = pairs.collect();
        pairs.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        Self(thinned(&pairs))
    }

    /// The expected largest value of `long` draws and of `short` further draws, each reduced by
    /// `less`.
    pub(super) fn expected_max(&self, long: f64, short: f64, less: f64) -> f64 {
        let below = |value: f64| {
            let count = self.0.partition_point(|&(point, _)| point <= value);
            self.0[..count].iter().map(|(_, weight)| weight).sum::<f64>().min(1.0)
        };
        let (mut sum, mut power_below, mut all) = (0.0, 0.0, 0.0);
        for &(value, weight) in &self.0 {
            all = f64::min(all + weight, 1.0);
            let others = if short > 0.0 { below(value + less).powf(short) } else { 1.0 };
            let power = all.powf(long) * others;
            sum += value * (power - power_below);
            power_below = power;
        }
        sum / power_below.max(f64::MIN_POSITIVE)
    }

    /// The mean of all draws.
    pub(super) fn mean(&self) -> f64 {
        self.0.iter().map(|(value, weight)| value * weight).sum()
    }
}

/// Reduces sorted values to at most `POINTS`: the weighted means of the values between two
/// quantiles.
fn thinned(sorted: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let width = (HIGHEST - LOWEST) / f64::from(POINTS);
    let density = |point: u32| {
        let z = LOWEST + (f64::from(point) + 0.5) * width;
        (-z * z / 2.0).exp()
    };
    let whole: f64 = (0..POINTS).map(density).sum();
    let (mut thin, mut point) = (Vec::with_capacity(POINTS as usize), 0);
    let (mut upper, mut below) = (density(0) / whole, 0.0);
    let (mut sum, mut weights) = (0.0, 0.0);
    for &(value, weight) in sorted {
        if below + weight / 2.0 > upper && weights > 0.0 {
            thin.push((sum / weights, weights));
            (sum, weights) = (0.0, 0.0);
        }
        while below + weight / 2.0 > upper && point + 1 < POINTS {
            point += 1;
            upper += density(point) / whole;
        }
        below += weight;
        sum += value * weight;
        weights += weight;
    }
    if weights > 0.0 {
        thin.push((sum / weights, weights));
    }
    thin
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;
    use crate::platform::Distribution;

    #[test]
    fn sums_and_their_maxima_are_those_of_many_draws() {
        let get = Distribution::lognormal(30.0, 100.0);
        let slow = Distribution { p999: Some(40.0), ..Distribution::lognormal(10.0, 23.0) };
        let delays = DelayDistribution::lognormal(20.0 * get.mean(), 20.0 * get.variance())
            .plus(&DelayDistribution::from_quantiles(|z| slow.at(z)))
            .plus(&DelayDistribution::uniform(25.0))
            .plus(&DelayDistribution::rare(0.01, [400.0, 2_000.0].into_iter()));
        let mut rng = Seed::new(3).rng();
        let rare = Distribution::constant(0.0);
        let mut draw = || {
            let gets: f64 = (0..20).map(|_| get.draw(&mut rng)).sum();
            let uniform = rand::RngExt::random::<f64>(&mut rng) * 25.0;
            let chance: f64 = rand::RngExt::random(&mut rng);
            let tail = match chance {
                c if c < 0.005 => 400.0,
                c if c < 0.01 => 2_000.0,
                _ => rare.p50,
            };
            gets + slow.draw(&mut rng) + uniform + tail
        };
        let draws: Vec<f64> = (0..60_000).map(|_| draw()).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        assert!((delays.mean() / mean - 1.0).abs() < 0.01, "{} against {mean}", delays.mean());
        for n in [10, 100] {
            let maxima = draws.chunks_exact(n).map(|c| c.iter().copied().fold(0.0, f64::max));
            let mean = maxima.sum::<f64>() / (draws.len() / n) as f64;
            let expected = delays.expected_max(n as f64, 0.0, 0.0);
            assert!((expected / mean - 1.0).abs() < 0.04, "{n}: {expected} against {mean}");
        }
    }

    #[test]
    fn shorter_ones_matter_less() {
        let delays = DelayDistribution::lognormal(10.0, 1.0);
        let ten = delays.expected_max(10.0, 0.0, 0.0);
        assert!((delays.expected_max(5.0, 5.0, 0.0) - ten).abs() < 1e-9);
        let shorter = delays.expected_max(5.0, 5.0, 1.0);
        assert!(shorter < ten && shorter > delays.expected_max(5.0, 0.0, 0.0));
        assert_eq!(DelayDistribution::constant(3.0).expected_max(7.0, 2.0, 1.0), 3.0);
    }
}
