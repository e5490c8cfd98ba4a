//! Inputs for schedulers: an ordinary run, and extreme jobs and observations.

use std::time::Duration;

use crate::{
    Allocation, Evaluation, Job, NoiseScale, Observation, Optimizer, Outcome, Phases, Platform,
    StopReason, Usd, Utilisation,
};

/// A small job on AWS Lambda.
pub(super) fn job() -> Job {
    Job {
        layout: 0x9f86_d081_884c_7d65,
        data: 0x2cf2_4dba_5fb0_a30e,
        optimizer: Optimizer::ADAM,
        batch_size: 64,
        target_loss: Some(0.1),
        budget: Some(Usd::new(1.0)),
        deadline: Some(Duration::from_secs(3_600)),
        epochs: 100,
        ..Job::new(61_706, 938, Platform::aws_lambda())
    }
}

/// The observation before an epoch of an ordinary run whose last epoch had this allocation.
pub(super) fn run(epoch: u64, allocation: Option<Allocation>) -> Observation {
    let allocation = (epoch > 0).then_some(allocation.unwrap_or(Allocation::new(10, 1_024)));
    let second = Duration::from_secs(1);
    let workers = allocation.map_or(1, |a| a.workers.max(1));
    Observation {
        epoch,
        loss: 2.3 / (1.0 + epoch as f64),
        elapsed: allocation.map(|_| second + 60 * second / workers),
        phases: allocation.map(|_| Phases {
            fetch: 5 * second / workers,
            compute: 50 * second / workers,
            update: second,
            wait: second / 10,
        }),
        utilisation: allocation.map(|_| Utilisation { memory: 0.4, cpu: 0.9 }),
        budget_left: Some(Usd::new(1.0 - 0.005 * epoch.min(100) as f64)),
        allocation,
        step_factor: allocation.map(|_| 0.8),
        progress: allocation.map(|_| 0.8),
        noise: allocation.map(|_| NoiseScale {
            examples: 400.0,
            standard_error: 20.0,
            above: false,
            at_floor: 0.1,
            windows: 90,
        }),
    }
}

/// Observations that are contradictory or not numbers.
pub(super) fn hostile_observations() -> Vec<Observation> {
    let good = run(7, None);
    let mut all = Vec::new();
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, 0.0, 1e300] {
        all.push(Observation { loss: number, ..good.clone() });
        all.push(Observation { budget_left: Some(Usd::new(number)), ..good.clone() });
        all.push(Observation {
            utilisation: Some(Utilisation { memory: number, cpu: number }),
            ..good.clone()
        });
    }
    for time in [Duration::ZERO, Duration::MAX] {
        all.push(Observation {
            elapsed: Some(time),
            phases: Some(Phases { fetch: time, compute: time, update: time, wait: time }),
            ..good.clone()
        });
    }
    for (workers, memory_mb) in [(0, 0), (u32::MAX, u32::MAX), (1, 127)] {
        all.push(Observation {
            allocation: Some(Allocation::new(workers, memory_mb)),
            ..good.clone()
        });
    }
    for number in [0, 1, u64::MAX] {
        let odd = Some(number);
        let allocation =
            Allocation { global_batch: odd, local_steps: odd, ..Allocation::new(10, 1_024) };
        all.push(Observation { allocation: Some(allocation), ..good.clone() });
    }
    for epoch in [0, 7, 1_000_000_000, u64::MAX] {
        all.push(Observation { epoch, ..good.clone() });
        all.push(Observation { epoch, ..Observation::first(1.0) });
    }
    all
}

/// Jobs without work or money, endless jobs, and platforms with very few allocations.
pub(super) fn hostile_jobs() -> Vec<Job> {
    let good = job();
    let with_limits = |workers, min, max, step| {
        let mut platform = Platform::aws_lambda();
        platform.limits.concurrency = workers;
        platform.limits.memory_min_mb = min;
        platform.limits.memory_max_mb = max;
        platform.limits.memory_step_mb = step;
        Job { platform, ..good.clone() }
    };
    let mut all = vec![
        with_limits(1, 512, 512, 1),
        with_limits(2, 100, 3_000, 64),
        with_limits(3, 1_769, 1_770, 1_000),
        with_limits(u32::MAX, 1, u32::MAX, 1),
    ];
    for number in [0, 1, u64::MAX] {
        all.push(Job { parameters: number, ..good.clone() });
        all.push(Job { batches: number, ..good.clone() });
        all.push(Job { epochs: number, ..good.clone() });
        all.push(Job { batch_size: number, ..good.clone() });
        all.push(Job { local_steps: number, ..good.clone() });
        all.push(Job { layout: number, data: number, ..good.clone() });
    }
    for number in [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e-300] {
        all.push(Job { budget: Some(Usd::new(number)), ..good.clone() });
        all.push(Job { target_loss: Some(number), ..good.clone() });
    }
    for time in [Duration::ZERO, Duration::MAX] {
        all.push(Job { deadline: Some(time), ..good.clone() });
    }
    all.push(Job { budget: None, target_loss: None, deadline: None, ..good });
    all
}

/// A successful outcome and a failed one.
pub(super) fn outcomes() -> [Outcome; 2] {
    let good = Outcome {
        reason: StopReason::TargetLoss,
        epochs: 12,
        evaluation: Evaluation::new(0.09).with("accuracy", 0.97),
        elapsed: Duration::from_secs(100),
        cost: Usd::new(0.3),
        detail: None,
    };
    let bad = Outcome {
        reason: StopReason::Diverged,
        epochs: 0,
        evaluation: Evaluation::new(f64::NAN),
        elapsed: Duration::MAX,
        cost: Usd::new(f64::INFINITY),
        detail: Some("an entry is not finite".into()),
    };
    [good, bad]
}
