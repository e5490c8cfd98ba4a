//! Jobs that are like another one.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use siren_core::{Result, Seed};

use crate::model::JobModel;
use crate::optimum::minimum_cost;
use crate::task::SchedulingTask;

/// Jobs like a model, with budgets: to train a policy that serves jobs it has not seen, and to test one.
///
/// Of each job what there is to compute, to fetch and to synchronise, latencies, the speed of the network and
/// how fast the loss falls are each the model's times a factor between `1 - spread` and `1 + spread`; its
/// budget is between `least` times its own minimum cost and `most_usd`, all budgets' logarithms alike
/// probable.
///
/// # Errors
///
/// Rejected where the model is, or where `least` times a job's minimum cost is more than `most_usd`.
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
                "{least} times what the job costs at least is ${from:.2}, more than the largest budget of \
                 ${most_usd:.2}: give a larger one"
            )));
        }
        let share = rng.random_range(0.0..=1.0);
        let budget = (from.ln() + share * (most_usd.ln() - from.ln())).exp();
        Ok(task.with_budget(budget))
    };
    (0..count).map(|_| draw()).collect()
}
