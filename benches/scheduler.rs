//! The speed of schedulers: environment steps, whole PPO iterations with the settings of the
//! reported results, and one decision of a policy and of the planner. Each uses one core.
//!
//! `cargo bench --package siren-drl`

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use siren_core::{Allocation, Scheduler, Seed};
use siren_drl::agent::{Training, TrainingSettings};
use siren_drl::{Environment, JobModel, Planner, SchedulingTask, Step, VectorEnvironment};

/// burn allocates tensors in every step, and this allocator caches freed memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ALLOCATION: Allocation = Allocation::new(300, 3_008);

fn task() -> Arc<SchedulingTask> {
    let model = JobModel::named("seed").expect("a profile that comes with the crate");
    Arc::new(SchedulingTask::new(model, 200.0).expect("a budget"))
}

fn steps(c: &mut Criterion) {
    let mut group = c.benchmark_group("environment");
    for count in [1, 256] {
        let mut vector = VectorEnvironment::new(&[task()], count, 0, Seed::new(1)).expect("a task");
        let actions = vec![ALLOCATION; count];
        let mut steps = vec![Step::default(); count];
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(format!("{count}"), |b| {
            b.iter(|| vector.step(black_box(&actions), &mut steps));
        });
    }
    group.finish();
}

/// From one evaluation to the next: collecting, estimating, updating and evaluating.
fn learning(c: &mut Criterion) {
    let mut group = c.benchmark_group("training");
    group.sample_size(10);
    for (name, settings) in
        [("ppo", TrainingSettings::ppo()), ("reinforce", TrainingSettings::reinforce())]
    {
        let every = settings.evaluate_every;
        let settings = TrainingSettings { steps: u64::MAX, ..settings };
        let mut training = Training::new(&[task()], settings, Seed::new(1)).expect("a task");
        let mut part = || {
            let before = training.steps();
            (0..every).for_each(|_| {
                training.iterate().expect("finite weights");
            });
            training.steps() - before
        };
        // All episodes are about equally long.
        let count = part();
        group.throughput(Throughput::Elements(count));
        group.bench_function(name, |b| b.iter(&mut part));
    }
    group.finish();
}

/// In the middle of a job.
fn decisions(c: &mut Criterion) {
    let task = task();
    let job = task.as_job();
    let settings =
        TrainingSettings { steps: 1_536, evaluate_episodes: 1, ..TrainingSettings::ppo() };
    let mut training = Training::new(&[Arc::clone(&task)], settings, Seed::new(1)).expect("a task");
    training.run().expect("finite weights");
    let agent = training.agent().expect("finite weights");
    let model = || JobModel::named("seed").expect("a profile that comes with the crate");
    let mut environment = Environment::new(Arc::clone(&task), Seed::new(1));
    let mut schedulers: [(&str, Box<dyn Scheduler>); 2] = [
        ("agent", Box::new(agent.scheduler(model()))),
        ("planner", Box::new(Planner::new(model()))),
    ];
    let mut observations = Vec::new();
    for _ in 0..90 {
        observations.push(environment.state().to_observation());
        environment.step(ALLOCATION);
    }
    let mut group = c.benchmark_group("decision");
    for (name, scheduler) in &mut schedulers {
        // The tables for a job are built now, outside the measurement.
        scheduler.allocate(&job, &observations[0]).expect("an allocation");
        let mut at = 0;
        group.bench_function(*name, |b| {
            b.iter_batched(
                || {
                    at = (at + 1) % observations.len();
                    &observations[at]
                },
                |observation| scheduler.allocate(&job, observation).expect("an allocation"),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, steps, learning, decisions);
criterion_main!(benches);
