//! Jobs that are similar to a given one.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use siren_core::{Result, Seed};

use crate::model::JobModel;
use crate::optimum::minimum_cost;
use crate::task::SchedulingTask;

/// Draws jobs that are similar to a model, with budgets, to train a policy for jobs that it has not
/// seen, or to test one.
///
/// For each job, the work to compute, to fetch and to synchronise, the latencies, the speed of the
/// network and the speed at which the loss falls are each multiplied by a factor between
/// `1 - spread` and `1 + spread`. The budget is between `least` times the job's minimum cost and
/// `most_usd`, uniform in its logarithm.
///
/// # Errors
///
/// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected) when the model is invalid, or
/// when `least` times a job's minimum cost is above `most_usd`.
pub fn sample_tasks(
    model: &JobModel,
    spread: f64,
    least: f64,
    most_usd: f64,
    count: usize,
    seed: Seed,
) -> Result<Vec<SchedulingTask>> {
    model.check()?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed.get());
    let mut draw = || {
        let mut job = model.clone();
        for value in [
            &mut job.compute.vcpu_seconds,
            &mut job.fetch.data_mb,
            &mut job.fetch.per_vcpu_mb_s,
            &mut job.update.rounds,
            &mut job.update.shared_rounds,
            &mut job.update.latency_s,
            &mut job.update.size_mb,
            &mut job.start.seconds,
            &mut job.loss.b0,
        ] {
            *value *= 1.0 + spread * rng.random_range(-1.0..=1.0);
        }
        let task = SchedulingTask::new(job, most_usd)?;
        let from = least * minimum_cost(&task)?;
        if from > most_usd {
            return Err(siren_core::Error::rejected(format!(
                "{least} times the job's minimum cost is ${from:.2}, more than the largest budget of \
                 ${most_usd:.2}: give a larger one"
            )));
        }
        let share = rng.random_range(0.0..=1.0);
        let budget = (from.ln() + share * (most_usd.ln() - from.ln())).exp();
        Ok(task.with_budget(budget))
    };
    (0..count).map(|_| draw()).collect()
}
