//! The cost of an epoch, an invocation and a step of a workload that learns nothing, on the local
//! backend.
//!
//! `cargo bench --bench epoch_overhead` prints a table, and writes it to
//! `target/siren/bench/epoch_overhead.json`.

mod aggregation {
    pub(crate) mod empty;
    pub(crate) mod results;
}

use std::sync::Arc;
use std::time::Duration;

use aggregation::empty::Empty;
use aggregation::results::{is_measuring, median, write};
use criterion::{Criterion, SamplingMode};
use serde::Serialize;
use siren::data::MemorySource;
use siren::{Config, FixedScheduler, Layout, StopRules, SyncMode};

/// Microseconds, from launch to seal.
#[derive(Serialize)]
struct Row {
    what: &'static str,
    workers: u32,
    batches: u64,
    synchrony: SyncMode,
    us_per_epoch: f64,
    us_per_invocation: f64,
    us_per_step: f64,
}

/// Epochs of one run.
const EPOCHS: u64 = 5;

/// The time from launch to seal of each epoch.
fn epochs(
    runtime: &tokio::runtime::Runtime,
    workers: u32,
    batches: u64,
    synchrony: SyncMode,
) -> Vec<f64> {
    let workload = Arc::new(Empty(Layout::flat("nothing", 1).unwrap()));
    let train = MemorySource::new(vec![0; batches as usize], 1).unwrap();
    let config = Config {
        batch_size: 1,
        sync_mode: synchrony,
        stop: StopRules { epochs: EPOCHS, ..StopRules::default() },
        evaluate_threads: Some(1),
        ..Config::default()
    };
    runtime.block_on(async {
        let scheduler = FixedScheduler::new(workers, 1_769);
        let trainer =
            siren::local(workload, Arc::new(train), None).scheduler(scheduler).config(config);
        let record = trainer.build().unwrap().run().await.unwrap().record;
        assert!(record.epochs.iter().all(|epoch| epoch.complete && epoch.workers == workers));
        record.epochs.iter().map(|epoch| epoch.elapsed_s).collect()
    })
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(3))
        .without_plots()
        .configure_from_args();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut rows = Vec::new();
    for (what, workers, batches, synchrony) in [
        ("an epoch", 1, 1, SyncMode::Hybrid),
        ("an invocation", 1_000, 1_000, SyncMode::Hybrid),
        ("an invocation", 1_000, 1_000, SyncMode::Bulk),
        ("a step", 1, 2_000, SyncMode::Hybrid),
        ("a step", 2, 2_000, SyncMode::Hybrid),
        ("a step", 2, 2_000, SyncMode::Bulk),
        ("a step", 64, 2_000, SyncMode::Hybrid),
        ("a step", 64, 2_000, SyncMode::Bulk),
        ("a step", 64, 2_000, SyncMode::Stale { bound: 1 }),
    ] {
        let mut times = Vec::new();
        let mut group = criterion.benchmark_group(what);
        group.sampling_mode(SamplingMode::Flat);
        group.bench_function(format!("{workers} workers/{batches} batches/{synchrony:?}"), |b| {
            b.iter_custom(|iterations| {
                let mut total = 0.0;
                for _ in 0..iterations {
                    let epochs = epochs(&runtime, workers, batches, synchrony);
                    total += epochs.iter().sum::<f64>();
                    times.extend(epochs);
                }
                Duration::from_secs_f64(total / EPOCHS as f64)
            });
        });
        group.finish();
        // Excluded by the filter.
        if !times.is_empty() {
            let us = 1e6 * median(times);
            rows.push(Row {
                what,
                workers,
                batches,
                synchrony,
                us_per_epoch: us,
                us_per_invocation: us / f64::from(workers),
                us_per_step: us / batches as f64,
            });
        }
    }
    criterion.final_summary();
    // As a test each cell runs only once.
    if rows.is_empty() || !is_measuring() {
        return;
    }
    println!(
        "\n{:<14} {:>8} {:>8} {:<20} {:>12} {:>14} {:>10}",
        "cost of", "workers", "batches", "synchrony", "us an epoch", "an invocation", "a step"
    );
    for row in &rows {
        println!(
            "{:<14} {:>8} {:>8} {:<20} {:>12.1} {:>14.2} {:>10.2}",
            row.what,
            row.workers,
            row.batches,
            format!("{:?}", row.synchrony),
            row.us_per_epoch,
            row.us_per_invocation,
            row.us_per_step
        );
    }
    println!();
    write(&rows, "epoch_overhead.json");
}
