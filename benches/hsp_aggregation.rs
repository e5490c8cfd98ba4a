//! The speed of aggregation in the store in memory, relative to the machine's limit.
//!
//! Each cell runs the work and its reference in turn. The ratio is the median over these pairs: on
//! a shared machine, other load affects both runs of a pair alike. `cargo bench --bench
//! hsp_aggregation` runs 25 cells in a few minutes; a filter selects some of them.
//! `SIREN_BENCH=all` runs all sizes with all numbers of workers, and 10^8 parameters (needs 3 GB).
//! The table is printed at the end and written to `target/siren/bench/aggregation.json`.

mod aggregation {
    pub(crate) mod bare;
    pub(crate) mod results;
    pub(crate) mod swarm;
    pub(crate) mod table;
}

use std::hint::black_box;
use std::sync::Mutex;
use std::time::Duration;

use aggregation::bare::{self, Bare};
use aggregation::results::{is_measuring, median, write};
use aggregation::swarm::{Swarm, on_threads};
use aggregation::table::{self, Row};
use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput};
use siren::backend::Clock;
use siren::store::{Entry, Gradient, Replica, SparseSlice};
use siren::{Optimizer, Seed, SyncMode};
use siren_backend_local::WallClock;
use siren_hsp::kernel::{self, TopK};

const LENET: usize = 431_080;
const TEN_MILLION: usize = 10_000_000;
const SIZES: [usize; 4] = [10_000, 61_706, LENET, TEN_MILLION];
const THREADS: usize = 2;

const SGD: Optimizer = Optimizer::Sgd;
const MOMENTUM: Optimizer = Optimizer::Momentum { momentum: 0.9 };
const ADAM: Optimizer = Optimizer::ADAM;

/// Bytes that a push must read and write, for each parameter.
fn push_bytes(optimizer: Optimizer) -> usize {
    // The gradient is read; parameters and optimizer state are read and written.
    4 + 8 * (1 + optimizer.state_vectors())
}

/// A cell of the table under measurement.
struct Cell<'a> {
    bench: &'a str,
    optimizer: &'static str,
    parameters: usize,
    workers: usize,
    /// Bytes for each parameter.
    bytes: usize,
    against: &'static str,
}

struct Bench {
    criterion: Criterion,
    rows: Vec<Row>,
}

impl Bench {
    /// Measures `work` and `limit`, which each run over the parameters `passes` times.
    fn cell(
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

    /// Workers that push dense updates, all from one gradient.
    fn push(&mut self, optimizer: Optimizer, parameters: usize, workers: usize) {
        let gradient = numbers(parameters);
        let swarm = Swarm::new(optimizer, SyncMode::Hybrid, parameters, workers);
        let threads = workers.min(THREADS);
        let bares: Vec<_> =
            (0..threads).map(|_| Mutex::new(Bare::new(optimizer, parameters))).collect();
        let cell = Cell {
            bench: "push",
            optimizer: optimizer.name(),
            parameters,
            workers,
            bytes: push_bytes(optimizer),
            against: "bare loops",
        };
        self.cell(
            &cell,
            passes(parameters, workers),
            |passes| push_all(&swarm, &gradient, workers, passes),
            |passes| {
                on_threads(threads, |thread| {
                    let bare = &mut *bares[thread].lock().unwrap();
                    let start = parameters * thread / threads;
                    for _ in 0..passes / threads {
                        bare.push_from(start, black_box(&gradient));
                    }
                })
            },
        );
    }

    /// Many workers on two threads against two workers.
    fn crowd(&mut self, parameters: usize, workers: usize) {
        let gradient = numbers(parameters);
        let many = Swarm::new(SGD, SyncMode::Hybrid, parameters, workers);
        let two = Swarm::new(SGD, SyncMode::Hybrid, parameters, THREADS);
        let cell = Cell {
            bench: "push, crowded",
            optimizer: "sgd",
            parameters,
            workers,
            bytes: push_bytes(SGD),
            against: "two workers",
        };
        self.cell(
            &cell,
            passes(parameters, workers),
            |passes| push_all(&many, &gradient, workers, passes),
            |passes| push_all(&two, &gradient, THREADS, passes),
        );
    }

    /// Workers that pull. All values are new in each pull.
    fn pull(&mut self, parameters: usize, workers: usize) {
        let swarm = Swarm::new(SGD, SyncMode::Hybrid, parameters, workers);
        let threads = workers.min(THREADS);
        let bare = Bare::new(SGD, parameters);
        let replicas: Vec<_> = (0..workers).map(|_| Mutex::new(Replica::new())).collect();
        let copies: Vec<_> = (0..threads).map(|_| Mutex::new(vec![0.0; parameters])).collect();
        let cell = Cell {
            bench: "pull",
            optimizer: "-",
            parameters,
            workers,
            bytes: 8,
            against: "bare copies",
        };
        self.cell(
            &cell,
            passes(parameters, workers),
            |passes| {
                on_threads(threads, |thread| {
                    for pass in 0..passes / threads {
                        let worker = (thread + pass * threads) % workers;
                        let replica = &mut *replicas[worker].lock().unwrap();
                        replica.forget();
                        swarm.pull(replica);
                    }
                })
            },
            |passes| {
                on_threads(threads, |thread| {
                    let copy = &mut *copies[thread].lock().unwrap();
                    for _ in 0..passes / threads {
                        bare.pull(black_box(copy));
                    }
                })
            },
        );
    }

    /// One worker's cycle without its gradient: pull and push.
    fn push_and_pull(&mut self, parameters: usize) {
        let gradient = numbers(parameters);
        let swarm = Swarm::new(SGD, SyncMode::Hybrid, parameters, 1);
        let mut bare = Bare::new(SGD, parameters);
        let (mut replica, mut copy) = (Replica::new(), vec![0.0; parameters]);
        let cell = Cell {
            bench: "push and pull",
            optimizer: "sgd",
            parameters,
            workers: 1,
            bytes: push_bytes(SGD) + 8,
            against: "bare loop and copy",
        };
        self.cell(
            &cell,
            passes(parameters, 1),
            |passes| {
                timed(|| {
                    for _ in 0..passes {
                        swarm.push(0, Gradient::Dense(black_box(&gradient)));
                        swarm.pull(&mut replica);
                    }
                })
            },
            |passes| {
                timed(|| {
                    for _ in 0..passes {
                        bare.push(black_box(&gradient));
                        bare.pull(black_box(&mut copy));
                    }
                })
            },
        );
    }

    /// A round of bulk mode, all of whose updates one thread pushes, against copies of all updates,
    /// one mean and one push.
    fn bulk(&mut self, parameters: usize, workers: usize) {
        let gradient = numbers(parameters);
        let swarm = Swarm::new(SGD, SyncMode::Bulk, parameters, workers);
        let mut bare = Bare::new(SGD, parameters);
        let mut kept = vec![vec![0.0; parameters]; workers];
        let mut mean = vec![0.0; parameters];
        let cell = Cell {
            bench: "bulk round",
            optimizer: "sgd",
            parameters,
            workers,
            // Each update is read, written and read again.
            bytes: 12 * workers + 8 + push_bytes(SGD),
            against: "copies, a mean and a bare loop",
        };
        self.cell(
            &cell,
            1,
            |_| {
                timed(|| {
                    for worker in 0..workers {
                        swarm.push(worker, Gradient::Dense(black_box(&gradient)));
                    }
                })
            },
            |_| {
                timed(|| {
                    for kept in &mut kept {
                        kept.copy_from_slice(black_box(&gradient));
                    }
                    let share = 1.0 / workers as f32;
                    kernel::weighted_sum(&mut mean, kept.iter().map(|kept| (share, &kept[..])));
                    bare.push(black_box(&mean));
                })
            },
        );
    }

    /// The mean of 16 vectors, against the better of two bare loops.
    fn mean(&mut self, parameters: usize) {
        let vectors = [const { Vec::new() }; 16].map(|_: Vec<f32>| numbers(parameters));
        let mut out = [vec![0.0; parameters], vec![0.0; parameters]];
        let [ours, bare] = &mut out;
        let cell = Cell {
            bench: "mean of 16",
            optimizer: "-",
            parameters,
            workers: 1,
            bytes: 4 * 17,
            against: "the better bare loop",
        };
        self.cell(
            &cell,
            1,
            |_| {
                timed(|| {
                    let weighted = vectors.iter().map(|vector| (1.0 / 16.0, vector.as_slice()));
                    kernel::weighted_sum(black_box(ours), weighted);
                })
            },
            |_| {
                let by_entry = timed(|| bare::mean_by_entry(black_box(bare), &vectors));
                by_entry.min(timed(|| bare::mean_by_fours(black_box(bare), &vectors)))
            },
        );
    }

    /// A push of one entry in a hundred, in random places, against a dense push. With `pulled`, a
    /// pull follows each.
    fn sparse(&mut self, parameters: usize, pulled: bool) {
        let gradient = numbers(parameters);
        let entries = one_in_a_hundred(parameters);
        let sparse = Gradient::Sparse(SparseSlice::new(parameters, &entries).unwrap());
        let (dense, swarm) = (
            Swarm::new(SGD, SyncMode::Hybrid, parameters, 1),
            Swarm::new(SGD, SyncMode::Hybrid, parameters, 1),
        );
        let mut replicas = [Replica::new(), Replica::new()];
        let [one, two] = &mut replicas;
        // Pulls come between pushes in any case, as in a worker's cycle.
        let run = |swarm: &Swarm, gradient, passes, replica: &mut Replica| {
            let mut total = Duration::ZERO;
            for _ in 0..passes {
                total += timed(|| swarm.push(0, black_box(gradient)));
                let pull = timed(|| swarm.pull(replica));
                if pulled {
                    total += pull;
                }
            }
            total
        };
        let cell = Cell {
            bench: if pulled { "top 1 %, push and pull" } else { "top 1 %, push" },
            optimizer: "sgd",
            parameters,
            workers: 1,
            // The bytes of a dense update, so that rates compare.
            bytes: push_bytes(SGD) + if pulled { 8 } else { 0 },
            against: if pulled { "dense push and pull" } else { "dense push" },
        };
        let dense_gradient = Gradient::Dense(&gradient);
        self.cell(
            &cell,
            passes(parameters, 1),
            |passes| run(&swarm, sparse, passes, one),
            |passes| run(&dense, dense_gradient, passes, two),
        );
    }

    /// Finding the largest hundredth of a gradient, against a copy of it.
    fn select(&mut self, parameters: usize) {
        let gradient = numbers(parameters);
        let mut values = gradient.clone();
        let mut copy = gradient.clone();
        let mut top_k = TopK::default();
        let cell = Cell {
            bench: "top 1 %, selection",
            optimizer: "-",
            parameters,
            workers: 1,
            bytes: 8,
            against: "a copy",
        };
        self.cell(
            &cell,
            1,
            |_| {
                values.copy_from_slice(&gradient);
                timed(|| top_k.take(0.01, black_box(&mut values)))
            },
            |_| timed(|| black_box(&mut copy).copy_from_slice(&gradient)),
        );
    }

    /// The part of a push that is not the pass over the parameters: a push to a model of one
    /// parameter. The ratio is the number of such pushes that take as long as a full push.
    fn bookkeeping(&mut self, parameters: usize) {
        let gradient = numbers(parameters);
        let swarm = Swarm::new(SGD, SyncMode::Hybrid, parameters, 1);
        let one = Swarm::new(SGD, SyncMode::Hybrid, 1, 1);
        let cell = Cell {
            bench: "push, but for the pass",
            optimizer: "sgd",
            parameters,
            workers: 1,
            // The bytes of the full push, so that rates compare.
            bytes: push_bytes(SGD),
            against: "a push",
        };
        self.cell(
            &cell,
            passes(parameters, 1),
            |passes| {
                timed(|| {
                    for _ in 0..passes {
                        one.push(0, Gradient::Dense(black_box(&[0.5])));
                    }
                })
            },
            |passes| {
                timed(|| {
                    for _ in 0..passes {
                        swarm.push(0, Gradient::Dense(black_box(&gradient)));
                    }
                })
            },
        );
    }
}

/// The number of passes of a run over the parameters: it takes some milliseconds, and every worker
/// makes equally many.
fn passes(parameters: usize, workers: usize) -> usize {
    (6 * TEN_MILLION / parameters).div_ceil(workers).max(1) * workers
}

/// The time that `work` takes on this thread.
fn timed(work: impl FnOnce()) -> Duration {
    let clock = WallClock::new();
    let started = clock.now();
    work();
    clock.now() - started
}

/// Workers that push in turn, on at most two threads.
fn push_all(swarm: &Swarm, gradient: &[f32], workers: usize, passes: usize) -> Duration {
    let threads = workers.min(THREADS);
    on_threads(threads, |thread| {
        for pass in 0..passes / threads {
            let worker = (thread + pass * threads) % workers;
            swarm.push(worker, Gradient::Dense(black_box(gradient)));
        }
    })
}

/// Numbers of different sizes.
fn numbers(count: usize) -> Vec<f32> {
    let seed = Seed::new(1);
    (0..count as u64).map(|i| (seed.child(i).get() >> 40) as f32 / (1 << 24) as f32 - 0.5).collect()
}

/// Entries at a random hundredth of all positions.
fn one_in_a_hundred(parameters: usize) -> Vec<Entry> {
    let seed = Seed::new(2);
    let chosen = (0..parameters as u64).filter(|&i| seed.child(i).get().is_multiple_of(100));
    chosen.map(|i| Entry { index: i as u32, value: 0.25 }).collect()
}

/// Prints the machine's own limits: memcpy and the STREAM triad.
fn orientation() {
    println!("machine, GB/s of reads and writes (memcpy counts both):");
    for parameters in [LENET, TEN_MILLION] {
        for threads in [1, THREADS] {
            let sets: Vec<_> = (0..threads)
                .map(|_| {
                    Mutex::new([numbers(parameters), numbers(parameters), numbers(parameters)])
                })
                .collect();
            let passes = passes(parameters, 1);
            let best = |bytes: usize, work: &(dyn Fn(&mut [Vec<f32>; 3]) + Sync)| {
                let run = || {
                    on_threads(threads, |thread| {
                        let set = &mut *sets[thread].lock().unwrap();
                        (0..passes).for_each(|_| work(black_box(set)));
                    })
                };
                let times = (0..10).map(|_| run().as_secs_f64());
                let moved = (bytes * parameters * passes * threads) as f64;
                moved / times.fold(f64::INFINITY, f64::min) / 1e9
            };
            let memcpy = best(8, &|[a, b, _]| a.copy_from_slice(b));
            let triad = best(12, &|[a, b, c]| bare::triad(a, b, c));
            println!(
                "  {parameters:>10} entries, {threads} threads: memcpy {memcpy:.1}, STREAM triad {triad:.1}"
            );
        }
    }
}

/// The cells that run by default.
fn usual(bench: &mut Bench) {
    for workers in [1, 2] {
        for parameters in SIZES {
            bench.push(SGD, parameters, workers);
        }
    }
    bench.push(SGD, LENET, 8);
    bench.push(SGD, LENET, 64);
    bench.push(SGD, TEN_MILLION, 64);
    for optimizer in [MOMENTUM, ADAM] {
        bench.push(optimizer, LENET, 1);
        bench.push(optimizer, TEN_MILLION, 1);
    }
    bench.crowd(LENET, 64);
    bench.pull(LENET, 1);
    bench.pull(LENET, 2);
    bench.pull(TEN_MILLION, 1);
    bench.push_and_pull(LENET);
    bench.bookkeeping(LENET);
    bench.mean(TEN_MILLION);
    bench.sparse(TEN_MILLION, false);
    bench.sparse(TEN_MILLION, true);
    bench.select(LENET);
}

/// Every size, optimizer and number of workers.
fn all(bench: &mut Bench) {
    for parameters in SIZES {
        for workers in [1, 2, 8, 64] {
            for optimizer in [SGD, MOMENTUM, ADAM] {
                bench.push(optimizer, parameters, workers);
            }
            bench.pull(parameters, workers);
        }
        bench.push_and_pull(parameters);
        bench.crowd(parameters, 64);
        bench.bookkeeping(parameters);
        bench.mean(parameters);
        bench.bulk(parameters, 8);
        bench.sparse(parameters, false);
        bench.sparse(parameters, true);
        bench.select(parameters);
    }
    for workers in [1, 2] {
        bench.push(SGD, 100_000_000, workers);
    }
}

fn main() {
    let criterion = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .without_plots()
        .configure_from_args();
    let mut bench = Bench { criterion, rows: Vec::new() };
    let everything = std::env::var("SIREN_BENCH").is_ok_and(|which| which == "all");
    if everything {
        all(&mut bench)
    } else {
        usual(&mut bench)
    }
    bench.criterion.final_summary();
    // As a test each cell runs only once.
    if !bench.rows.is_empty() && is_measuring() {
        orientation();
        table::print(&bench.rows);
        write(&bench.rows, "aggregation.json");
    }
}
