//! One epoch, in closed form.

use rand::Rng;
use rand_distr::{Distribution, Open01, StandardNormal};
use siren_core::{Allocation, Platform};
use statrs::function::erf::erfc_inv;

use super::{Dynamics, JobModel};

/// Where a job is before an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct At {
    /// The number of the epoch, from 0.
    pub epoch: u64,
    /// Ideal epochs that were done.
    pub progress: f64,
    /// The last epoch's memory size, in MB.
    pub memory_mb: Option<u32>,
}

/// What nobody controls in an epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Chance {
    /// How slow the slowest function is: its quantile among slowest ones, above 0 and below 1.
    pub slowest: f64,
    /// How slow all functions are together, in standard deviations.
    pub billed: f64,
    /// How much the epoch brings, in standard deviations.
    pub progress: f64,
}

impl Chance {
    /// What is to be expected. The mean of the largest of n normal numbers is at its quantile 0.5264
    /// for many n; the exponent's own curvature is left out.
    pub const EXPECTED: Self = Self { slowest: 0.5264, billed: 0.0, progress: 0.0 };

    /// Draws an epoch's chances.
    pub fn draw(rng: &mut impl Rng) -> Self {
        Self {
            slowest: Open01.sample(rng),
            billed: StandardNormal.sample(rng),
            progress: StandardNormal.sample(rng),
        }
    }
}

/// How an epoch went. Times are in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Epoch {
    /// From launch to barrier, P.
    pub elapsed_s: f64,
    /// Fetching, mean over the functions, P^F.
    pub fetch_s: f64,
    /// Computing, mean over the functions, P^C.
    pub compute_s: f64,
    /// Pulling and pushing, mean over the functions, P^U.
    pub update_s: f64,
    /// Money, in dollars.
    pub cost_usd: f64,
    /// Ideal epochs that it brought.
    pub progress: f64,
    /// The share of the memory that was used.
    pub memory: f64,
    /// The share of the CPU time that was used.
    pub cpu: f64,
}

impl Dynamics for JobModel {
    fn platform(&self) -> &Platform {
        &self.platform
    }

    fn loss(&self, progress: f64) -> f64 {
        1.0 / (self.loss.b0 * progress + self.loss.b1) + self.loss.b2
    }

    fn progress_at(&self, loss: f64) -> f64 {
        if loss <= self.loss.b2 {
            return f64::INFINITY;
        }
        ((1.0 / (loss - self.loss.b2) - self.loss.b1) / self.loss.b0).max(0.0)
    }

    fn epoch(&self, at: At, allocation: Allocation, chance: &Chance) -> Epoch {
        let Self { fetch, compute, update, start, staleness, noise, fees, .. } = self;
        let limits = &self.platform.limits;
        let (n, memory) = (f64::from(allocation.workers), f64::from(allocation.memory_mb));
        // The logarithm of how much the excess loss has fallen.
        let fallen = (1.0 + at.progress * self.loss.b0 / self.loss.b1).ln();
        let power = |exponent: f64| if exponent == 0.0 { 1.0 } else { (exponent * fallen).exp() };

        let share = memory / limits.memory_per_vcpu_mb;
        let vcpus = share.min(limits.vcpus_max);
        let p = compute.parallel_share;
        let speed = if vcpus <= 1.0 { vcpus } else { 1.0 / ((1.0 - p) + p / vcpus) };
        let no_limit = |mb_s: f64| if mb_s == 0.0 { f64::INFINITY } else { mb_s };
        let alone = (no_limit(fetch.per_vcpu_mb_s) * share).min(no_limit(fetch.function_mb_s));
        let seconds_per_mb = 1.0 / alone + n / no_limit(fetch.all_mb_s);
        let spill = (compute.memory_mb / memory).max(1.0);
        let begin = start.seconds + fetch.latency_s;
        let fetch_s = begin + spill * (fetch.data_mb / n + fetch.model_mb) * seconds_per_mb;
        let first = if at.epoch == 0 { 1.0 + compute.first } else { 1.0 };
        let work = compute.vcpu_seconds * power(-compute.fall) * first;
        let compute_s = spill * work / (n * speed);
        let rounds = (update.rounds + update.shared_rounds / n) * power(update.growth);
        let update_s = rounds * (update.latency_s + update.size_mb * seconds_per_mb);
        let one = fetch_s + compute_s + update_s;

        let sigma = noise.time;
        let (mut elapsed, mut billed) = (one, one);
        if sigma > 0.0 {
            elapsed = one * (sigma * largest_normal(n, chance.slowest)).exp();
            let spread = (sigma * sigma).exp();
            let deviation = ((spread - 1.0) / n).sqrt();
            billed = one * spread.sqrt() * (1.0 + deviation * chance.billed).max(0.0);
        }
        let timeout = limits.timeout.as_secs_f64();
        let mut calls = 1.0;
        if billed > timeout {
            calls = (billed / timeout).ceil();
            let again = (calls - 1.0) * begin;
            elapsed += again;
            billed += again;
        }
        elapsed += start.wait_s;
        if at.epoch == 0 {
            elapsed += start.first_s;
        }
        if at.memory_mb.is_some_and(|before| before != allocation.memory_mb) {
            elapsed += start.change_s;
        }
        let gb_second = self.platform.prices.gb_second.dollars();
        let fee = calls * fees.call_usd + rounds * fees.update_usd;
        let cost_usd = fees.scale * n * (billed * memory / 1024.0 * gb_second + fee);

        let mut progress = 1.0;
        if staleness.workers.is_finite() {
            progress /= 1.0 + n / (staleness.workers * power(-staleness.fall));
        }
        if noise.progress > 0.0 {
            progress *= (noise.progress * chance.progress).exp();
        }
        Epoch {
            elapsed_s: elapsed,
            fetch_s,
            compute_s,
            update_s,
            cost_usd,
            progress,
            memory: (compute.memory_mb / memory).min(1.0),
            cpu: compute_s / one * (speed / vcpus).min(1.0),
        }
    }
}

/// The `quantile` of the largest of `n` standard normal numbers: `Phi^-1(quantile^(1/n))`, through the
/// upper tail, where what is close to one would round to it.
fn largest_normal(n: f64, quantile: f64) -> f64 {
    let above = (-(quantile.ln() / n).exp_m1()).min(1.0 - f64::EPSILON);
    std::f64::consts::SQRT_2 * erfc_inv(2.0 * above)
}

#[cfg(test)]
mod tests {
    use siren_core::Seed;

    use super::*;

    #[test]
    fn the_largest_of_n_normal_numbers_has_the_quantiles_of_many_draws() {
        let mut rng = Seed::new(5).rng();
        for n in [1_u32, 10, 200] {
            let mut largest: Vec<f64> = (0..4_000)
                .map(|_| {
                    let draws = (0..n).map(|_| StandardNormal.sample(&mut rng));
                    draws.fold(f64::MIN, f64::max)
                })
                .collect();
            largest.sort_by(f64::total_cmp);
            for quantile in [0.1, 0.5, 0.9] {
                let drawn = largest[(quantile * 4_000.0) as usize];
                let known = largest_normal(f64::from(n), quantile);
                assert!((drawn - known).abs() < 0.08, "{quantile} of {n}: {drawn}, not {known}");
            }
        }
        // A million functions, the slowest of which is slow: no infinity.
        assert!(largest_normal(1e6, 0.999_999).is_finite());
        assert!(largest_normal(1.0, 1e-300).is_finite());
    }
}
