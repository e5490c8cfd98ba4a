use siren_core::SyncMode;
use siren_core::platform::Storage;

use super::*;

fn shape(batches: u64, local_steps: u64, bytes: u64) -> EpochShape {
    EpochShape {
        batches,
        batch_size: 32,
        local_steps,
        example_bytes: 785.0,
        pull_bytes: bytes,
        push_bytes: bytes,
        pull: Requests { reads: 1, writes: 0 },
        push: Requests { reads: 0, writes: 1 },
        sync_mode: SyncMode::Hybrid,
    }
}

/// The mean and the largest relative error of time and cost over a grid of allocations, for the
/// first epoch and a later one.
fn errors(profile: &Profile, shape: &EpochShape, step: &StepTime) -> [(f64, (f64, Allocation)); 2] {
    let model = JobModel::predicted(profile, shape, step);
    model.check().unwrap();
    let most = profile.platform.limits.concurrency.min(shape.batches as u32);
    let workers = [1, 3, 10, 30, 100, 300, 1_000];
    let (mut times, mut costs) = (Vec::new(), Vec::new());
    for workers in workers.into_iter().filter(|&n| n <= most) {
        for memory_mb in [256, 1_024, 1_769, 3_008] {
            if f64::from(memory_mb) < model.compute.memory_mb {
                continue;
            }
            let to = Allocation::new(workers, memory_mb);
            for epoch in [0, 1] {
                let known = profile.epoch(shape, step, to, epoch == 0);
                let at = At { epoch, progress: 0.0, memory_mb: None };
                let found = model.epoch(at, to, &Chance::EXPECTED);
                let relative = |found: f64, known: f64| (found / known - 1.0).abs();
                times.push((relative(found.elapsed_s, known.elapsed_s), to));
                costs.push((relative(found.cost_usd, known.cost().dollars()), to));
            }
        }
    }
    [times, costs].map(|all| {
        let worst = all.iter().max_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
        (all.iter().map(|(error, _)| error).sum::<f64>() / all.len() as f64, *worst)
    })
}

#[test]
fn expected_epochs_take_and_cost_what_the_platform_says() {
    let lambda = Profile::aws_lambda();
    let express = Profile { storage: Storage::express(), ..Profile::aws_lambda() };
    let lenet = StepTime::per_example(0.8e-3);
    let heavy = StepTime { parallel_share: 0.8, ..StepTime::per_example(20e-3) };
    let light = StepTime { seconds_per_batch: 1e-4, ..StepTime::per_example(1e-6) };
    let bulk = EpochShape { sync_mode: SyncMode::Bulk, ..shape(1_875, 8, 1_724_320) };
    let at_hand = EpochShape { example_bytes: 0.0, ..shape(1_875, 8, 1_724_320) };
    let cases = [
        ("LeNet", &lambda, shape(1_875, 8, 1_724_320), lenet),
        ("LeNet, a push for each batch", &lambda, shape(1_875, 1, 1_724_320), lenet),
        ("LeNet, no data to fetch", &lambda, at_hand, lenet),
        ("LeNet, bulk", &lambda, bulk, lenet),
        ("LeNet over S3 Express", &express, shape(1_875, 8, 1_724_320), lenet),
        ("heavy", &lambda, shape(4_000, 4, 100_000_000), heavy),
        ("light", &lambda, shape(9_000, 8, 4_000), light),
        ("instant", &Profile::instant(), shape(1_875, 8, 1_724_320), lenet),
    ];
    for (name, profile, shape, step) in cases {
        let [time, cost] = errors(profile, &shape, &step).map(|(mean, worst)| {
            let per_cent = |share: f64| (share * 1_000.0).round() / 10.0;
            (per_cent(mean), per_cent(worst.0), worst.1)
        });
        println!("{name}: % of time {time:?}, of cost {cost:?}");
        // The model does not treat the rounds of few batches one by one.
        let (mean, worst) = if shape.sync_mode.merges_rounds() { (8.0, 25.0) } else { (6.0, 20.0) };
        assert!(time.0 < mean && time.1 < worst, "{name}: time {time:?}");
        assert!(cost.0 < mean && cost.1 < worst, "{name}: cost {cost:?}");
    }
}

#[test]
fn a_job_that_aims_reaches_its_target_in_as_many_epochs() {
    let shape = shape(1_875, 8, 1_724_320);
    let model = JobModel::predicted(&Profile::aws_lambda(), &shape, &StepTime::per_example(0.8e-3));
    let aimed = model.clone().with_target(2.3, 0.05, 12.0);
    aimed.check().unwrap();
    assert!((aimed.loss(0.0) - 2.3).abs() < 1e-9);
    assert!((aimed.progress_at(0.05) - 12.0).abs() < 1e-9);
    for (initial, epochs) in [(f64::NAN, 3.0), (0.01, 3.0), (2.3, 0.0)] {
        let aimed = model.clone().with_target(initial, 0.05, epochs);
        aimed.check().unwrap();
        assert!(aimed.progress_at(0.05).is_finite());
    }
}
