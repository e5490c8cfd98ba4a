//! One epoch, in closed form.

use rand::Rng;
use rand_distr::{Distribution, Open01, StandardNormal};
use siren_core::{Allocation, Platform};
use statrs::function::erf::erfc_inv;

use super::{Dynamics, JobModel, Shards};

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
        let memory = f64::from(allocation.memory_mb);
        let part = Part::of(&self.shards, f64::from(allocation.workers));
        let n = part.functions;
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
        let mut fetch_s = begin + spill * (fetch.data_mb / n + fetch.model_mb) * seconds_per_mb;
        let first = if at.epoch == 0 { 1.0 + compute.first } else { 1.0 };
        let work = compute.vcpu_seconds * power(-compute.fall) * first;
        let compute_s = spill * work / (n * speed);
        if fetch.batch_s > 0.0 && part.batches > 0.0 {
            let hidden_s = compute_s / part.batches;
            let left_s = excess(fetch.batch_s - hidden_s, fetch.batch_deviation_s);
            fetch_s += fetch.batch_s + (part.batches - 1.0) * left_s;
        }
        let shared = update.shared_rounds / n * part.rounds;
        let rounds = (update.rounds + shared) * power(update.growth);
        let update_s = rounds * (update.latency_s + update.size_mb * seconds_per_mb);
        let one = fetch_s + compute_s + update_s;

        // The slowest function has the most batches.
        let mut elapsed = one + part.longer * compute_s + part.longer_rounds * update_s;
        let mut billed = one;
        let mut sigma = noise.time;
        if noise.update > 0.0 {
            let of_updates = noise.update * update_s / one;
            sigma = (sigma * sigma + of_updates * of_updates).sqrt();
        }
        if sigma > 0.0 {
            elapsed *= (sigma * largest_normal(n, chance.slowest)).exp();
            let spread = (sigma * sigma).exp();
            let deviation = ((spread - 1.0) / n).sqrt();
            billed = one * spread.sqrt() * (1.0 + deviation * chance.billed).max(0.0);
        }
        elapsed += update.late_s * part.rounds.sqrt() * (1.0 - 1.0 / n) + start.each_s * n;
        billed += noise.billed * (elapsed - billed).max(0.0);
        let least = fetch.all_s + update.all_s * part.rounds;
        elapsed = elapsed.max(least);
        billed = billed.max(least);
        let timeout = limits.timeout.as_secs_f64();
        let mut calls = 1.0;
        if billed > timeout {
            calls = (billed / timeout).ceil();
            let again = (calls - 1.0) * begin;
            elapsed += again;
            billed += again;
        }
        elapsed += start.wait_s;
        if compute.places > 0.0 {
            elapsed += compute_s * (n / compute.places - 1.0).max(0.0);
        }
        if at.epoch == 0 {
            elapsed += start.first_s;
            billed += start.first_billed_s;
        }
        if at.memory_mb.is_some_and(|before| before != allocation.memory_mb) {
            elapsed += start.change_s;
        }
        let gb_second = self.platform.prices.gb_second.dollars();
        let fee = calls * fees.call_usd + rounds * fees.update_usd;
        let whole = fees.epoch_usd + fees.second_usd * elapsed;
        let cost_usd = fees.scale * (n * (billed * memory / 1024.0 * gb_second + fee) + whole);

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

impl JobModel {
    /// Pulls and pushes of one of so many functions after so many ideal epochs.
    pub(crate) fn rounds(&self, workers: u32, progress: f64) -> f64 {
        let part = Part::of(&self.shards, f64::from(workers));
        let fallen = 1.0 + progress * self.loss.b0 / self.loss.b1;
        let shared = self.update.shared_rounds / part.functions * part.rounds;
        (self.update.rounds + shared) * fallen.powf(self.update.growth)
    }
}

/// What one of the functions has of an epoch.
struct Part {
    /// Functions that run.
    functions: f64,
    /// Its batches, on average; 0 where they are not counted.
    batches: f64,
    /// How many times as many pushes it makes as an even share of all would need.
    rounds: f64,
    /// How many more batches than the average the largest part has, as a share of the average.
    longer: f64,
    /// The same of its pushes.
    longer_rounds: f64,
}

impl Part {
    fn of(shards: &Shards, functions: f64) -> Self {
        let all = shards.batches;
        if all <= 0.0 {
            return Self { functions, batches: 0.0, rounds: 1.0, longer: 0.0, longer_rounds: 0.0 };
        }
        let functions = functions.min(all.max(1.0));
        let (batches, steps) = (all / functions, shards.local_steps.max(1.0));
        let short = batches.floor();
        let share = batches - short;
        let (few, many) = ((short / steps).ceil(), ((short + 1.0) / steps).ceil());
        let pushes = few + share * (many - few);
        let (most, most_pushes) = if share > 1e-9 { (short + 1.0, many) } else { (short, few) };
        Self {
            functions,
            batches,
            rounds: pushes * steps / batches,
            longer: most / batches - 1.0,
            longer_rounds: most_pushes / pushes - 1.0,
        }
    }
}

/// The mean of what a time with this deviation has above a bound, from which its mean is so far: at most
/// this, whatever the distribution (Scarf, 1958).
fn excess(above: f64, deviation: f64) -> f64 {
    ((above * above + deviation * deviation).sqrt() + above) / 2.0
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
