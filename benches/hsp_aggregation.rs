//! The speed of aggregation in the store in memory, relative to the machine's limit.
//!
//! Each cell runs the work and its reference in turn. The ratio is the median over these pairs: on
//! a shared machine, other load affects both runs of a pair alike. `cargo bench --bench
//! hsp_aggregation` runs 39 cells in a few minutes; a filter selects some of them.
//! `SIREN_BENCH=all` runs all sizes with all numbers of workers, and 10^8 parameters (needs 3 GB).
//! The table is printed at the end and written to `target/siren/bench/aggregation.json`.

mod aggregation {
    pub(crate) mod bare;
    pub(crate) mod bench;
    pub(crate) mod exchange;
    pub(crate) mod machine;
    pub(crate) mod noise;
    pub(crate) mod results;
    pub(crate) mod rounds;
    pub(crate) mod sparse;
    pub(crate) mod swarm;
    pub(crate) mod table;
}

use std::time::Duration;

use aggregation::bench::{Bench, LENET, SGD, TEN_MILLION};
use aggregation::machine::orientation;
use aggregation::results::{is_measuring, write};
use aggregation::table;
use criterion::Criterion;
use siren::Optimizer;

const SIZES: [usize; 4] = [10_000, 61_706, LENET, TEN_MILLION];

/// The optimizers that keep state.
const STATEFUL: [Optimizer; 5] = [
    Optimizer::Momentum { momentum: 0.9 },
    Optimizer::Nesterov { momentum: 0.9 },
    Optimizer::ADAGRAD,
    Optimizer::ADAM,
    Optimizer::ADAMW,
];

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
    for optimizer in STATEFUL {
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
    bench.sparse(SGD, TEN_MILLION, false);
    bench.sparse(SGD, TEN_MILLION, true);
    bench.sparse(Optimizer::ADAGRAD, TEN_MILLION, false);
    bench.select(LENET);
    for optimizer in [SGD, Optimizer::ADAGRAD, Optimizer::ADAMW] {
        bench.noise(optimizer, TEN_MILLION, false);
        bench.noise(optimizer, LENET, false);
    }
    bench.noise(SGD, TEN_MILLION, true);
}

/// Every size, optimizer and number of workers.
fn all(bench: &mut Bench) {
    for parameters in SIZES {
        for workers in [1, 2, 8, 64] {
            for optimizer in [SGD].into_iter().chain(STATEFUL) {
                bench.push(optimizer, parameters, workers);
            }
            bench.pull(parameters, workers);
        }
        bench.push_and_pull(parameters);
        bench.crowd(parameters, 64);
        bench.bookkeeping(parameters);
        bench.mean(parameters);
        bench.bulk(parameters, 8);
        for optimizer in [SGD, Optimizer::ADAGRAD] {
            bench.sparse(optimizer, parameters, false);
            bench.sparse(optimizer, parameters, true);
            bench.noise(optimizer, parameters, false);
            bench.noise(optimizer, parameters, true);
        }
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
