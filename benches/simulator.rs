//! The cost of the simulator itself: an epoch of 1,000 functions that compute nothing.
//!
//! `cargo bench --bench simulator` prints a table, and writes it to
//! `target/siren/bench/simulator.json`.

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
use siren::backend::ShardWorker;
use siren::data::MemorySource;
use siren::store::MemoryStore;
use siren::{Config, FixedScheduler, Layout, Seed, StopRules, SyncMode, Trainer, TrainerParts};
use siren_backend_sim::{SimBackend, SimStore, Simulation};
use siren_core::StepTime;

#[derive(Serialize)]
struct Row {
    workers: u32,
    pushes: u64,
    synchrony: SyncMode,
    seconds: f64,
    us_per_push: f64,
    us_per_event: f64,
}

/// Events of a push: the pull's GET, the data's, the gradient, the PUT.
const EVENTS: f64 = 4.0;

/// Runs one epoch and checks its record.
fn epoch(workers: u32, pushes: u64, synchrony: SyncMode) {
    let workload = Arc::new(Empty(Layout::flat("nothing", 1).unwrap()));
    let store = Arc::new(MemoryStore::initialised(&*workload, 1).unwrap());
    let data = Arc::new(MemorySource::new(vec![0; pushes as usize], 1).unwrap());
    let sim = SimBackend::functions(
        Arc::new(ShardWorker::new(workload.clone())),
        SimStore::Ideal(store),
        data,
        Simulation::lambda(StepTime::per_example(0.01)),
        Seed::new(1),
    );
    let sim = Arc::new(sim.unwrap());
    let config = Config {
        batch_size: 1,
        sync_mode: synchrony,
        stop: StopRules { epochs: 1, ..StopRules::default() },
        ..Config::default()
    };
    let parts = TrainerParts {
        workload,
        train: sim.data(),
        held_out: None,
        store: sim.store(),
        backend: sim.clone(),
        scheduler: Box::new(FixedScheduler::new(workers, 1_769)),
    };
    let record = sim.run(Trainer::new(parts, config).unwrap().run()).unwrap().unwrap().record;
    assert_eq!(record.epochs[0].updates, pushes);
}

fn main() {
    let mut criterion = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(5))
        .configure_from_args();
    let large = if is_measuring() { 1_000_000 } else { 10_000 };
    let cells = [
        (1_000, 100_000.min(large), SyncMode::Hybrid),
        (1_000, large, SyncMode::Hybrid),
        (1_000, 10_000.min(large), SyncMode::Bulk),
    ];
    let mut rows = Vec::new();
    for (workers, pushes, synchrony) in cells {
        let mut seconds = Vec::new();
        let mut group = criterion.benchmark_group("simulator");
        group.sampling_mode(SamplingMode::Flat);
        group.bench_function(format!("{workers}/{pushes}/{synchrony:?}"), |bencher| {
            bencher.iter_custom(|iterations| {
                let mut whole = Duration::ZERO;
                for _ in 0..iterations {
                    #[expect(clippy::disallowed_methods, reason = "a benchmark takes the time")]
                    let started = std::time::Instant::now();
                    epoch(workers, pushes, synchrony);
                    let took = started.elapsed();
                    seconds.push(took.as_secs_f64());
                    whole += took;
                }
                whole
            });
        });
        group.finish();
        if seconds.is_empty() {
            continue;
        }
        let seconds = median(seconds);
        let us_per_push = seconds / pushes as f64 * 1e6;
        rows.push(Row {
            workers,
            pushes,
            synchrony,
            seconds,
            us_per_push,
            us_per_event: us_per_push / EVENTS,
        });
    }
    if !is_measuring() {
        return;
    }
    println!(
        "{:>8} {:>9} {:>8} {:>9} {:>12} {:>13}",
        "workers", "pushes", "", "seconds", "us per push", "us per event"
    );
    for row in &rows {
        println!(
            "{:>8} {:>9} {:>8} {:>9.3} {:>12.2} {:>13.2}",
            row.workers,
            row.pushes,
            format!("{:?}", row.synchrony),
            row.seconds,
            row.us_per_push,
            row.us_per_event,
        );
    }
    write(&rows, "simulator.json");
}
