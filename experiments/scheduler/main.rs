//! The simulation table of the SIREN talk again: within several budgets, a grid search over the
//! number of functions, the best allocation that never changes, a planner, a learned scheduler, and
//! the optimum.
//!
//! `cargo run --release --example scheduler`

mod flags;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser as _;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use siren_core::{Result, file};
use siren_drl::agent::TrainingSettings;
use siren_drl::{Bounds, StaticAllocation};
use siren_examples::{print_line, print_note, run};
use siren_experiments::contest::learning::{self, Lesson, Pupil, SeedRow, Summary, Timing};
use siren_experiments::contest::unseen::{self, Stranger};
use siren_experiments::contest::{Budget, Terms, baselines, figures, table};
use siren_experiments::lab::{on_all_cores, rows};
use siren_report::Sheet;
use siren_report::chart::{self, Chart};

use flags::Command;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    compare(&Command::parse()).map_or_else(|error| run::fail(&error), |()| ExitCode::SUCCESS)
}

/// The content of `scheduler.json`.
#[derive(Serialize)]
struct Results<'a> {
    profile: &'a str,
    parallel_share: f64,
    target_loss: f64,
    bounds: Bounds,
    grid_memory_mb: u32,
    episodes: u64,
    budgets: &'a [Budget],
    settings: Vec<TrainingSettings>,
    /// From scratch.
    seeds: Vec<SeedRow>,
    seeds_warm: Vec<SeedRow>,
    summaries: &'a [Summary],
    /// One agent on jobs that it has not seen.
    unseen: &'a [Stranger],
    /// Measured times. They differ from run to run; all other fields do not.
    timing: &'a [Timing],
}

/// All results.
struct Found {
    curve: Vec<StaticAllocation>,
    budgets: Vec<Budget>,
    pupils: Vec<Pupil>,
    summaries: Vec<Summary>,
    timings: Vec<Timing>,
    unseen: Vec<Stranger>,
}

fn compare(command: &Command) -> Result<()> {
    let terms = command.terms()?;
    command.budgets().iter().try_for_each(|&usd| terms.task(usd).check())?;
    rows::folder(&command.out)?;
    let curve = baselines::curve(&terms);
    print_line!("{}\n\n{}", about(command, &terms), summary(&curve, terms.grid_memory_mb));
    let budgets = on_all_cores(&command.budgets(), |&usd| baselines::measure(&terms, usd))?;
    let pupils = teach(command, &terms, &command.lessons(&budgets))?;
    let mut found = Found {
        curve,
        budgets,
        pupils,
        summaries: Vec::new(),
        timings: Vec::new(),
        unseen: Vec::new(),
    };
    found.summarise(command, &terms)?;
    found.budgets.iter().for_each(table::print);
    if !found.summaries.is_empty() {
        print_line!();
        rows::print_columns(&table::SEEDS, &found.seeds());
        HOW.iter().for_each(|line| print_line!("{line}"));
    }
    // Saved now, in case the rest fails.
    found.write(command, &terms)?;
    if !command.quick {
        print_note!("one agent for jobs that it has not seen");
        let settings = *command.settings().first().unwrap_or(&TrainingSettings::ppo());
        match unseen::measure(&terms, settings) {
            Ok((agent, unseen)) => {
                agent.save(command.out.join("agent"))?;
                found.unseen = unseen;
                print_line!();
                unseen::says(&found.unseen).iter().for_each(|line| print_line!("{line}"));
            }
            Err(error) => print_line!("\nNo agent for other jobs: {}", error.chain()),
        }
    }
    found.write(command, &terms)?;
    let page = command.out.join("report.html");
    found.report(command, &terms)?.write(&page)?;
    print_line!("\nwritten to {}", page.display());
    Ok(())
}

/// The explanation of the tables.
const HOW: [&str; 6] = [
    "Gap: mean seconds of the episodes that succeed, compared with the lower bound of all schedules in expectation.",
    "All rows are played on the same episodes, which were used for neither training nor selection. A grid without \
     a demand spends the whole budget in expectation, and fails when an episode costs more than expected.",
    "The agent of a table is the median seed by its gap on other episodes, for validation. Each training contributes \
     the checkpoint that was best on those.",
    "In the quartiles a seed that fails in more than 5 % of the episodes is worse than any other.",
    "An agent is trained in the job's own model. It observes the model's expectations of the epoch, and its first policy \
     spends the money left evenly, on functions of one vCPU. A warm-started one imitates the planner first.",
    "The planner and the optimum know the model too; Bayesian optimisation does not, and pays for its trials.",
];

/// Trains on all cores, and shows the progress.
fn teach(command: &Command, terms: &Terms, lessons: &[Lesson]) -> Result<Vec<Pupil>> {
    let folder = command.out.join("training");
    let bar = ProgressBar::new(lessons.iter().map(|lesson| lesson.settings.steps).sum());
    let style = "training [{bar:30}] {human_pos}/{human_len} steps, {per_sec}, {eta} left  {msg}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.enable_steady_tick(Duration::from_millis(500));
    let pupils = on_all_cores(lessons, |&lesson| {
        let pupil = learning::teach(terms, lesson, &folder, |steps| bar.inc(steps))?;
        if let Some(pupil) = &pupil {
            let Lesson { budget_usd, seed, .. } = lesson;
            let gap = table::percent(pupil.entry.gap);
            let success = table::percent(pupil.entry.score.success);
            bar.set_message(format!("${budget_usd}, seed {seed}: gap {gap}, success {success}"));
        }
        Ok(pupil)
    });
    bar.finish_and_clear();
    Ok(pupils?.into_iter().flatten().collect())
}

impl Found {
    fn pupils(&self, budget_usd: f64, warm: bool) -> Vec<&Pupil> {
        let of = |pupil: &&Pupil| {
            pupil.lesson.is_warm() == warm && pupil.lesson.budget_usd == budget_usd
        };
        self.pupils.iter().filter(of).collect()
    }

    fn seeds(&self) -> Vec<Vec<String>> {
        let pairs = self.summaries.iter().zip(&self.timings);
        pairs.map(|(summary, timing)| table::seeds(summary, timing)).collect()
    }

    /// Picks the agents of the tables, and counts the others.
    fn summarise(&mut self, command: &Command, terms: &Terms) -> Result<()> {
        let mut saved = command.save.is_none();
        for at in 0..self.budgets.len() {
            for warm in [false, true] {
                let pupils = self.pupils(self.budgets[at].budget_usd, warm);
                let Some(middle) = learning::middle(&pupils) else { continue };
                let entry = middle.entry.clone();
                let summary = learning::summary(&pupils);
                let timing = learning::timing(terms, &pupils)?;
                if let Some(path) = command.save.as_ref().filter(|_| !saved) {
                    middle.agent.save(path)?;
                    saved = true;
                }
                self.summaries.extend(summary);
                self.timings.extend(timing);
                let budget = &mut self.budgets[at];
                *(if warm { &mut budget.agent_warm } else { &mut budget.agent }) = Some(entry);
            }
        }
        Ok(())
    }

    fn write(&self, command: &Command, terms: &Terms) -> Result<()> {
        let rows = |warm: bool| {
            let of = self.pupils.iter().filter(move |pupil| pupil.lesson.is_warm() == warm);
            of.map(Pupil::row).collect()
        };
        let results = Results {
            profile: &command.profile,
            parallel_share: terms.model.compute.parallel_share,
            target_loss: terms.task.target_loss,
            bounds: terms.task.bounds,
            grid_memory_mb: terms.grid_memory_mb,
            episodes: terms.episodes,
            budgets: &self.budgets,
            settings: command.settings(),
            seeds: rows(false),
            seeds_warm: rows(true),
            summaries: &self.summaries,
            unseen: &self.unseen,
            timing: &self.timings,
        };
        file::replace(&command.out.join("scheduler.json"), |to| {
            serde_json::to_writer_pretty(&mut *to, &results)?;
            to.write_all(b"\n")
        })
    }

    fn report(&self, command: &Command, terms: &Terms) -> Result<Sheet> {
        let figure = |name: &str, charts: &[Chart]| {
            let svg = chart::row(charts)?;
            let path = command.out.join(format!("{name}.svg"));
            file::replace(&path, |to| to.write_all(svg.as_bytes()))
        };
        let grid = figures::grid(&self.curve);
        figure("grid", &grid)?;
        let time = figures::time(&self.budgets);
        figure("time", &time)?;
        let mut sheet = Sheet::new("Schedulers within a budget")
            .text(format!("{}.", about(command, terms)))
            .text(HOW.join(" "))
            .heading("All budgets")
            .charts(&time)?
            .charts(&grid)?;
        if !self.summaries.is_empty() {
            sheet = sheet.table(table::SEEDS, self.seeds());
        }
        if !self.unseen.is_empty() {
            sheet = sheet.text(unseen::says(&self.unseen).join(". "));
        }
        for budget in &self.budgets {
            let usd = budget.budget_usd;
            sheet = sheet
                .heading(format!("${usd}"))
                .table(table::HEADER, table::lines(budget))
                .text(table::says(budget).join(" "));
            if !budget.is_enough() {
                continue;
            }
            let charts = figures::allocations(budget);
            figure(&format!("allocations_{usd}"), &charts)?;
            sheet = sheet.charts(&charts)?;
            for (warm, start) in [(false, "from scratch"), (true, "warm-started")] {
                let pupils = self.pupils(usd, warm);
                if pupils.is_empty() {
                    continue;
                }
                let charts = figures::training(&pupils, &format!("${usd}, {start}"));
                let slug = if warm { "_warm" } else { "" };
                figure(&format!("training_{usd}{slug}"), &charts)?;
                sheet = sheet.charts(&charts)?;
            }
        }
        Ok(sheet)
    }
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
fn summary(curve: &[StaticAllocation], memory_mb: u32) -> String {
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
