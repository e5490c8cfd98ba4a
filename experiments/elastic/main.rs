//! The number of functions as a free control: passes over the data until a target and final
//! quality, with 1 to 200 simulated functions and one setting for all of them, and with a number
//! that changes from pass to pass.
//!
//! `cargo run --release --example elastic`

mod cells;
mod flags;
mod page;
mod rows;
mod workloads;

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clap::Parser as _;
use siren_backend_sim::Simulation;
use siren_core::Result;
use siren_examples::{print_line, print_note, run};
use siren_experiments::lab::{on_all_cores, rows as lab_rows};
use siren_hsp::StopRules;

use cells::{Cell, Store, Subject};
use flags::Command;
use rows::{HEADER, Outcome};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The memory of each function: the smallest of Siren's sizes with one vCPU.
const MEMORY_MB: u32 = 1_792;

/// The time between two pushes of a function where the parameters are in objects: a GET, a PUT and
/// a short computation.
const CYCLE: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    compare(&Command::parse()).map_or_else(|error| run::fail(&error), |()| ExitCode::SUCCESS)
}

fn compare(command: &Command) -> Result<()> {
    lab_rows::folder(&command.out)?;
    let simulation = command.simulation.as_ref().map(Simulation::read).transpose()?;
    let simulation = simulation.unwrap_or_default();
    let subjects = workloads::subjects(command)?;
    let cells: Vec<Cell> = subjects
        .iter()
        .enumerate()
        .flat_map(|(index, subject)| Cell::of(index, subject, command.is_narrow()))
        .collect();
    let outcomes = runs(&subjects, &cells, &simulation)?;
    let lines: Vec<Vec<String>> = cells
        .iter()
        .zip(&outcomes)
        .map(|(cell, repeats)| rows::cells(cell, &subjects[cell.subject], repeats))
        .collect();
    print_line!("{}\n", page::about());
    for subject in &subjects {
        print_line!("{}", page::described(subject));
    }
    print_line!();
    lab_rows::print_columns(&HEADER, &lines);
    let all: Vec<&rows::Row> = outcomes.iter().flatten().map(|outcome| &outcome.row).collect();
    lab_rows::write(&all, &command.out.join("elastic.json"))?;
    let page = command.out.join("report.html");
    page::sheet(&subjects, &cells, &outcomes, lines)?.write(&page)?;
    print_line!("\nwritten to {}", page.display());
    Ok(())
}

/// One run to make.
#[derive(Clone, Copy, Debug)]
struct Task {
    /// The position of its cell.
    cell: usize,
    /// The number of the repeat, from 0.
    repeat: usize,
    /// An estimate of its computing time.
    work: f64,
}

/// Makes all runs, and returns the repeats of each cell.
fn runs(
    subjects: &[Subject],
    cells: &[Cell],
    simulation: &Simulation,
) -> Result<Vec<Vec<Outcome>>> {
    let mut tasks: Vec<Task> = Vec::new();
    for (index, cell) in cells.iter().enumerate().filter(|(_, cell)| !cell.left_out) {
        let jobs = subjects[cell.subject].jobs.iter().enumerate();
        tasks.extend(jobs.map(|(repeat, job)| {
            let examples = (job.train.len() * cell.passes) as f64;
            Task { cell: index, repeat, work: examples * job.step.seconds_per_example }
        }));
    }
    // Long runs first, so that no core waits for another one's last run.
    tasks.sort_by(|a, b| b.work.total_cmp(&a.work));
    let done = AtomicUsize::new(0);
    let made = on_all_cores(&tasks, |task| {
        let cell = &cells[task.cell];
        let outcome = one(&subjects[cell.subject], cell, task.repeat, simulation)?;
        let row = &outcome.row;
        print_note!(
            "{} of {} runs: {}, {}, {} workers, {}: quality {:.4}{}",
            done.fetch_add(1, Ordering::Relaxed) + 1,
            tasks.len(),
            row.workload,
            cell.mode.name(),
            row.workers,
            row.schedule,
            row.quality.unwrap_or(f64::NAN),
            if row.diverged { ", diverged" } else { "" },
        );
        Ok(outcome)
    })?;
    let mut outcomes: Vec<Vec<Outcome>> = vec![Vec::new(); cells.len()];
    // The sort is stable: the repeats of a cell are in order.
    for (task, outcome) in tasks.iter().zip(made) {
        outcomes[task.cell].push(outcome);
    }
    Ok(outcomes)
}

fn one(subject: &Subject, cell: &Cell, repeat: usize, simulation: &Simulation) -> Result<Outcome> {
    let mut job = subject.jobs[repeat].clone();
    job.config = cell.mode.apply(&job.config);
    job.config.learning_rate.decay = (subject.decay)(cell.passes);
    job.config.stop = StopRules { epochs: cell.passes, ..StopRules::default() };
    let scheduler = cell.schedule.scheduler();
    let run = match subject.store {
        Store::Ideal => job.on_lambda(scheduler, simulation)?,
        Store::Objects => job.over_objects(scheduler, simulation, cell.schedule.most(), CYCLE)?,
    };
    Ok(Outcome::new(cell, subject, job.config.seed, &run))
}
