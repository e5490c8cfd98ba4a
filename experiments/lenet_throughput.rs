//! LeNet's images per second, side by side: `cargo run --release --example lenet_throughput`
//!
//! A plain burn loop on one thread; one worker on one thread; two workers on two threads; 64
//! workers on two threads. Rounds alternate, since machines are shared and noisy, and the medians
//! of the rounds' ratios are printed. With `--case` it runs one of them once and prints one number,
//! for the comparison with other frameworks in `experiments/peers`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, ValueEnum};
use serde::Serialize;
use siren_backend_local::{LocalBackend, WallClock};
use siren_burn::burn::module::{Module, ModuleMapper, Param};
use siren_burn::burn::prelude::*;
use siren_burn::burn::tensor::Gradients;
use siren_burn::{BurnWorkload, Learner};
use siren_core::{Batch, Clock, DataSource, Error, ErrorKind, Optimizer, Result, file};
use siren_data::MemorySource;
use siren_examples::{mnist, print_line, run};
use siren_hsp::{
    Config, FixedScheduler, MemoryStore, ShardWorker, StopRules, Trainer, TrainerParts,
};
use siren_lenet::DigitLearner;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: u64 = 64;

/// Images per second of LeNet: a plain loop beside workers.
#[derive(Parser)]
#[command(name = "lenet_throughput")]
struct Command {
    /// Rounds, each of which runs every case once
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// Images for each thread in a case
    #[arg(long, value_name = "N", default_value_t = 6_400)]
    images: u64,
    /// Run only this case once, and print its images per second
    #[arg(long, value_name = "CASE")]
    case: Option<Case>,
    /// Folder for lenet_throughput.json
    #[arg(long, value_name = "DIR", default_value = "target/siren/bench")]
    out: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Case {
    /// A loop as a burn user writes it, on one thread
    Plain,
    /// One worker on one thread
    One,
    /// Two workers on two threads
    Two,
    /// 64 workers on two threads
    SixtyFour,
}

const CASES: [Case; 4] = [Case::Plain, Case::One, Case::Two, Case::SixtyFour];

/// Images per second of each round, by case, and the ratios that `docs/benchmarks.md` quotes.
#[derive(Serialize)]
struct Table {
    load_average: [String; 2],
    images_per_s: Vec<(String, Vec<f64>)>,
    one_worker_over_plain_loop: f64,
    two_workers_over_one: f64,
    sixty_four_workers_over_two: f64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let command = Command::parse();
    match measure(&command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => run::fail(&error),
    }
}

async fn measure(command: &Command) -> Result<()> {
    let (data, _) = mnist::load(&mnist::bundled(), None)?;
    if let Some(case) = command.case {
        print_line!("{:.0}", case.run(&data, command.images).await?);
        return Ok(());
    }
    let before = load_average();
    let mut rates = CASES.map(|_| Vec::new());
    for round in 0..command.rounds {
        for (case, rates) in CASES.iter().zip(&mut rates) {
            let rate = case.run(&data, command.images).await?;
            print_line!("round {round}  {case:<10?} {rate:7.0} images/s");
            rates.push(rate);
        }
    }
    let ratio = |of: usize, over: usize| {
        median(rates[of].iter().zip(&rates[over]).map(|(a, b)| a / b).collect())
    };
    let table = Table {
        load_average: [before, load_average()],
        one_worker_over_plain_loop: ratio(1, 0),
        two_workers_over_one: ratio(2, 1),
        sixty_four_workers_over_two: ratio(3, 2),
        images_per_s: CASES
            .iter()
            .zip(&rates)
            .map(|(case, rates)| (format!("{case:?}"), rates.clone()))
            .collect(),
    };
    print_line!("load average before {}, after {}", table.load_average[0], table.load_average[1]);
    print_line!("one worker / plain loop     {:.3}", table.one_worker_over_plain_loop);
    print_line!("two workers / one worker    {:.3}", table.two_workers_over_one);
    print_line!("64 workers / two workers    {:.3}", table.sixty_four_workers_over_two);
    let cannot = |error: std::io::Error| {
        Error::new(ErrorKind::Other, "cannot make the folder for the figures").with_source(error)
    };
    std::fs::create_dir_all(&command.out).map_err(cannot)?;
    let path = command.out.join("lenet_throughput.json");
    file::replace(&path, |to| Ok(serde_json::to_writer_pretty(to, &table)?))
}

impl Case {
    async fn run(self, data: &MemorySource, images: u64) -> Result<f64> {
        match self {
            Self::Plain => plain(data, images).await,
            Self::One => siren(data, images, 1, 1).await,
            Self::Two => siren(data, 2 * images, 2, 2).await,
            Self::SixtyFour => siren(data, 2 * images, 64, 2).await,
        }
    }
}

/// Siren's rate in the second of two epochs of `images` images: the first one warms up.
async fn siren(data: &MemorySource, images: u64, workers: u32, threads: usize) -> Result<f64> {
    let train = Arc::new(data.take(images));
    let workload = Arc::new(BurnWorkload::new(DigitLearner)?);
    let store = Arc::new(MemoryStore::initialised(&*workload, 1)?);
    let worker = Arc::new(ShardWorker::new(workload.clone()));
    let backend =
        Arc::new(LocalBackend::with_threads(worker, store.clone(), train.clone(), threads)?);
    let scheduler = Box::new(FixedScheduler::new(workers, 1_769));
    let parts = TrainerParts { workload, train, held_out: None, store, backend, scheduler };
    let config = Config {
        batch_size: BATCH,
        optimizer: Optimizer::Sgd,
        learning_rate: 0.01.into(),
        stop: StopRules { epochs: 2, ..StopRules::default() },
        ..Config::default()
    };
    let trained = Trainer::new(parts, config)?.run().await?;
    let last = trained.record.epochs.last();
    Ok(last.map_or(f64::NAN, |epoch| images as f64 / epoch.elapsed_s))
}

/// SGD as a mapper over the module's parameters.
struct Sgd {
    gradients: Gradients,
    rate: f32,
}

impl ModuleMapper for Sgd {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        let gradient = tensor.grad_remove(&mut self.gradients);
        let tensor = match gradient {
            Some(gradient) => tensor.inner() - gradient * self.rate,
            None => tensor.inner(),
        };
        Param::from_mapped_value(id, Tensor::from_inner(tensor).require_grad(), mapper)
    }
}

/// The loop that a burn user writes without Siren, on its own thread.
async fn plain(data: &MemorySource, images: u64) -> Result<f64> {
    let mut batches = Vec::new();
    for start in (0..images).step_by(BATCH as usize) {
        batches.push(data.fetch(start..start + BATCH).await?);
    }
    let train = move || -> Result<f64> {
        let device = Device::flex().autodiff();
        let mut net = DigitLearner.init(&device);
        let clock = WallClock::new();
        let mut started = clock.now();
        for epoch in 0..2 {
            if epoch == 1 {
                started = clock.now();
            }
            for bytes in &batches {
                let batch = DigitLearner.batch(&Batch::new(BATCH as usize, bytes), &device)?;
                let loss = DigitLearner.loss(&net, batch);
                let gradients = loss.backward();
                net = net.map(&mut Sgd { gradients, rate: 0.01 });
                let _ = std::hint::black_box(loss.into_data());
            }
        }
        let elapsed = clock.now() - started;
        Ok((batches.len() as u64 * BATCH) as f64 / elapsed.as_secs_f64())
    };
    let panicked = |_| Error::new(ErrorKind::Worker, "the plain loop panicked");
    std::thread::spawn(train).join().map_err(panicked)?
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

/// The machine's load over the last minute, or `unknown`.
fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").into()
}
