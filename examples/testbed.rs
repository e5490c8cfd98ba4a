//! The testbed of the SIREN talk, with numbers of our own: LeNet, a network for sentences and linear
//! classification on simulated functions against rented machines.
//!
//! `cargo run --release --example testbed`

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use siren_backend_sim::Simulation;
use siren_burn::BurnWorkload;
use siren_core::platform::{EpochEstimate, EpochShape};
use siren_core::{Allocation, Machine, Requests, Result, Seed, UpdateRule, Workload};
use siren_examples::lab::rows::{self, Row};
use siren_examples::lab::{Job, Run};
use siren_examples::lenet::DigitLearner;
use siren_examples::sentences::SentenceLearner;
use siren_examples::sentences::reviews::{self, HeldOut, Reviews};
use siren_examples::tables::{self, Clicks};
use siren_examples::{mnist, run, steps};
use siren_hsp::{Config, Decay, Fixed, Rate, Stop};
use siren_linear::SparseLogisticRegression;
use siren_report::Sheet;
use siren_report::chart::{Axis, Chart, Series};

/// burn allocates large tensors in every step, and this allocator keeps them at hand.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Numbers of functions that are searched with real gradients.
const SEARCHED: [u32; 6] = [1, 2, 4, 8, 16, 32];

/// Memory sizes that are looked at by the time model. More than one vCPU brings nothing to a worker that
/// computes on one thread.
const MEMORY_MB: [u32; 5] = [256, 512, 885, 1_280, 1_769];

/// What is run without any search.
const STATIC: Allocation = Allocation { workers: 8, memory_mb: 1_769 };

/// LeNet, sentences and linear classification, on simulated functions and simulated machines.
#[derive(Parser)]
#[command(name = "testbed")]
struct Command {
    /// The folder for testbed.json and report.html
    #[arg(long, value_name = "DIR", default_value = "target/siren/testbed")]
    out: PathBuf,
    /// All movie reviews, in the format of the bundled part
    #[arg(long, value_name = "FILE")]
    reviews: Option<PathBuf>,
    /// Where all randomness comes from
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
    /// Small parts of the data, fewer numbers of functions
    #[arg(long)]
    quick: bool,
    /// Another platform: a TOML file of a simulation
    #[arg(long, value_name = "FILE")]
    simulation: Option<PathBuf>,
}

fn main() -> ExitCode {
    compare(&Command::parse()).map_or_else(|error| run::fail(&error), |()| ExitCode::SUCCESS)
}

/// One workload of the testbed.
struct Contest {
    /// The whole job.
    job: Job,
    /// The part that numbers of functions are searched on, and what part of the whole it is.
    part: Job,
    share: f64,
    /// How to train with so many workers that do not wait for one another.
    config: fn(u32) -> Config,
    /// Bytes of an example as it is fetched.
    example_bytes: f64,
    /// How many times as long MXNet takes for an example, where that was measured.
    mxnet: Option<f64>,
}

/// How many passes over the data one number of functions takes, by a search with real gradients.
#[derive(Clone, Copy)]
struct Passes {
    workers: u32,
    epochs: u64,
}

fn compare(command: &Command) -> Result<()> {
    rows::folder(&command.out)?;
    let simulation = command.simulation.as_ref().map(Simulation::read).transpose()?;
    let simulation = simulation.unwrap_or_default();
    let machines = [Machine::m4_large(), Machine::m4_xlarge(), Machine::m4_2xlarge()];
    let mut sheet = Sheet::new("Testbed: functions against rented machines").text(
        "Every run goes on until its workload's target loss on held-out data. Time is from launch to \
         barrier, evaluations left out; cost counts GB-seconds, calls and requests to storage, and a \
         machine by the second, a minute at least. All of it is simulated, with real gradients.",
    );
    let mut all = Vec::new();
    for contest in contests(command)? {
        let (rows, says, chart) = contest.held(&simulation, &machines, command.quick)?;
        println!("\n{}", contest.job.name);
        rows::print(&rows);
        says.iter().for_each(|line| println!("{line}"));
        sheet = sheet
            .heading(contest.job.name.as_str())
            .table(rows::HEADER, rows::cells(&rows))
            .text(says.join(" "))
            .charts(&[chart])?;
        all.extend(rows);
    }
    rows::write(&all, &command.out.join("testbed.json"))?;
    let page = command.out.join("report.html");
    sheet.write(&page)?;
    println!("\nwritten to {}", page.display());
    Ok(())
}

impl Contest {
    /// Searches, runs, compares.
    fn held(
        &self,
        simulation: &Simulation,
        machines: &[Machine],
        quick: bool,
    ) -> Result<(Vec<Row>, Vec<String>, Chart)> {
        let name = &self.job.name;
        let (mut rows, mut says, mut passes) = (Vec::new(), Vec::new(), Vec::new());
        let searched = if quick { &SEARCHED[2..4] } else { &SEARCHED };
        for &workers in searched {
            let job = self.with(&self.part, workers);
            eprintln!("{name}: {workers} functions on a part of the data");
            let run = job.on_lambda(Fixed::new(workers, STATIC.memory_mb), simulation)?;
            if run.is_done() {
                passes.push(Passes { workers, epochs: run.record.epochs.len() as u64 });
            }
        }
        says.push(format!(
            "Passes over {:.0} % of the data until the target, by number of functions: {}.",
            self.share * 100.0,
            passes
                .iter()
                .map(|p| format!("{} with {}", p.epochs, p.workers))
                .collect::<Vec<_>>()
                .join(", ")
        ));
        let mut known: Vec<(Allocation, Run)> = Vec::new();
        // One allocation may answer several questions.
        let mut on_lambda = |allocation: Allocation| -> Result<Run> {
            if let Some((_, run)) = known.iter().find(|(of, _)| *of == allocation) {
                return Ok(run.clone());
            }
            eprintln!("{name}: {} functions of {} MB", allocation.workers, allocation.memory_mb);
            let run = self.on_lambda(allocation, simulation)?;
            known.push((allocation, run.clone()));
            Ok(run)
        };
        let run = on_lambda(STATIC)?;
        rows.push(Row::new(name, "Lambda, 8 functions of one vCPU", &run));

        let mut rented = Vec::new();
        for machine in machines {
            eprintln!("{name}: {}", machine.name);
            // Pushes cost nothing there.
            let as_functions = self.with(&self.job, machine.vcpus);
            let mut job = as_functions.clone();
            job.config.local_steps = 1;
            let mut run = job.on_machine(machine)?;
            if !run.is_done() {
                run = as_functions.on_machine(machine)?;
            }
            let row = Row::new(name, &format!("EC2 {}", machine.name), &run);
            if let Some(slower) = self.mxnet {
                rows.push(as_in_mxnet(&row, machine, slower));
            }
            rented.push(row.clone());
            rows.push(row);
        }
        let model = Model { contest: self, simulation, passes: &passes };
        if let Some(best) = model.best(None) {
            let run = on_lambda(best)?;
            rows.push(Row::new(name, "Lambda, best static", &run));
            eprintln!("{name}: the same over objects");
            let run = self.over_objects(best, simulation)?;
            rows.push(Row::new(name, "Lambda, the same over objects", &run));
        }
        for row in rented {
            match model.best(Some(row.cost_usd)) {
                Some(best) => {
                    let run = on_lambda(best)?;
                    let what = format!("Lambda, fastest at the cost of {}", row.platform);
                    let found = Row::new(name, &what, &run);
                    says.push(beside(&found, &row));
                    rows.push(found);
                }
                None => says.push(format!(
                    "No number of functions of any size that was looked at is as cheap as {}.",
                    row.platform
                )),
            }
        }
        let chart = chart(name, &rows);
        Ok((rows, says, chart))
    }

    fn with(&self, job: &Job, workers: u32) -> Job {
        let mut job = job.clone();
        let stop = job.config.stop;
        job.config = Config { seed: job.config.seed, stop, ..(self.config)(workers) };
        job
    }

    fn on_lambda(&self, allocation: Allocation, simulation: &Simulation) -> Result<Run> {
        let Allocation { workers, memory_mb } = allocation;
        self.with(&self.job, workers).on_lambda(Fixed::new(workers, memory_mb), simulation)
    }
}

impl Contest {
    /// As often as the time model says that a worker pushes, at the most.
    fn over_objects(&self, allocation: Allocation, simulation: &Simulation) -> Result<Run> {
        let Allocation { workers, memory_mb } = allocation;
        let model = Model { contest: self, simulation, passes: &[] };
        let cycle = model.epoch(allocation, false).cycle_s;
        let cycle = Duration::try_from_secs_f64(cycle).unwrap_or_default();
        let job = self.with(&self.job, workers);
        job.over_objects(Fixed::new(workers, memory_mb), simulation, workers, cycle)
    }
}

/// Predicts time and cost from the passes that were searched.
struct Model<'a> {
    contest: &'a Contest,
    simulation: &'a Simulation,
    passes: &'a [Passes],
}

impl Model<'_> {
    /// The allocation that takes the least time for at most so much money, or that with the least
    /// product of both.
    fn best(&self, budget: Option<f64>) -> Option<Allocation> {
        let all = self.passes.iter().flat_map(|&passes| {
            MEMORY_MB.map(|memory_mb| {
                let allocation = Allocation { workers: passes.workers, memory_mb };
                let (time, cost) = self.predict(allocation, passes.epochs);
                (allocation, time, cost)
            })
        });
        let worth = |&(_, time, cost): &(Allocation, f64, f64)| match budget {
            Some(_) => time,
            None => time * cost,
        };
        all.filter(|(_, _, cost)| budget.is_none_or(|budget| *cost <= budget))
            .min_by(|a, b| worth(a).total_cmp(&worth(b)))
            .map(|(allocation, _, _)| allocation)
    }

    /// Seconds and dollars of so many passes.
    fn predict(&self, allocation: Allocation, epochs: u64) -> (f64, f64) {
        let all = (0..epochs).map(|epoch| self.epoch(allocation, epoch == 0));
        all.fold((0.0, 0.0), |(time, cost), epoch| {
            (time + epoch.elapsed_s, cost + epoch.cost().dollars())
        })
    }

    fn epoch(&self, allocation: Allocation, cold: bool) -> EpochEstimate {
        let contest = self.contest;
        let config = (contest.config)(allocation.workers);
        let bytes = contest.job.workload.dim() as u64 * 4;
        let shape = EpochShape {
            batches: contest.job.train.len().div_ceil(config.batch_size),
            batch_size: config.batch_size,
            local_steps: config.local_steps,
            synchrony: config.synchrony,
            example_bytes: contest.example_bytes,
            pull_bytes: bytes,
            push_bytes: bytes,
            pull: Requests { reads: 1, writes: 0 },
            push: Requests { reads: 0, writes: 1 },
        };
        self.simulation.profile.epoch(&shape, &contest.job.step, allocation, cold)
    }
}

/// The same machine with MXNet, whose images per second were measured side by side with ours by
/// `benches/peers/lenet.sh`: as many passes, each so many times as long.
fn as_in_mxnet(ours: &Row, machine: &Machine, slower: f64) -> Row {
    let time_s = ours.time_s * slower;
    let bill = machine.bill(Duration::try_from_secs_f64(time_s).unwrap_or_default());
    Row {
        platform: format!("{} with MXNet's images/s", ours.platform),
        time_s,
        cost_usd: bill.dollars(),
        cost_usd_without_requests: bill.dollars(),
        ..ours.clone()
    }
}

fn beside(found: &Row, row: &Row) -> String {
    let ratio = found.time_s / row.time_s;
    let time = match ratio {
        ratio if ratio < 1.0 => format!("{:.1} % less time", (1.0 - ratio) * 100.0),
        ratio if ratio < 3.0 => format!("{:.1} % more time", (ratio - 1.0) * 100.0),
        ratio => format!("{ratio:.0} times the time"),
    };
    format!(
        "At no more than the cost of {}, functions take {time} (and {:.2} times its money).",
        row.platform,
        found.cost_usd / row.cost_usd,
    )
}

fn chart(name: &str, rows: &[Row]) -> Chart {
    let axis = |quantity, unit| Axis::new(quantity, unit).log();
    let title = format!("{name}: time, cost");
    let chart = Chart::new(title, axis("cost", "$"), axis("time", "s"));
    let kind = |row: &Row| match row.platform.as_str() {
        name if name.ends_with("images/s") => "EC2 with MXNet's images/s",
        name if name.starts_with("EC2") => "EC2",
        name if name.ends_with("objects") => "Lambda, over objects",
        _ => "Lambda",
    };
    let kinds = ["Lambda", "Lambda, over objects", "EC2", "EC2 with MXNet's images/s"];
    kinds.into_iter().fold(chart, |chart, of| {
        let shown: Vec<&Row> = rows.iter().filter(|row| kind(row) == of && row.reached).collect();
        if shown.is_empty() {
            return chart;
        }
        let points = shown.iter().map(|row| (row.cost_usd, row.time_s));
        let hover = shown.iter().map(|row| {
            let (workers, time, cost) = (row.who(), row.time_s, row.cost_usd);
            format!("{}, {workers} workers: {time:.2} s, ${cost:.5}", row.platform)
        });
        chart.series(Series::scatter(of, points).hover(hover))
    })
}

/// The three workloads.
fn contests(command: &Command) -> Result<Vec<Contest>> {
    Ok(vec![lenet(command)?, sentences(command)?, linear(command)?])
}

fn stop(epochs: u64, target: f64) -> Stop {
    Stop { epochs, target_loss: Some(target), ..Stop::default() }
}

/// LeNet, as `lenet_mnist` trains it: momentum for few workers, Adam in small batches for many. A push
/// covers eight batches where workers are few, so that requests cost less than computing.
fn lenet_config(workers: u32) -> Config {
    let few = workers <= 8;
    Config {
        batch_size: if few { 64 } else { 16 },
        local_steps: if few { 4 } else { 8 },
        rule: if few { UpdateRule::Sgd } else { UpdateRule::ADAM },
        rate: if few { 0.05.into() } else { 0.000_3.into() },
        clip_norm: Some(1.0),
        ..Config::default()
    }
}

fn lenet(command: &Command) -> Result<Contest> {
    let size = command.quick.then_some(4_000);
    let (train, test) = mnist::load(&mnist::bundled(), size)?;
    let small = train.clone().take(train_part(command.quick));
    let test = Arc::new(if command.quick { test.take(1_000) } else { test });
    let workload: Arc<dyn Workload> = Arc::new(BurnWorkload::new(DigitLearner)?);
    let share = train_part(command.quick) as f64 / train_len(command.quick);
    let (target, looser) = if command.quick { (0.5, 0.7) } else { (0.05, 0.12) };
    let patience = if command.quick { 3 } else { 8 };
    let job = |train, stop| Job {
        name: "LeNet on MNIST".into(),
        workload: Arc::clone(&workload),
        train: Arc::new(train),
        test: test.clone(),
        config: Config { seed: command.seed, stop, ..Config::default() },
        step: steps::LENET,
        threads: threads(),
    };
    Ok(Contest {
        example_bytes: siren_examples::lenet::RECORD as f64,
        job: job(train, stop(patience, target)),
        part: job(small, stop(patience, looser)),
        share,
        config: lenet_config,
        mxnet: Some(steps::LENET_IN_MXNET),
    })
}

fn train_part(quick: bool) -> u64 {
    if quick { 2_000 } else { 12_000 }
}

fn train_len(quick: bool) -> f64 {
    if quick { 4_000.0 } else { 60_000.0 }
}

fn sentences_config(workers: u32) -> Config {
    let few = workers <= 4;
    Config {
        batch_size: if few { 50 } else { 8 },
        local_steps: if few { 2 } else { 4 },
        rule: UpdateRule::ADAM,
        rate: Rate {
            base: if few { 0.003 } else { 0.000_5 },
            decay: Decay::Cosine { epochs: 8, last: 0.1 },
            warmup: 0,
        },
        clip_norm: Some(1.0),
        weight_decay: 1e-4,
        ..Config::default()
    }
}

fn sentences(command: &Command) -> Result<Contest> {
    let read = reviews::read(command.reviews.clone().unwrap_or_else(reviews::bundled))?;
    let size = command.quick.then_some(1_000);
    let reviews = Reviews::new(read, Seed::new(command.seed), HeldOut::Tenth, size)?;
    let learner = SentenceLearner::new(reviews.vocabulary.len());
    let workload: Arc<dyn Workload> = Arc::new(BurnWorkload::new(learner)?);
    let target = if command.quick { 0.69 } else { 0.60 };
    let job = Job {
        name: "Sentence network on movie reviews".into(),
        workload,
        train: Arc::new(reviews.train),
        test: Arc::new(reviews.held_out),
        config: Config { seed: command.seed, stop: stop(8, target), ..Config::default() },
        step: steps::SENTENCES,
        threads: threads(),
    };
    Ok(Contest {
        part: job.clone(),
        share: 1.0,
        config: sentences_config,
        example_bytes: siren_examples::sentences::RECORD as f64,
        mxnet: None,
        job,
    })
}

fn linear_config(workers: u32) -> Config {
    Config {
        batch_size: 32,
        local_steps: 8,
        rate: (0.6 / workers.max(6) as f32).min(0.12).into(),
        ..Config::default()
    }
}

fn linear(command: &Command) -> Result<Contest> {
    let size = command.quick.then_some(12_000);
    let (train, test) = tables::load_clicks(&tables::bundled_clicks(), Clicks::CensusKdd, size)?;
    let target = if command.quick { 0.15 } else { 0.124 };
    let job = Job {
        name: "Linear classification on census data".into(),
        workload: Arc::new(SparseLogisticRegression::new(train.features)?),
        train: Arc::new(train.source),
        test: Arc::new(test.source),
        config: Config { seed: command.seed, stop: stop(15, target), ..Config::default() },
        step: steps::CENSUS,
        threads: threads(),
    };
    Ok(Contest {
        part: job.clone(),
        share: 1.0,
        config: linear_config,
        example_bytes: 25.0 * 8.0,
        mxnet: None,
        job,
    })
}

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}
