//! Hybrid, stale and bulk mode on simulated Lambda: loss against time with 1, 10, 100 and 1,000
//! functions, of which some straggle. Each has the best of several learning rates.
//!
//! `cargo run --release --example synchrony`

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use serde::Serialize;
use siren_backend_sim::Simulation;
use siren_core::{Result, StepTime, SyncMode};
use siren_examples::flags::sync_mode;
use siren_examples::tables::{self, Clicks};
use siren_examples::{print_line, run};
use siren_experiments::lab::rows::{self, Row, digits};
use siren_experiments::lab::{Job, Run, on_all_cores};
use siren_hsp::{Config, FixedScheduler, StopRules};
use siren_linear::SparseLogisticRegression;
use siren_report::Sheet;
use siren_report::chart::{Axis, Chart, Series};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Larger losses are not drawn.
const SHOWN: f64 = 0.2;

/// The memory of each function: one vCPU.
const MEMORY_MB: u32 = 1_769;

/// Examples in a batch: 7,500 batches, so that each of 1,000 functions has 7 or 8 rounds in an
/// epoch.
const BATCH_SIZE: u64 = 8;
/// Seconds for the gradient of an example on one vCPU: a batch then takes 80 ms, as long as a GET
/// and a PUT to S3 together.
const STEP: f64 = 0.01;

/// The held-out log loss at which runs are compared. The best known loss is 0.120.
const TARGET: f64 = 0.125;
/// The same for half of the data and fewer epochs.
const QUICK_TARGET: f64 = 0.135;

/// Bulk, stale and hybrid mode on simulated functions.
#[derive(Parser)]
#[command(name = "synchrony")]
struct Command {
    /// Synchronisation modes to compare: hybrid, bulk, stale=N
    #[arg(long, value_name = "MODE,...", value_delimiter = ',', value_parser = sync_mode)]
    #[arg(default_value = "bulk,stale=2,hybrid", help_heading = "Training")]
    sync_mode: Vec<SyncMode>,
    /// One learning rate for all runs, instead of the best of several for each
    #[arg(long, alias = "lr", value_name = "RATE", help_heading = "Training")]
    learning_rate: Option<f32>,
    /// Seed of all randomness
    #[arg(long, value_name = "SEED", default_value_t = 1, help_heading = "Training")]
    seed: u64,
    /// Fewer epochs and learning rates, on half of the data
    #[arg(long, help_heading = "Training")]
    quick: bool,
    /// Numbers of functions to compare
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1,10,100,1000")]
    #[arg(help_heading = "Schedule and budget")]
    workers: Vec<u32>,
    /// Folder with the data
    #[arg(long, value_name = "DIR", default_value_os_t = tables::bundled_clicks())]
    #[arg(help_heading = "Data and output")]
    data: PathBuf,
    /// Folder for synchrony.json, report.html and the figures
    #[arg(long, value_name = "DIR", default_value = "target/siren/synchrony")]
    #[arg(help_heading = "Data and output")]
    out: PathBuf,
    /// Simulate the platform in this TOML file instead of AWS Lambda
    #[arg(long, value_name = "FILE", help_heading = "Simulation")]
    simulation: Option<PathBuf>,
}

fn main() -> ExitCode {
    compare(&Command::parse()).map_or_else(|error| run::fail(&error), |()| ExitCode::SUCCESS)
}

/// One run to make.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Cell {
    workers: u32,
    synchrony: SyncMode,
    rate: f32,
}

/// A run with its figures.
#[derive(Clone, Debug, Serialize)]
struct Compared {
    #[serde(flatten)]
    row: Row,
    synchrony: SyncMode,
    rate: f32,
    /// Pushes that counted. In bulk mode the pushes of a round are one update.
    pushes: u64,
    /// Seconds until the barrier from which on the loss stays at most the target; `None` if there
    /// is none.
    to_target_s: Option<f64>,
    /// Money until then.
    to_target_usd: Option<f64>,
    /// Seconds that a worker waited for the rounds of others, mean over the workers.
    round_wait_s: f64,
    /// Seconds that a worker waited at barriers, mean over the workers.
    barrier_wait_s: f64,
    /// Mean staleness of the updates, in updates.
    staleness_mean: f64,
    /// Invocations beyond one for each worker and epoch.
    retries: u64,
    /// `true` if the rate is the largest or smallest that was tried.
    rate_at_edge: bool,
    #[serde(skip)]
    run: Run,
}

impl Compared {
    fn new(cell: Cell, run: Run, target: f64) -> Self {
        let epochs = &run.record.epochs;
        // With a large rate a single low loss may be luck, so the loss has to stay there.
        let above = epochs
            .iter()
            .rposition(|epoch| epoch.evaluation.loss.is_nan() || epoch.evaluation.loss > target);
        let at = Some(above.map_or(0, |above| above + 1)).filter(|&at| at < epochs.len());
        let until = |points: Vec<(f64, f64)>| Some(points.get(at? + 1)?.0);
        let mut row = Row::new("logistic regression, census-kdd", &name(cell.synchrony), &run);
        row.functions = cell.workers;
        row.reached = at.is_some();
        let pushes: u64 = epochs.iter().map(|epoch| epoch.updates).sum();
        let stale: f64 = epochs.iter().map(|e| e.staleness_mean * e.updates as f64).sum();
        Self {
            row,
            synchrony: cell.synchrony,
            rate: cell.rate,
            pushes,
            to_target_s: until(run.loss_by_time()),
            to_target_usd: until(run.loss_by_cost()),
            round_wait_s: epochs.iter().map(|epoch| epoch.round_wait_s).sum(),
            barrier_wait_s: epochs.iter().map(|epoch| epoch.wait_s).sum(),
            staleness_mean: stale / pushes.max(1) as f64,
            retries: epochs.iter().map(|epoch| u64::from(epoch.retries)).sum(),
            rate_at_edge: false,
            run,
        }
    }

    /// `true` if its rate is better than the other's: sooner at the target, or else a smaller loss.
    fn is_better_than(&self, other: &Self) -> bool {
        // NaN comes last.
        let order = |of: &Self| (of.to_target_s.unwrap_or(f64::INFINITY), of.row.loss.abs());
        let ((time, loss), (other_time, other_loss)) = (order(self), order(other));
        time.total_cmp(&other_time).then(loss.total_cmp(&other_loss)).is_lt()
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.row.functions.to_string(),
            self.row.platform.clone(),
            format!("{}{}", self.rate, if self.rate_at_edge { "*" } else { "" }),
            self.row.epochs.to_string(),
            self.pushes.to_string(),
            format!("{:.4}", self.row.loss),
            self.to_target_s.map_or("missed".into(), digits),
            digits(self.row.time_s),
            digits(self.round_wait_s),
            digits(self.barrier_wait_s),
            format!("{:.1}", self.staleness_mean),
            format!("{:.4}", self.row.cost_usd),
        ]
    }
}

#[rustfmt::skip]
const HEADER: [&str; 12] = [
    "workers", "synchrony", "rate", "epochs", "pushes", "loss", "to target, s", "time, s",
    "waited in rounds, s", "at barriers, s", "staleness", "cost, $",
];

fn name(synchrony: SyncMode) -> String {
    match synchrony {
        SyncMode::Hybrid => "hybrid".into(),
        SyncMode::Bulk => "bulk".into(),
        SyncMode::Stale { bound } => format!("stale, bound {bound}"),
    }
}

/// The rates to try, each twice as large as the one before, or four times with `quick`. Bulk mode
/// applies the mean of n gradients and the others their sum, so that its rate may be n times as
/// large.
fn rates(workers: u32, synchrony: SyncMode, quick: bool) -> Vec<f32> {
    let (least, most) = if synchrony.merges_rounds() && workers > 1 { (-3, 4) } else { (-9, -2) };
    (least..=most).step_by(if quick { 2 } else { 1 }).map(|power| 2_f32.powi(power)).collect()
}

fn compare(command: &Command) -> Result<()> {
    rows::folder(&command.out)?;
    let simulation = command.simulation.as_ref().map(Simulation::read).transpose()?;
    let simulation = simulation.unwrap_or_default();
    let size = command.quick.then_some(30_000);
    let (train, test) = tables::load_clicks(&command.data, Clicks::CensusKdd, size)?;
    let (epochs, target) = if command.quick { (6, QUICK_TARGET) } else { (20, TARGET) };
    let job = Job {
        name: "synchrony".into(),
        workload: Arc::new(SparseLogisticRegression::new(train.features)?),
        train: Arc::new(train.source),
        test: Arc::new(test.source),
        config: Config {
            run: "synchrony".into(),
            seed: command.seed,
            batch_size: BATCH_SIZE,
            stop: StopRules { epochs, ..StopRules::default() },
            evaluate_threads: Some(1),
            ..Config::default()
        },
        step: StepTime::per_example(STEP),
        threads: 1,
    };
    let best = runs(command, &job, &simulation, target)?;
    let lines: Vec<Vec<String>> = best.iter().map(Compared::cells).collect();
    let about = about(&job, target);
    print_line!("{about}\n");
    rows::print_columns(&HEADER, &lines);
    rows::write(&best, &command.out.join("synchrony.json"))?;
    let charts: Vec<Chart> = command.workers.iter().map(|&n| chart(n, &best)).collect();
    for (workers, chart) in command.workers.iter().zip(&charts) {
        let file = command.out.join(format!("loss_by_time_{workers}.svg"));
        let svg = chart.to_svg()?;
        siren_core::file::replace(&file, |to| to.write_all(svg.as_bytes()))?;
    }
    let sheet = Sheet::new("Bulk, stale and hybrid mode on simulated functions");
    let mut sheet = sheet.text(about).table(HEADER, lines);
    for pair in charts.chunks(2) {
        sheet = sheet.charts(pair)?;
    }
    let page = command.out.join("report.html");
    sheet.write(&page)?;
    print_line!("\nwritten to {}", page.display());
    Ok(())
}

/// Runs all combinations, and returns the run with the best rate for each number of workers and
/// each mode.
fn runs(
    command: &Command,
    job: &Job,
    simulation: &Simulation,
    target: f64,
) -> Result<Vec<Compared>> {
    let workers = command.workers.iter();
    let pairs: Vec<(u32, SyncMode, Vec<f32>)> = workers
        .flat_map(|&n| command.sync_mode.iter().map(move |&synchrony| (n, synchrony)))
        .map(|(n, synchrony)| match command.learning_rate {
            Some(rate) => (n, synchrony, vec![rate]),
            None => (n, synchrony, rates(n, synchrony, command.quick)),
        })
        .collect();
    let cells: Vec<Cell> = pairs
        .iter()
        .flat_map(|(workers, synchrony, rates)| {
            rates.iter().map(|&rate| Cell { workers: *workers, synchrony: *synchrony, rate })
        })
        .collect();
    let mut all = on_all_cores(&cells, |&cell| {
        let mut job = job.clone();
        job.config.sync_mode = cell.synchrony;
        job.config.learning_rate = cell.rate.into();
        let run = job.on_lambda(FixedScheduler::new(cell.workers, MEMORY_MB), simulation)?;
        Ok(Compared::new(cell, run, target))
    })?
    .into_iter();
    let best = pairs.iter().filter_map(|(_, _, rates)| {
        let runs = all.by_ref().take(rates.len());
        let mut best = runs.reduce(|a, b| if b.is_better_than(&a) { b } else { a })?;
        let edges = [rates.first(), rates.last()];
        best.rate_at_edge = rates.len() > 1 && edges.contains(&Some(&best.rate));
        Some(best)
    });
    Ok(best.collect())
}

fn about(job: &Job, target: f64) -> String {
    format!(
        "Logistic regression on census-kdd: {} training and {} held-out examples, {} parameters, batches of \
         {BATCH_SIZE}, {} epochs. Functions of {MEMORY_MB} MB, whose gradient of a batch takes {:.0} ms, beside \
         GETs and PUTs of about 40 ms with their tails; some functions are slow, and all start cold. Loss is \
         measured on held-out data when an epoch ends; the target is {target}. The learning rates tried are powers \
         of two. Each row has the rate that first reaches the target and stays there, or else the one with the \
         smallest loss at the end; a star marks the largest or smallest rate tried. Waits are means over the \
         workers, summed over the epochs.",
        job.train.len(),
        job.test.len(),
        job.workload.dim(),
        job.config.stop.epochs,
        BATCH_SIZE as f64 * STEP * 1e3,
    )
}

fn chart(workers: u32, all: &[Compared]) -> Chart {
    let title = format!("{workers} {}", if workers == 1 { "worker" } else { "workers" });
    let (x, y) = (Axis::new("time", "s").log(), Axis::new("held-out loss", ""));
    let of = all.iter().filter(|compared| compared.row.functions == workers);
    of.fold(Chart::new(title, x, y), |chart, compared| {
        // A logarithmic axis cannot show the start, and large losses would compress the rest.
        let barriers = compared.run.loss_by_time().into_iter().skip(1);
        let points = barriers.filter(|&(_, loss)| loss < SHOWN);
        chart.series(Series::line(compared.row.platform.as_str(), points))
    })
}
