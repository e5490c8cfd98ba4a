//! The measurement of a cell.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use siren::backend::Clock;
use siren::{Optimizer, Seed};
use siren_backend_local::WallClock;

use super::results::median;
use super::table::Row;

pub(crate) const LENET: usize = 431_080;
pub(crate) const TEN_MILLION: usize = 10_000_000;
pub(crate) const THREADS: usize = 2;

pub(crate) const SGD: Optimizer = Optimizer::Sgd;

/// Bytes that a push must read and write, for each parameter.
pub(crate) fn push_bytes(optimizer: Optimizer) -> usize {
    // The gradient is read; parameters and optimizer state are read and written.
    4 + 8 * (1 + optimizer.state_vectors())
}

/// A cell of the table under measurement.
pub(crate) struct Cell<'a> {
    pub(crate) bench: &'a str,
    pub(crate) optimizer: &'static str,
    pub(crate) parameters: usize,
    pub(crate) workers: usize,
    /// Bytes for each parameter.
    pub(crate) bytes: usize,
    pub(crate) against: &'static str,
}

pub(crate) struct Bench {
    pub(crate) criterion: Criterion,
    pub(crate) rows: Vec<Row>,
}

impl Bench {
    /// Measures `work` and `limit`, which each run over the parameters `passes` times.
    pub(crate) fn cell(
        &mut self,
        cell: &Cell<'_>,
        passes: usize,
        mut work: impl FnMut(usize) -> Duration,
        mut limit: impl FnMut(usize) -> Duration,
    ) {
        let bytes = cell.bytes * cell.parameters * passes;
        let mut pairs = Vec::new();
        let mut group = self.criterion.benchmark_group(cell.bench);
        group.sampling_mode(SamplingMode::Flat).throughput(Throughput::Bytes(bytes as u64));
        let id = format!("{}/{}/workers", cell.optimizer, cell.parameters);
        group.bench_function(BenchmarkId::new(id, cell.workers), |bencher| {
            bencher.iter_custom(|iterations| {
                let mut total = Duration::ZERO;
                for _ in 0..iterations {
                    // Each runs once untimed, to fill the caches its own way. The order alternates.
                    let mut worked = || {
                        work(passes);
                        work(passes)
                    };
                    let mut limited = || {
                        limit(passes);
                        limit(passes)
                    };
                    let (worked, limited) = if pairs.len() % 2 == 0 {
                        let worked = worked();
                        (worked, limited())
                    } else {
                        let limited = limited();
                        (worked(), limited)
                    };
                    pairs.push((worked.as_secs_f64(), limited.as_secs_f64()));
                    total += worked;
                }
                total
            });
        });
        group.finish();
        // Excluded by the filter.
        if pairs.is_empty() {
            return;
        }
        let rate = |seconds: Vec<f64>| bytes as f64 / median(seconds) / 1e9;
        self.rows.push(Row {
            bench: cell.bench.into(),
            rule: cell.optimizer,
            parameters: cell.parameters,
            workers: cell.workers,
            gb_per_s: rate(pairs.iter().map(|pair| pair.0).collect()),
            limit_gb_per_s: rate(pairs.iter().map(|pair| pair.1).collect()),
            ratio: median(pairs.iter().map(|pair| pair.1 / pair.0).collect()),
            against: cell.against,
        });
    }
}

/// The number of passes of a run over the parameters: it takes some milliseconds, and every worker
/// makes equally many.
pub(crate) fn passes(parameters: usize, workers: usize) -> usize {
    (6 * TEN_MILLION / parameters).div_ceil(workers).max(1) * workers
}

/// The time that `work` takes on this thread.
pub(crate) fn timed(work: impl FnOnce()) -> Duration {
    let clock = WallClock::new();
    let started = clock.now();
    work();
    clock.now() - started
}

/// Numbers of different sizes.
pub(crate) fn numbers(count: usize) -> Vec<f32> {
    let seed = Seed::new(1);
    (0..count as u64).map(|i| (seed.child(i).get() >> 40) as f32 / (1 << 24) as f32 - 0.5).collect()
}
