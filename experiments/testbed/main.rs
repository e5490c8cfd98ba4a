//! The testbed of the SIREN talk, measured again: LeNet, a network for sentences and linear
//! classification on simulated functions against rented machines.
//!
//! `cargo run --release --example testbed`

mod model;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use siren_backend_sim::Simulation;
use siren_core::{Allocation, Machine, Result, Usd};

use siren_examples::sentences::reviews;
use siren_examples::{print_line, print_note, run};
use siren_experiments::lab::equal::{self, Beside};
use siren_experiments::lab::rows::{self, Row};
use siren_experiments::lab::scheduled::{By, Scheduled, Terms};
use siren_experiments::lab::{self, Run};
use siren_experiments::testbed::{Contest, Size, contests};
use siren_hsp::FixedScheduler;
use siren_report::Sheet;
use siren_report::chart::{Axis, Chart, Series};

use model::{Model, Passes};

/// burn allocates large tensors in every step, and this allocator keeps their memory for the next
/// ones.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Numbers of functions that are searched with real gradients.
const SEARCHED: [u32; 6] = [1, 2, 4, 8, 16, 32];

/// The allocation that runs without any search.
const STATIC: Allocation = Allocation::new(8, 1_769);

/// LeNet, sentences and linear classification, on simulated functions and simulated machines.
#[derive(Parser)]
#[command(name = "testbed")]
struct Command {
    /// Only workloads whose name contains this, such as linear
    #[arg(long, value_name = "NAME", help_heading = "Training")]
    only: Option<String>,
    /// Seed of all randomness
    #[arg(long, value_name = "SEED", default_value_t = 1, help_heading = "Training")]
    seed: u64,
    /// Small parts of the data, fewer numbers of functions
    #[arg(long, help_heading = "Training")]
    quick: bool,
    /// File with movie reviews, in the format of the bundled file
    #[arg(long, value_name = "FILE", default_value_os_t = reviews::bundled())]
    #[arg(help_heading = "Data and output")]
    reviews: PathBuf,
    /// Folder for testbed.json and report.html
    #[arg(long, value_name = "DIR", default_value = "target/siren/testbed")]
    #[arg(help_heading = "Data and output")]
    out: PathBuf,
    /// Simulate the platform in this TOML file instead of AWS Lambda
    #[arg(long, value_name = "FILE", help_heading = "Simulation")]
    simulation: Option<PathBuf>,
}

fn main() -> ExitCode {
    compare(&Command::parse()).map_or_else(|error| run::fail(&error), |()| ExitCode::SUCCESS)
}

fn compare(command: &Command) -> Result<()> {
    rows::folder(&command.out)?;
    let simulation = command.simulation.as_ref().map(Simulation::read).transpose()?;
    let simulation = simulation.unwrap_or_default();
    let machines = [Machine::m4_large(), Machine::m4_xlarge(), Machine::m4_2xlarge()];
    let mut sheet = Sheet::new("Testbed: functions against rented machines").text(
        "Every run continues until its workload's target loss on held-out data. Time is from launch to \
         barrier, evaluations left out; cost counts GB-seconds, calls and requests to storage, and a \
         machine by the second, a minute at least. All of it is simulated, with real gradients.",
    );
    let (mut all, mut headline) = (Vec::new(), Vec::new());
    let size = Size { quick: command.quick, seed: command.seed, reviews: command.reviews.clone() };
    let only = command.only.as_deref().unwrap_or_default().to_lowercase();
    for contest in contests(&size)? {
        if !contest.job.name.to_lowercase().contains(&only) {
            continue;
        }
        let mut held = Held::new(&contest, &simulation, command.quick);
        held.compare(&machines)?;
        let Held { rows, says, curves, .. } = held;
        print_line!("\n{}", contest.job.name);
        rows::print(&rows);
        says.iter().for_each(|line| print_line!("{line}"));
        let target = contest.job.config.stop.target_loss.unwrap_or(0.0);
        let [by_time, by_cost] = lab::curves(&curves, 2.5 * target);
        sheet = sheet
            .heading(contest.job.name.as_str())
            .table(rows::HEADER, rows::cells(&rows))
            .text(says.join(" "))
            .charts(&[chart(&contest.job.name, &rows)])?
            .charts(&[by_time, by_cost])?;
        headline.extend(at_equal_cost(&rows));
        all.extend(rows);
    }
    print_line!("\nAt no more than a machine's cost");
    rows::print_columns(&equal::HEADER, &equal::cells(&headline));
    sheet = sheet
        .heading("At no more than a machine's cost")
        .table(equal::HEADER, equal::cells(&headline))
        .charts(&[equal::chart(&headline)])?;
    rows::write(&all, &command.out.join("testbed.json"))?;
    let page = command.out.join("report.html");
    sheet.write(&page)?;
    print_line!("\nwritten to {}", page.display());
    Ok(())
}

/// The rows of machines, those with MXNet's images/s included, each beside the fastest rows of
/// functions that cost no more than the machine.
fn at_equal_cost(rows: &[Row]) -> Vec<Beside> {
    let machines = rows.iter().filter(|row| row.platform.starts_with("EC2"));
    let of = |machine: &Row, kind: &str, name: &str| {
        let shown = rows.iter().filter(|row| row.platform.starts_with(kind) && row.reached);
        let cheap = shown.filter(|row| row.cost_usd <= machine.cost_usd);
        let fastest = cheap.min_by(|a, b| a.time_s.total_cmp(&b.time_s));
        Beside::new(name, fastest, machine)
    };
    machines
        .flat_map(|machine| {
            [
                of(machine, "Lambda, fastest", "static"),
                of(machine, "Lambda, planner", "planner"),
                of(machine, "Lambda, agent", "agent"),
            ]
        })
        .collect()
}

/// The comparison for one workload.
struct Held<'a> {
    contest: &'a Contest,
    simulation: &'a Simulation,
    quick: bool,
    /// Finished runs, because several rows may need the same allocation.
    known: Vec<(Allocation, Run)>,
    rows: Vec<Row>,
    says: Vec<String>,
    /// Runs whose curves are drawn.
    curves: Vec<(String, Run)>,
}

impl<'a> Held<'a> {
    fn new(contest: &'a Contest, simulation: &'a Simulation, quick: bool) -> Self {
        let (known, rows, says, curves) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { contest, simulation, quick, known, rows, says, curves }
    }

    /// Searches the number of functions, runs all rows, and compares them.
    fn compare(&mut self, machines: &[Machine]) -> Result<()> {
        let passes = self.search()?;
        let run = self.on_lambda(STATIC)?;
        self.add("Lambda, 8 functions of one vCPU", &run);
        self.curves.push(("8 functions of one vCPU".into(), run));
        let contest = self.contest;
        let alike = contest.with(&contest.job, contest.middle);
        if alike.config != contest.with(&contest.job, STATIC.workers).config {
            self.tell("the same as schedulers train");
            let Allocation { workers, memory_mb, .. } = STATIC;
            let run = alike.on_lambda(FixedScheduler::new(workers, memory_mb), self.simulation)?;
            self.add("Lambda, the same as schedulers train", &run);
        }
        let mut rented = Vec::new();
        for machine in machines {
            let (row, run) = self.rent(machine)?;
            if rented.len() + 1 == machines.len() {
                self.curves.push((row.platform.clone(), run));
            }
            rented.push(row);
        }
        let model = Model { contest, simulation: self.simulation, passes: &passes };
        // The costs of the allocation without a search, and of the machines.
        let mut budgets: Vec<Row> = self.rows.iter().take(1).chain(&rented).cloned().collect();
        if let Some(best) = model.best(None) {
            let run = self.on_lambda(best)?;
            self.add("Lambda, best static", &run);
            self.curves.push(("best static".into(), run));
            budgets.extend(self.rows.last().cloned());
            self.tell("the same over objects");
            let run = self.over_objects(best)?;
            self.add("Lambda, the same over objects", &run);
        }
        for row in &rented {
            match model.best(Some(row.cost_usd)) {
                Some(best) => {
                    let run = self.on_lambda(best)?;
                    let what = format!("Lambda, fastest at the cost of {}", row.platform);
                    self.add(&what, &run);
                    self.says.extend(self.rows.last().map(|found| beside(found, row)));
                }
                None => self.says.push(format!(
                    "No number of functions, at any memory size that was tried, is as cheap as {}.",
                    row.platform
                )),
            }
        }
        self.schedule(budgets)
    }

    fn tell(&self, what: &str) {
        print_note!("{}: {what}", self.contest.job.name);
    }

    fn add(&mut self, platform: &str, run: &Run) {
        self.rows.push(Row::new(&self.contest.job.name, platform, run));
    }

    /// Finds the passes of each number of functions, on a part of the data.
    fn search(&mut self) -> Result<Vec<Passes>> {
        let Contest { part, share, .. } = self.contest;
        let mut passes = Vec::new();
        let searched = if self.quick { &SEARCHED[2..4] } else { &SEARCHED };
        for &workers in searched {
            self.tell(&format!("{workers} functions on a part of the data"));
            let job = self.contest.with(part, workers);
            let run =
                job.on_lambda(FixedScheduler::new(workers, STATIC.memory_mb), self.simulation)?;
            if run.is_done() {
                passes.push(Passes { workers, epochs: run.record.epochs.len() as u64 });
            }
        }
        self.says.push(format!(
            "Passes over {:.0} % of the data until the target, by number of functions: {}.",
            share * 100.0,
            passes
                .iter()
                .map(|p| format!("{} with {}", p.epochs, p.workers))
                .collect::<Vec<_>>()
                .join(", ")
        ));
        Ok(passes)
    }

    fn rent(&mut self, machine: &Machine) -> Result<(Row, Run)> {
        self.tell(machine.name.as_ref());
        // Pushes cost nothing on one machine.
        let as_functions = self.contest.with(&self.contest.job, machine.vcpus);
        let mut job = as_functions.clone();
        job.config.local_steps = 1;
        let mut run = job.on_machine(machine)?;
        if !run.is_done() {
            run = as_functions.on_machine(machine)?;
        }
        let what = format!("EC2 {}", machine.name);
        let row = Row::new(&self.contest.job.name, &what, &run);
        if let Some(slower) = self.contest.mxnet {
            self.rows.push(as_in_mxnet(&row, machine, slower));
        }
        self.rows.push(row.clone());
        Ok((row, run))
    }

    fn on_lambda(&mut self, allocation: Allocation) -> Result<Run> {
        if let Some((_, run)) = self.known.iter().find(|(of, _)| *of == allocation) {
            return Ok(run.clone());
        }
        let Allocation { workers, memory_mb, .. } = allocation;
        self.tell(&format!("{workers} functions of {memory_mb} MB"));
        let job = self.contest.with(&self.contest.job, workers);
        let run = job.on_lambda(FixedScheduler::new(workers, memory_mb), self.simulation)?;
        self.known.push((allocation, run.clone()));
        Ok(run)
    }

    /// Runs schedulers that have to measure the job first, with the cost of each of these rows as
    /// the budget. Once a budget is too small, smaller ones are left out.
    fn schedule(&mut self, mut budgets: Vec<Row>) -> Result<()> {
        budgets.sort_by(|a, b| b.cost_usd.total_cmp(&a.cost_usd));
        let contest = self.contest;
        let job = contest.with(&contest.job, contest.middle);
        let prior =
            job.prior(self.simulation, contest.example_bytes, contest.initial, contest.passes);
        let steps = if self.quick { 6_000 } else { 100_000 };
        let (probes, bounds) = (contest.probes.clone(), contest.bounds());
        let mut terms = Terms { prior, probes, bounds, budget: Usd::ZERO, steps };
        for by in By::ALL {
            for row in &budgets {
                let at = row.platform.trim_start_matches("Lambda, ");
                let what = format!("Lambda, {by} at the cost of {at}");
                self.tell(&what);
                terms.budget = Usd::new(row.cost_usd);
                let found = job.scheduled(by, self.simulation, &terms)?;
                self.rows.push(Row::scheduled(&contest.job.name, &what, &found));
                self.says.push(probed(&what, &found));
                // More curves could not be read.
                if row.platform == budgets[0].platform {
                    self.curves.push((by.to_string(), found.run.clone()));
                }
                if !found.succeeded() {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Runs over objects. The store is made for workers that push as often as the time model
    /// predicts.
    fn over_objects(&self, allocation: Allocation) -> Result<Run> {
        let Allocation { workers, memory_mb, .. } = allocation;
        let Self { contest, simulation, .. } = *self;
        let model = Model { contest, simulation, passes: &[] };
        let cycle = model.epoch(allocation, false).cycle_s;
        let cycle = Duration::try_from_secs_f64(cycle).unwrap_or_default();
        let job = contest.with(&contest.job, workers);
        job.over_objects(FixedScheduler::new(workers, memory_mb), simulation, workers, cycle)
    }
}

/// The same machine with MXNet, whose images per second were measured side by side with ours by
/// `experiments/peers/lenet.sh`. It takes as many passes, and each takes `slower` times as long.
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

/// The sentence about the money and time that a scheduler spent on probes.
fn probed(what: &str, found: &Scheduled) -> String {
    let (time_s, cost_usd) = found.probing();
    let end = match (found.run.is_done(), found.succeeded()) {
        (true, true) => "",
        (true, false) => "; the target costs more than the budget",
        _ => "; the target is missed",
    };
    format!(
        "{what}: {} s and ${}, of which probing {} s and ${}{end}.",
        rows::digits(found.run.time_s),
        rows::digits(found.run.cost.dollars()),
        rows::digits(time_s),
        rows::digits(cost_usd),
    )
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
        name if name.starts_with("Lambda, planner") => "Lambda, planner",
        name if name.starts_with("Lambda, agent") => "Lambda, agent",
        _ => "Lambda",
    };
    let kinds = [
        "Lambda",
        "Lambda, over objects",
        "EC2",
        "EC2 with MXNet's images/s",
        "Lambda, planner",
        "Lambda, agent",
    ];
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
