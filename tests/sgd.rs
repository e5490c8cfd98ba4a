//! Hybrid Synchronous Parallel training in the cases in which it equals a simpler algorithm.

mod support;

use siren::data::{Batch, DataSource};
use siren::{
    Config, FixedScheduler, LearningRate, LrDecay, Noise, Optimizer, Seed, StopRules, Stream,
    Trainer, Workload,
};
use support::{Linear, parts, plan, quick, rows};

async fn trained(config: Config) -> Vec<f32> {
    let (parts, _, _) = parts(rows(1_003), FixedScheduler::new(1, 1_769), []);
    Trainer::new(parts, config).unwrap().run().await.unwrap().values
}

#[tokio::test]
async fn one_worker_and_one_local_step_equal_a_plain_sgd_loop_to_the_last_bit() {
    let rate = LearningRate { decay: LrDecay::Exponential { factor: 0.5 }, ..0.05.into() };
    let config = Config {
        learning_rate: rate,
        stop: StopRules { epochs: 3, ..StopRules::default() },
        ..quick()
    };
    let (workload, data) = (Linear::new(), rows(1_003));

    let mut params = workload.init(Seed::new(0).split(Stream::Init, &[])).unwrap();
    let mut gradient = vec![0.0; params.len()];
    for epoch in 0..3 {
        let plan = plan(&config, &*workload, data.len(), epoch, 1);
        for index in plan.order() {
            let range = plan.batch(index);
            let bytes = data.fetch(range.clone()).await.unwrap();
            let batch = Batch::new((range.end - range.start) as usize, &bytes);
            workload.gradient(&params, &batch, Seed::new(0), &mut gradient).unwrap();
            for (p, g) in params.iter_mut().zip(&gradient) {
                *p -= plan.learning_rate * g;
            }
        }
    }
    assert_eq!(trained(config).await, params);
}

/// With plain SGD in the store, k local steps and one push of the sum equal k steps of SGD.
#[tokio::test]
async fn one_worker_with_local_steps_stays_close_to_plain_sgd() {
    let plain = trained(quick()).await;
    let local = trained(Config { local_steps: 7, ..quick() }).await;
    assert_ne!(plain, local, "sums are rounded in another order");
    for (plain, local) in plain.iter().zip(&local) {
        assert!((plain - local).abs() < 1e-4, "{plain} {local}");
    }
}

#[tokio::test]
async fn every_rule_learns_with_many_workers() {
    for (optimizer, rate) in [
        (Optimizer::Sgd, 0.05),
        (Optimizer::Momentum { momentum: 0.5 }, 0.02),
        (Optimizer::Nesterov { momentum: 0.5 }, 0.02),
        (Optimizer::ADAGRAD, 0.5),
        (Optimizer::ADAM, 0.05),
        (Optimizer::ADAMW, 0.05),
    ] {
        for workers in [1, 3, 16] {
            let config = Config {
                optimizer,
                learning_rate: rate.into(),
                clip_norm: Some(50.0),
                // The rates suit 16 workers too.
                noise: Some(Noise::Rule { tuned_for: 16 }),
                ..quick()
            };
            let (parts, _, _) = parts(rows(2_000), FixedScheduler::new(workers, 1_769), []);
            let trained = Trainer::new(parts, config).unwrap().run().await.unwrap();
            let loss = trained.outcome.evaluation.loss;
            assert!(loss < 0.02, "{optimizer:?} with {workers} workers ends at {loss}");
            let epoch = &trained.record.epochs[9];
            assert_eq!((epoch.updates, epoch.batches, epoch.complete), (63, 63, true));
            // In a single epoch this short, a busy machine may run the workers in turn.
            let stale = trained.record.epochs.iter().any(|epoch| epoch.staleness_max > 0);
            assert!(stale || workers < 16, "no update was stale");
        }
    }
}

#[tokio::test]
async fn more_workers_than_batches_are_cut_to_the_batches() {
    let (parts, _, _) = parts(rows(100), FixedScheduler::new(64, 512), []);
    let config = Config { batch_size: 30, ..quick() };
    let trained = Trainer::new(parts, config).unwrap().run().await.unwrap();
    let epoch = &trained.record.epochs[0];
    assert_eq!((epoch.workers_asked, epoch.workers, epoch.batches), (64, 4, 4));
}
