//! Distributions of latencies and similar quantities, given by their quantiles.

use rand::{Rng, RngExt};
use rand_distr::{Distribution as _, StandardNormal};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A distribution with given quantiles. Between them, its logarithm is linear in the quantiles of
/// the normal distribution. With one quantile beside the median, this is a lognormal distribution.
/// Below the median it mirrors the first piece; above the last quantile it continues the last
/// piece, up to `max`.
///
/// The field that holds a distribution gives its unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distribution {
    /// The median. Without any other quantile, every draw has this value.
    pub p50: f64,
    /// The 90th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p90: Option<f64>,
    /// The 95th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p95: Option<f64>,
    /// The 99th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p99: Option<f64>,
    /// The 99.9th percentile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p999: Option<f64>,
    /// The upper limit of all draws.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

/// Quantiles of the standard normal distribution at 0.9, 0.95, 0.99 and 0.999.
const NORMAL: [f64; 4] = [1.281_551_565_5, 1.644_853_627_0, 2.326_347_874_0, 3.090_232_306_2];

/// Integrals over the normal distribution run from -`REACH` to `REACH` in `STEPS` steps.
const REACH: f64 = 6.0;
const STEPS: u32 = 1_200;

impl Distribution {
    /// A constant.
    pub const fn constant(value: f64) -> Self {
        Self { p50: value, p90: None, p95: None, p99: None, p999: None, max: None }
    }

    /// A lognormal distribution with this median and 99th percentile.
    pub const fn lognormal(p50: f64, p99: f64) -> Self {
        Self { p99: Some(p99), ..Self::constant(p50) }
    }

    /// Checks the quantiles. `name` is the name of the distribution in the error message.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) when a quantile is negative or
    /// not finite, or below the one before it, and when only the median is 0.
    pub fn check(&self, name: &str) -> Result<()> {
        let all = [
            ("p50", Some(self.p50)),
            ("p90", self.p90),
            ("p95", self.p95),
            ("p99", self.p99),
            ("p999", self.p999),
            ("max", self.max),
        ];
        let mut least = 0.0;
        for (field, value) in all {
            let Some(value) = value else { continue };
            if !value.is_finite() || value < 0.0 {
                return Err(Error::rejected(format!(
                    "{name}.{field} is {value}: give a finite number, 0 or more"
                )));
            }
            if value < least {
                return Err(Error::rejected(format!(
                    "{name}.{field} is {value}, less than the quantile before it ({least}): \
                     quantiles rise"
                )));
            }
            least = value;
        }
        if self.p50 == 0.0 && least > 0.0 {
            return Err(Error::rejected(format!(
                "{name}.p50 is 0 and others are not: give a median above 0, or nothing but 0"
            )));
        }
        Ok(())
    }

    /// Draws a value.
    pub fn draw(&self, rng: &mut impl Rng) -> f64 {
        if self.is_constant() {
            return self.p50;
        }
        self.at(StandardNormal.sample(rng))
    }

    /// The expected value of a draw.
    pub fn mean(&self) -> f64 {
        self.expected_max(1.0)
    }

    /// The expected largest value of `n` draws, such as the time until the last of `n` delays has
    /// passed. `n` need not be an integer.
    ///
    /// This is the integral of `x(z) d(Phi(z)^n)` over the quantiles z of the normal distribution.
    pub fn expected_max(&self, n: f64) -> f64 {
        self.integral(n, |x| x)
    }

    /// The variance of a draw.
    pub fn variance(&self) -> f64 {
        let mean = self.mean();
        self.integral(1.0, |x| (x - mean).powi(2))
    }

    /// The mean and the variance of the amount by which a draw exceeds `least`, which is 0 for a
    /// smaller draw.
    pub fn excess(&self, least: f64) -> (f64, f64) {
        let mean = self.integral(1.0, |x| (x - least).max(0.0));
        let square = self.integral(1.0, |x| (x - least).max(0.0).powi(2));
        (mean, (square - mean * mean).max(0.0))
    }

    /// The expectation of `value` at the largest of `n` draws.
    fn integral(&self, n: f64, value: impl Fn(f64) -> f64) -> f64 {
        if self.is_constant() {
            return value(self.p50);
        }
        let width = 2.0 * REACH / f64::from(STEPS);
        let density = |z: f64| (-z * z / 2.0).exp() / std::f64::consts::TAU.sqrt();
        let (mut below, mut power_below, mut sum) = (0.0, 0.0, 0.0);
        for step in 0..STEPS {
            let z = -REACH + (f64::from(step) + 0.5) * width;
            below += density(z) * width;
            let power = f64::min(below, 1.0).powf(n);
            sum += value(self.at(z)) * (power - power_below);
            power_below = power;
        }
        sum + value(self.at(REACH)) * (1.0 - power_below)
    }

    fn is_constant(&self) -> bool {
        self.p50 == 0.0 || [self.p90, self.p95, self.p99, self.p999].iter().all(Option::is_none)
    }

    /// The value at quantile `z` of the normal distribution.
    pub(super) fn at(&self, z: f64) -> f64 {
        if self.is_constant() {
            return self.p50;
        }
        let given = [self.p90, self.p95, self.p99, self.p999];
        let knots = NORMAL.iter().zip(given).filter_map(|(&z, value)| Some((z, value?)));
        let wanted = z.abs();
        let (mut z0, mut ln0) = (0.0, self.p50.ln());
        let mut slope = 0.0;
        for (z1, value) in knots {
            let ln1 = value.ln();
            slope = (ln1 - ln0) / (z1 - z0);
            if z < 0.0 || wanted <= z1 {
                break;
            }
            (z0, ln0) = (z1, ln1);
        }
        let ln = ln0 + slope * (wanted - z0);
        if z < 0.0 {
            return (2.0 * self.p50.ln() - ln).exp();
        }
        ln.exp().min(self.max.unwrap_or(f64::INFINITY))
    }
}

/// A rare and long delay that is added to a distribution. With probability `probability` it lies
/// between `from` and `to`; its logarithm is uniform.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tail {
    /// The probability of a delay, from 0 to 1.
    pub probability: f64,
    /// The shortest delay.
    pub from: f64,
    /// The longest delay.
    pub to: f64,
}

impl Tail {
    /// No tail.
    pub const NONE: Self = Self { probability: 0.0, from: 1.0, to: 1.0 };

    /// Checks the fields. `name` is the name of the tail in the error message.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](crate::ErrorKind::Rejected), naming the field, when the
    /// probability is outside 0 to 1, or `from` and `to` are not finite numbers above 0 in this
    /// order.
    pub fn check(&self, name: &str) -> Result<()> {
        if !(0.0..=1.0).contains(&self.probability) {
            return Err(Error::rejected(format!(
                "{name}.probability is {}: give a number from 0 to 1",
                self.probability
            )));
        }
        if !(self.from > 0.0 && self.from <= self.to && self.to.is_finite()) {
            return Err(Error::rejected(format!(
                "{name} is from {} to {}: give two finite numbers above 0, the smaller one first",
                self.from, self.to
            )));
        }
        Ok(())
    }

    /// Draws a delay, or `None` with the complementary probability.
    pub fn draw(&self, rng: &mut impl Rng) -> Option<f64> {
        if self.probability == 0.0 || rng.random::<f64>() >= self.probability {
            return None;
        }
        Some(self.from * (self.to / self.from).powf(rng.random::<f64>()))
    }

    /// A sample of equally likely delays, given that a delay occurs.
    pub(super) fn delays(&self) -> impl Iterator<Item = f64> + Clone {
        const PARTS: u32 = 12;
        let (from, ratio) = (self.from, self.to / self.from);
        (0..PARTS).map(move |part| from * ratio.powf((f64::from(part) + 0.5) / f64::from(PARTS)))
    }

    /// The expected delay over all draws, with `None` as 0.
    pub fn mean(&self) -> f64 {
        if self.from == self.to {
            return self.probability * self.from;
        }
        self.probability * (self.to - self.from) / (self.to / self.from).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;

    const GET: Distribution = Distribution {
        p50: 26.7,
        p90: Some(58.0),
        p95: Some(72.0),
        p99: Some(102.0),
        p999: Some(172.0),
        max: Some(10_000.0),
    };

    #[test]
    fn it_runs_through_its_quantiles() {
        let given = [26.7, 58.0, 72.0, 102.0, 172.0];
        for (z, value) in std::iter::once(0.0).chain(NORMAL).zip(given) {
            assert!((GET.at(z) / value - 1.0).abs() < 1e-9, "{z}: {} is not {value}", GET.at(z));
        }
        assert!((GET.at(-NORMAL[0]) * 58.0 / 26.7_f64.powi(2) - 1.0).abs() < 1e-9);
        let short = Distribution { max: Some(60.0), ..GET };
        assert_eq!(short.at(5.0), 60.0);
    }

    #[test]
    fn means_and_maxima_are_those_of_many_draws() {
        let mut rng = Seed::new(1).rng();
        let mut draws: Vec<f64> = (0..200_000).map(|_| GET.draw(&mut rng)).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        assert!((GET.mean() / mean - 1.0).abs() < 0.01, "{} against {mean}", GET.mean());
        let maxima: Vec<f64> =
            draws.chunks_mut(100).map(|c| c.iter().copied().fold(0.0, f64::max)).collect();
        let mean = maxima.iter().sum::<f64>() / maxima.len() as f64;
        let expected = GET.expected_max(100.0);
        assert!((expected / mean - 1.0).abs() < 0.02, "{expected} against {mean}");
    }

    #[test]
    fn what_exceeds_a_bound_is_that_of_many_draws() {
        let mut rng = Seed::new(3).rng();
        let over: Vec<f64> = (0..200_000).map(|_| (GET.draw(&mut rng) - 40.0).max(0.0)).collect();
        let mean = over.iter().sum::<f64>() / over.len() as f64;
        let variance = over.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / over.len() as f64;
        let (expected, spread) = GET.excess(40.0);
        assert!((expected / mean - 1.0).abs() < 0.02, "{expected} against {mean}");
        assert!((spread / variance - 1.0).abs() < 0.15, "{spread} against {variance}");
    }

    #[test]
    fn a_constant_is_always_itself() {
        let mut rng = Seed::new(1).rng();
        for value in [0.0, 3.5] {
            let constant = Distribution::constant(value);
            assert_eq!(constant.draw(&mut rng), value);
            assert_eq!(constant.expected_max(1_000.0), value);
        }
    }

    #[test]
    fn a_tail_is_as_rare_and_as_long_as_it_says() {
        let tail = Tail { probability: 0.01, from: 400.0, to: 10_000.0 };
        let mut rng = Seed::new(2).rng();
        let draws: Vec<f64> = (0..200_000).filter_map(|_| tail.draw(&mut rng)).collect();
        assert!((1_820..2_180).contains(&draws.len()), "{}", draws.len());
        assert!(draws.iter().all(|d| (400.0..=10_000.0).contains(d)));
        let mean = draws.iter().sum::<f64>() / 200_000.0;
        assert!((tail.mean() / mean - 1.0).abs() < 0.1, "{} against {mean}", tail.mean());
    }

    #[test]
    fn bad_quantiles_are_named() {
        let cases = [
            ("get.p50", Distribution::constant(-1.0)),
            ("get.p50", Distribution::constant(f64::NAN)),
            ("get.p99", Distribution { p99: Some(f64::INFINITY), ..GET }),
            ("get.p95", Distribution { p95: Some(57.0), ..GET }),
            ("get.max", Distribution { max: Some(1.0), ..GET }),
        ];
        for (name, bad) in cases {
            let error = bad.check("get").unwrap_err();
            assert!(error.message().starts_with(name), "{error}");
        }
        GET.check("get").unwrap();
    }
}
