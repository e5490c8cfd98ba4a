use siren_core::{Profile, Requests, SyncMode};

use super::*;
use crate::StopRules;

fn job(budget: Option<f64>) -> Config {
    Config {
        batch_size: 64,
        local_steps: 4,
        stop: StopRules { epochs: 5, budget: budget.map(Usd::new), ..StopRules::default() },
        ..Config::default()
    }
}

fn lenet() -> PreviewInput {
    PreviewInput::new(431_080, 60_000, 60_000 * 785)
}

const STEP: fn() -> StepTime = || StepTime::per_example(1e-3);

fn preview(config: &Config, subject: &PreviewInput) -> Result<Preview> {
    Preview::new(config, subject, &Profile::aws_lambda(), &STEP())
}

#[test]
fn the_fastest_is_within_the_budget_and_the_cheapest_costs_least() {
    let free = preview(&job(None), &lenet()).unwrap();
    assert!(free.sufficient);
    let fastest = free.fastest().unwrap();
    assert!(free.rows.iter().all(|row| row.seconds >= fastest.seconds));
    let cheapest = free.cheapest().unwrap();
    assert!(free.rows.iter().all(|row| row.cost >= cheapest.cost && row.needs >= free.least));

    let budget = fastest.needs.dollars() * 0.9;
    let limited = preview(&job(Some(budget)), &lenet()).unwrap();
    let within = limited.fastest().unwrap();
    assert!(limited.sufficient && within.needs.dollars() <= budget);
    assert!(within.seconds > fastest.seconds);
    assert_eq!(limited.rows, free.rows);

    let poor = preview(&job(Some(free.least.dollars() * 0.99)), &lenet()).unwrap();
    assert!(!poor.sufficient && poor.fastest.is_none());
    assert_eq!(poor.least, free.least);
    let just = preview(&job(Some(free.least.dollars())), &lenet()).unwrap();
    assert!(just.sufficient);
}

#[test]
fn a_grid_of_larger_steps_has_a_size_of_a_whole_vcpu() {
    let mut profile = Profile::aws_lambda();
    let sizes = |profile: &Profile| {
        let few = lenet().with_workers([1]);
        let preview = Preview::new(&job(None), &few, profile, &STEP()).unwrap();
        let mut sizes: Vec<_> = preview.rows.iter().map(|row| row.allocation.memory_mb).collect();
        sizes.sort_unstable();
        sizes
    };
    assert_eq!(sizes(&profile), [128, 256, 512, 1_024, 1_769]);
    profile.platform.limits.memory_step_mb = 64;
    assert_eq!(sizes(&profile), [128, 256, 512, 1_024, 1_792]);
}

#[test]
fn the_grid_is_within_the_platform_and_the_batches() {
    let few = PreviewInput::new(10, 640, 0);
    let few = preview(&job(None), &few).unwrap();
    assert_eq!(few.rows.iter().map(|row| row.allocation.workers).max(), Some(10));
    let large = PreviewInput::new(200_000_000, 60_000, 0);
    let large = preview(&Config { local_steps: 1, ..job(None) }, &large).unwrap();
    assert!(large.rows.iter().all(|row| row.allocation.memory_mb >= 1_556));
    let given = lenet().with_workers([50, 7, 7, 5_000]).with_memory([512]);
    let error = preview(&job(None), &given).unwrap_err();
    assert!(error.message().contains("5000"), "{error}");
    let given = preview(&job(None), &given.with_workers([50, 7, 7])).unwrap();
    assert_eq!(given.rows.iter().map(|row| row.allocation.workers).collect::<Vec<_>>(), [7, 50]);
}

#[test]
fn the_first_epoch_starts_cold_and_the_fees_are_shown() {
    let all = preview(&job(None), &lenet()).unwrap();
    for row in &all.rows {
        let warm = row.epoch_seconds * 5.0;
        assert!(row.seconds > warm && row.seconds < warm + 12.0, "{row:?}");
        assert!(row.epoch_cost_without_requests < row.epoch_cost);
        assert!(row.needs > row.cost);
    }
}

#[test]
fn aggregators_and_rounds_cost_more() {
    let plain = preview(&job(None), &lenet()).unwrap();
    let mut aggregated = lenet();
    aggregated.aggregators = Arc::new(|plan| Aggregation {
        aggregators: plan.shards.div_ceil(10),
        memory_mb: 1_769,
        requests_per_second: Requests { reads: 10, writes: 5 },
    });
    let aggregated = preview(&job(None), &aggregated).unwrap();
    let bulk = Config { sync_mode: SyncMode::Bulk, ..job(None) };
    let bulk = preview(&bulk, &lenet()).unwrap();
    for ((plain, aggregated), bulk) in plain.rows.iter().zip(&aggregated.rows).zip(&bulk.rows) {
        let workers = plain.allocation.workers;
        assert_eq!(aggregated.aggregators, workers.div_ceil(10));
        assert!(aggregated.epoch_cost > plain.epoch_cost);
        assert!(aggregated.needs > plain.needs);
        assert!(workers == 1 || bulk.epoch_seconds >= plain.epoch_seconds);
        assert!(workers == 1 || bulk.epoch_cost > plain.epoch_cost);
    }
}

#[test]
fn it_is_plain_data_and_a_table() {
    let preview = preview(&job(Some(1e-6)), &lenet()).unwrap();
    let text = serde_json::to_string(&preview).unwrap();
    assert_eq!(serde_json::from_str::<Preview>(&text).unwrap(), preview);
    let table = preview.to_string();
    assert!(table.starts_with("5 epochs of 938 batches on aws-lambda-x86:"), "{table}");
    assert!(table.contains("does not suffice"), "{table}");
    assert_eq!(table.lines().filter(|line| line.starts_with('$')).count(), 2, "{table}");
}

#[test]
fn bad_input_is_named() {
    let (good, config) = (lenet(), job(None));
    let cases = [
        ("parameters", PreviewInput { parameters: 0, ..good.clone() }),
        ("examples", PreviewInput { examples: 0, ..good.clone() }),
        ("number of workers is 0", good.clone().with_workers([0])),
        ("128 to 10240 MB", good.clone().with_memory([64])),
        ("more memory", PreviewInput::new(100_000_000, 60_000, 0).with_memory([512])),
        ("smaller model", PreviewInput::new(100_000_000_000, 60_000, 0)),
    ];
    for (name, bad) in cases {
        let error = preview(&config, &bad).unwrap_err();
        assert!(error.message().contains(name), "{error}");
    }
    let error = preview(&Config { local_steps: 0, ..job(None) }, &good).unwrap_err();
    assert!(error.message().contains("local steps"), "{error}");
    let step = StepTime { seconds_per_batch: f64::NAN, ..STEP() };
    let error = Preview::new(&config, &good, &Profile::aws_lambda(), &step).unwrap_err();
    assert!(error.message().contains("seconds_per_batch"), "{error}");
}

#[test]
fn what_leaves_the_region_for_the_driver_is_in_each_epoch_and_needed_once_more() {
    let subject = lenet().with_workers([4]).with_memory([1_769]);
    let driver = DriverUsage { egress_bytes: 1_000_000_000, ..DriverUsage::default() };
    let (without, with) = (subject.clone(), subject.with_driver(driver));
    let row = |subject: &PreviewInput| preview(&job(None), subject).unwrap().rows.swap_remove(0);
    let (without, with) = (row(&without), row(&with));
    let more = |of: fn(&Row) -> Usd| (of(&with) - of(&without)).dollars();
    assert!((more(|row| row.epoch_cost) - 0.09).abs() < 1e-9);
    assert!((more(|row| row.cost) - 5.0 * 0.09).abs() < 1e-9);
    assert!((more(|row| row.needs) - 6.0 * 0.09).abs() < 1e-9);
}
