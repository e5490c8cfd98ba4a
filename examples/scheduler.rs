//! The simulation table of the SIREN talk again: within several budgets, a grid search over the number of
//! functions, the best allocation that never changes, a planner, a learned scheduler, and the optimum.
//!
//! `cargo run --release --example scheduler`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use serde::Serialize;
use siren_core::{Platform, Result, Seed, file};
use siren_drl::{Bounds, JobModel, PROFILES, Static, Task};
use siren_examples::contest::{Budget, Terms, baselines, figures, table};
use siren_examples::lab::{on_all_cores, rows};
use siren_examples::run;
use siren_report::Sheet;
use siren_report::chart::{self, Chart};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Schedulers within several budgets, judged by the true optimum.
#[derive(Parser)]
#[command(name = "scheduler")]
struct Command {
    /// The job
    #[arg(long, value_name = "NAME", default_value = "seed", value_parser = PROFILES.map(|(name, _)| name))]
    profile: String,
    /// The share of an epoch's computing that several vCPUs divide among them [default: the profile's]
    #[arg(long, value_name = "P")]
    parallel_share: Option<f64>,
    /// Dollars, one table for each [default: 300,200,100,50]
    #[arg(long, value_name = "USD", value_delimiter = ',', allow_negative_numbers = true)]
    budgets: Vec<f64>,
    /// The loss to reach [default: the profile's]
    #[arg(long, value_name = "LOSS", allow_negative_numbers = true)]
    target: Option<f64>,
    /// Another platform's limits instead of the profile's own
    #[arg(long, value_name = "PLATFORM")]
    platform: Option<Today>,
    /// Episodes that each scheduler is judged by [default: 200]
    #[arg(long, value_name = "N")]
    episodes: Option<u64>,
    /// The folder for scheduler.json, report.html and the figures
    #[arg(long, value_name = "DIR", default_value = "target/siren/scheduler")]
    out: PathBuf,
    /// Do less: fewer budgets and episodes
    #[arg(long)]
    quick: bool,
    /// Where all randomness comes from
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Today {
    /// AWS Lambda as it is now: 1,000 functions of 128 to 10,240 MB
    Lambda,
}

fn main() -> ExitCode {
    compare(&Command::parse()).map_or_else(|error| run::fail(&error), |()| ExitCode::SUCCESS)
}

impl Command {
    fn budgets(&self) -> Vec<f64> {
        match (self.budgets.as_slice(), self.quick) {
            ([], false) => vec![300.0, 200.0, 100.0, 50.0],
            ([], true) => vec![200.0, 50.0],
            (given, _) => given.to_vec(),
        }
    }

    fn terms(&self) -> Result<Terms> {
        let mut model = JobModel::named(&self.profile)?;
        if let Some(share) = self.parallel_share {
            model.compute.parallel_share = share;
        }
        if let Some(Today::Lambda) = self.platform {
            model.platform = Platform::aws_lambda();
        }
        model.check()?;
        let mut task = Task::new(model.clone(), 0.0)?;
        task.target_loss = self.target.unwrap_or(task.target_loss);
        task.check()?;
        Ok(Terms {
            // What fits the talk's grid search.
            grid_memory_mb: if self.profile == "conservative" { 1_664 } else { 1_536 },
            episodes: self.episodes.unwrap_or(if self.quick { 50 } else { 200 }).max(1),
            seed: Seed::new(self.seed),
            model,
            task,
        })
    }
}

/// What `scheduler.json` has.
#[derive(Serialize)]
struct Results<'a> {
    profile: &'a str,
    parallel_share: f64,
    target_loss: f64,
    bounds: Bounds,
    grid_memory_mb: u32,
    episodes: u64,
    budgets: &'a [Budget],
}

fn compare(command: &Command) -> Result<()> {
    let terms = command.terms()?;
    rows::folder(&command.out)?;
    let curve = baselines::curve(&terms);
    let about = about(command, &terms);
    println!("{about}\n\n{}", summary(&curve, terms.grid_memory_mb));
    let budgets = on_all_cores(&command.budgets(), |&usd| baselines::measure(&terms, usd))?;
    budgets.iter().for_each(table::print);
    write(command, &terms, &budgets)?;
    let page = command.out.join("report.html");
    report(command, &terms, &curve, &budgets)?.write(&page)?;
    println!("\nwritten to {}", page.display());
    Ok(())
}

fn about(command: &Command, terms: &Terms) -> String {
    let Bounds { workers, memory_min_mb, memory_max_mb, memory_step_mb } = terms.task.bounds;
    format!(
        "Job {}: target loss {}, 1 to {workers} functions of {memory_min_mb} to {memory_max_mb} MB in \
         steps of {memory_step_mb}, {} % of the computing in parallel",
        command.profile,
        terms.task.target_loss,
        terms.model.compute.parallel_share * 100.0,
    )
}

/// The grid search in a few numbers.
fn summary(curve: &[Static], memory_mb: u32) -> String {
    let mut text = format!("Grid search over functions of {memory_mb} MB, in expectation:");
    for functions in [1, 10, 138, 482, 828, 3_000] {
        if let Some(run) = curve.iter().find(|run| run.allocation.workers == functions) {
            text.push_str(&format!(
                "\n  {functions:>5} functions {:>10.1} s  ${:.2}",
                run.time_s, run.cost_usd
            ));
        }
    }
    text
}

fn write(command: &Command, terms: &Terms, budgets: &[Budget]) -> Result<()> {
    let results = Results {
        profile: &command.profile,
        parallel_share: terms.model.compute.parallel_share,
        target_loss: terms.task.target_loss,
        bounds: terms.task.bounds,
        grid_memory_mb: terms.grid_memory_mb,
        episodes: terms.episodes,
        budgets,
    };
    file::replace(&command.out.join("scheduler.json"), |to| {
        serde_json::to_writer_pretty(&mut *to, &results)?;
        to.write_all(b"\n")
    })
}

fn report(command: &Command, terms: &Terms, curve: &[Static], budgets: &[Budget]) -> Result<Sheet> {
    let figure = |name: &str, charts: &[Chart]| {
        let svg = chart::row(charts)?;
        let path = command.out.join(format!("{name}.svg"));
        file::replace(&path, |to| to.write_all(svg.as_bytes()))
    };
    let mut sheet =
        Sheet::new("Schedulers within a budget").text(format!("{}.", about(command, terms)));
    let grid = figures::grid(curve);
    figure("grid", &grid)?;
    let time = [figures::time(budgets)];
    figure("time", &time)?;
    sheet = sheet.heading("All budgets").charts(&[&time[..], &grid[..]].concat())?;
    for budget in budgets {
        sheet = sheet
            .heading(format!("${}", budget.budget_usd))
            .table(table::HEADER, table::lines(budget))
            .text(table::says(budget).join(" "));
        if budget.is_enough() {
            let charts = figures::allocations(budget);
            figure(&format!("allocations_{}", budget.budget_usd), &charts)?;
            sheet = sheet.charts(&charts)?;
        }
    }
    Ok(sheet)
}
