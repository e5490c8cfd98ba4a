//! One epoch, in closed form.

use rand::Rng;
use rand_distr::{Distribution, Open01, StandardNormal};
use siren_core::{Allocation, Platform};
use statrs::function::erf::erfc_inv;

use super::{Dynamics, JobModel, Shards};

/// The position of a job before an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct At {
    /// The number of the epoch, from 0.
    pub epoch: u64,
    /// Ideal epochs so far.
    pub progress: f64,
    /// The last epoch's memory size, in MB.
    pub memory_mb: Option<u32>,
}

/// The random outcomes of an epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Chance {
    /// The time of the slowest function, as a quantile of its distribution: above 0 and below 1.
    pub slowest: f64,
    /// The deviation of the functions' total time, in standard deviations.
    pub billed: f64,
    /// The deviation of the epoch's progress, in standard deviations.
    pub progress: f64,
}

impl Chance {
    /// The expected outcomes. The mean of the largest of many normal numbers is at its quantile
    /// 0.5264. The curvature of the exponential function is left out.
    pub const EXPECTED: Self = Self { slowest: 0.5264, billed: 0.0, progress: 0.0 };

    /// Draws the outcomes of an epoch.
    pub fn draw(rng: &mut impl Rng) -> Self {
        Self {
            slowest: Open01.sample(rng),
            billed: StandardNormal.sample(rng),
            progress: StandardNormal.sample(rng),
        }
    }
}

/// The times, cost and progress of an epoch. Times are in seconds.
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
    /// The cost, in dollars.
    pub cost_usd: f64,
    /// Progress, in ideal epochs.
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
        let memory_mb = f64::from(allocation.memory_mb);
        let share = FunctionShare::of(&self.shards, f64::from(allocation.workers));
        let n = share.functions;
        // x is the factor by which the excess loss has fallen.
        let ln_x = (1.0 + at.progress * self.loss.b0 / self.loss.b1).ln();
        let x_to_the = |exponent: f64| if exponent == 0.0 { 1.0 } else { (exponent * ln_x).exp() };

        let memory_vcpus = memory_mb / limits.memory_per_vcpu_mb;
        let vcpus = memory_vcpus.min(limits.vcpus_max);
        let p = compute.parallel_share;
        let speed = if vcpus <= 1.0 { vcpus } else { 1.0 / ((1.0 - p) + p / vcpus) };
        let infinite_if_0 = |mb_s: f64| if mb_s == 0.0 { f64::INFINITY } else { mb_s };
        let function_mb_s = (infinite_if_0(fetch.per_vcpu_mb_s) * memory_vcpus)
            .min(infinite_if_0(fetch.function_mb_s));
        let seconds_per_mb = 1.0 / function_mb_s + n / infinite_if_0(fetch.all_mb_s);
        let spill = (compute.memory_mb / memory_mb).max(1.0);
        let begin_s = start.seconds + fetch.latency_s;
        let mut fetch_s = begin_s + spill * (fetch.data_mb / n + fetch.model_mb) * seconds_per_mb;
        let first_factor = if at.epoch == 0 { 1.0 + compute.first } else { 1.0 };
        let work_vcpu_s = compute.vcpu_seconds * x_to_the(-compute.fall) * first_factor;
        let compute_s = spill * work_vcpu_s / (n * speed);
        if fetch.batch_s > 0.0 && share.batches > 0.0 {
            let hidden_s = compute_s / share.batches;
            let not_hidden_s = excess(fetch.batch_s - hidden_s, fetch.batch_deviation_s);
            fetch_s += fetch.batch_s + (share.batches - 1.0) * not_hidden_s;
        }
        let shared_rounds = update.shared_rounds / n * share.push_factor;
        let rounds = (update.rounds + shared_rounds) * x_to_the(update.growth);
        let update_s = rounds * (update.latency_s + update.size_mb * seconds_per_mb);
        let function_s = fetch_s + compute_s + update_s;

        // The slowest function has the most batches.
        let mut elapsed_s =
            function_s + share.extra_batches * compute_s + share.extra_pushes * update_s;
        let mut billed_s = function_s;
        let mut sigma = noise.time;
        if noise.update > 0.0 {
            let update_sigma = noise.update * update_s / function_s;
            sigma = (sigma * sigma + update_sigma * update_sigma).sqrt();
        }
        if sigma > 0.0 {
            elapsed_s *= (sigma * largest_normal(n, chance.slowest)).exp();
            let exp_sigma_squared = (sigma * sigma).exp();
            let billed_deviation = ((exp_sigma_squared - 1.0) / n).sqrt();
            billed_s = function_s
                * exp_sigma_squared.sqrt()
                * (1.0 + billed_deviation * chance.billed).max(0.0);
        }
        elapsed_s += update.late_s * share.push_factor.sqrt() * (1.0 - 1.0 / n) + start.each_s * n;
        billed_s += noise.billed * (elapsed_s - billed_s).max(0.0);
        let least_s = fetch.all_s + update.all_s * share.push_factor;
        elapsed_s = elapsed_s.max(least_s);
        billed_s = billed_s.max(least_s);
        let timeout_s = limits.timeout.as_secs_f64();
        let mut calls = 1.0;
        if billed_s > timeout_s {
            calls = (billed_s / timeout_s).ceil();
            let restarts_s = (calls - 1.0) * begin_s;
            elapsed_s += restarts_s;
            billed_s += restarts_s;
        }
        elapsed_s += start.wait_s;
        if compute.places > 0.0 {
            elapsed_s += compute_s * (n / compute.places - 1.0).max(0.0);
        }
        if at.epoch == 0 {
            elapsed_s += start.first_s;
            billed_s += start.first_billed_s;
        }
        if at.memory_mb.is_some_and(|before| before != allocation.memory_mb) {
            elapsed_s += start.change_s;
        }
        let gb_second = self.platform.prices.gb_second.dollars();
        let function_fees_usd = calls * fees.call_usd + rounds * fees.update_usd;
        let epoch_fees_usd = fees.epoch_usd + fees.second_usd * elapsed_s;
        let cost_usd = fees.scale
            * (n * (billed_s * memory_mb / 1024.0 * gb_second + function_fees_usd)
                + epoch_fees_usd);

        let mut progress = 1.0;
        if staleness.workers.is_finite() {
            progress /= 1.0 + n / (staleness.workers * x_to_the(-staleness.fall));
        }
        if noise.progress > 0.0 {
            progress *= (noise.progress * chance.progress).exp();
        }
        Epoch {
            elapsed_s,
            fetch_s,
            compute_s,
            update_s,
            cost_usd,
            progress,
            memory: (compute.memory_mb / memory_mb).min(1.0),
            cpu: compute_s / function_s * (speed / vcpus).min(1.0),
        }
    }
}

impl JobModel {
    /// The pulls and pushes of one of `workers` functions after `progress` ideal epochs.
    pub(crate) fn rounds(&self, workers: u32, progress: f64) -> f64 {
        let share = FunctionShare::of(&self.shards, f64::from(workers));
        let x = 1.0 + progress * self.loss.b0 / self.loss.b1;
        let shared_rounds = self.update.shared_rounds / share.functions * share.push_factor;
        (self.update.rounds + shared_rounds) * x.powf(self.update.growth)
    }
}

/// One function's share of an epoch.
struct FunctionShare {
    /// Functions that run.
    functions: f64,
    /// A function's batches, on average; 0 if they are not counted.
    batches: f64,
    /// A function's pushes over those that an even share of all would need.
    push_factor: f64,
    /// The excess of the largest number of batches over the average, as a share of the average.
    extra_batches: f64,
    /// The same for pushes.
    extra_pushes: f64,
}

impl FunctionShare {
    fn of(shards: &Shards, functions: f64) -> Self {
        let total = shards.batches;
        if total <= 0.0 {
            return Self {
                functions,
                batches: 0.0,
                push_factor: 1.0,
                extra_batches: 0.0,
                extra_pushes: 0.0,
            };
        }
        let functions = functions.min(total.max(1.0));
        let (batches, local_steps) = (total / functions, shards.local_steps.max(1.0));
        let fewest = batches.floor();
        let fraction = batches - fewest;
        let (fewest_pushes, most_pushes) =
            ((fewest / local_steps).ceil(), ((fewest + 1.0) / local_steps).ceil());
        let mean_pushes = fewest_pushes + fraction * (most_pushes - fewest_pushes);
        let (largest, largest_pushes) =
            if fraction > 1e-9 { (fewest + 1.0, most_pushes) } else { (fewest, fewest_pushes) };
        Self {
            functions,
            batches,
            push_factor: mean_pushes * local_steps / batches,
            extra_batches: largest / batches - 1.0,
            extra_pushes: largest_pushes / mean_pushes - 1.0,
        }
    }
}

/// An upper bound of the mean excess of a time over a bound, for any distribution with this
/// deviation (Scarf, 1958). `above` is the mean time less the bound.
fn excess(above: f64, deviation: f64) -> f64 {
    ((above * above + deviation * deviation).sqrt() + above) / 2.0
}

/// The `quantile` of the largest of `n` standard normal numbers: `Phi^-1(quantile^(1/n))`. It uses
/// the upper tail, because probabilities close to one would round to it.
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
        // The result is finite even if the slowest of a million functions is very slow.
        assert!(largest_normal(1e6, 0.999_999).is_finite());
        assert!(largest_normal(1.0, 1e-300).is_finite());
    }
}
