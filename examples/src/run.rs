//! A training run as a program: bookkeeping around the trainer.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use siren_backend_local::LocalBackend;
use siren_backend_sim::{SimBackend, SimStore, Simulation};
use siren_core::{DataSource, Error, Evaluation, Result, Seed, StepTime, StopReason, Workload};
use siren_hsp::{
    Checkpoint, Config, MemoryStore, ShardWorker, StopHandle, Trainer, TrainerParts, TrainingResult,
};
use siren_report::metric;

use crate::progress::Progress;
use crate::{Flags, print_line, print_note, schedulers};

/// A workload with its data.
pub struct Subject {
    /// The workload.
    pub workload: Arc<dyn Workload>,
    /// The training data.
    pub train: Arc<dyn DataSource>,
    /// The data to measure the model on.
    pub held_out: Arc<dyn DataSource>,
    /// Time of a step on one vCPU, for simulations and planners.
    pub step: StepTime,
}

/// Trains on this machine or on simulated functions, until a stop rule holds or Ctrl-C is pressed.
///
/// # Errors
///
/// As [`Trainer::run`]; when the simulation cannot be read.
pub async fn train(name: &str, flags: &Flags, subject: Subject) -> Result<TrainingResult> {
    let Subject { workload, train, held_out, step } = subject;
    let config = flags.config(name);
    config.check(train.len())?;
    let store = Arc::new(MemoryStore::initialised(&*workload, config.seed)?);
    let worker = Arc::new(ShardWorker::new(Arc::clone(&workload)));
    let held_out = Some(held_out);
    if !flags.simulated() {
        let belief = schedulers::Belief { profile: schedulers::this_machine(), step };
        let scheduler = belief.scheduler(flags, &config, workload.dim(), &*train).await?;
        let backend =
            LocalBackend::with_threads(worker, store.clone(), Arc::clone(&train), flags.threads())?;
        let backend = Arc::new(backend);
        let parts = TrainerParts { workload, train, held_out, store, backend, scheduler };
        return drive(name, flags, parts, config).await;
    }
    let simulation = flags.simulation.as_ref().map(Simulation::read).transpose()?;
    let mut simulation = simulation.unwrap_or_default();
    if simulation.step == StepTime::default() {
        simulation.step = step;
    }
    let belief = schedulers::Belief { profile: simulation.profile.clone(), step: simulation.step };
    let flags = &flags.clone().fit_memory(&belief.profile.platform);
    let scheduler = belief.scheduler(flags, &config, workload.dim(), &*train).await?;
    let (sim_store, seed) = (SimStore::Ideal(store), Seed::new(config.seed));
    let sim = SimBackend::functions(worker, sim_store, train, simulation, seed)?;
    let sim = Arc::new(sim.with_threads(flags.threads())?);
    let (train, store, backend) = (sim.data(), sim.store(), sim.clone());
    let parts = TrainerParts { workload, train, held_out, store, backend, scheduler };
    let running = drive(name, flags, parts, config);
    tokio::task::block_in_place(|| sim.run(running))?
}

/// Trains with these parts, with live progress, until a stop rule holds or Ctrl-C is pressed.
/// Continues from the checkpoint if `--resume` names one.
///
/// # Errors
///
/// As [`train`].
pub async fn drive(
    name: &str,
    flags: &Flags,
    parts: TrainerParts,
    config: Config,
) -> Result<TrainingResult> {
    let progress = Progress::new(flags.quiet, parts.train.len());
    let trainer = trainer(name, flags, parts, config)?.with_observer(progress);
    let interrupt = tokio::spawn(stop_on_interrupt(trainer.stop_handle()));
    let trained = trainer.run().await;
    interrupt.abort();
    trained
}

/// Returns a new trainer, or one that continues the run that the flags name.
fn trainer(name: &str, flags: &Flags, parts: TrainerParts, config: Config) -> Result<Trainer> {
    let Some(folder) = &flags.resume else {
        return Trainer::new(parts, config);
    };
    let checkpoint = Checkpoint::load(folder)?;
    let run = &checkpoint.config().run;
    if run != name {
        return Err(Error::rejected(format!(
            "the run in {} is {run}, not {name}: resume it with the flags that started it",
            folder.display()
        )));
    }
    Trainer::resume(parts, config, checkpoint)
}

/// The first Ctrl-C stops the run and keeps its last checkpoint; the second one ends the process.
async fn stop_on_interrupt(stop: StopHandle) {
    if tokio::signal::ctrl_c().await.is_ok() {
        print_note!("\nstopping; press Ctrl-C again to quit at once");
        stop.stop();
        if tokio::signal::ctrl_c().await.is_ok() {
            std::process::exit(130);
        }
    }
}

/// The last evaluation of a run and the first one, on a line for the loss and one for each metric.
pub fn evaluated(last: &Evaluation, initial: &Evaluation) -> String {
    let mut lines = format!("  loss      {:.4} (before: {:.4})", last.loss, initial.loss);
    for (name, &value) in &last.metrics {
        lines += &format!("\n  {:<9} {}", metric::label(name), metric::text(name, value));
        if let Some(before) = initial.metric(name) {
            lines += &format!(" (before: {})", metric::text(name, before));
        }
    }
    lines
}

/// Writes the report of a run and prints its summary. `command` is the command line that resumes
/// it.
///
/// # Errors
///
/// When the report cannot be written.
pub fn summarise(trained: &TrainingResult, folder: &Path, command: &str) -> Result<ExitCode> {
    let outcome = &trained.outcome;
    if outcome.epochs == 0 && outcome.reason == StopReason::Budget {
        return Err(Error::rejected(outcome.detail.clone().unwrap_or_default()));
    }
    let record = &trained.record;
    let report = folder.join("report.html");
    // A run that ended before its first epoch leaves the files of an earlier one alone.
    if trained.started {
        siren_report::write(record, &report)?;
    }
    print_line!(
        "{}{}",
        outcome.reason,
        match &outcome.detail {
            Some(detail) => format!(": {detail}"),
            None => String::new(),
        }
    );
    let estimate =
        if record.info.platform.estimated { " at AWS Lambda's prices, an estimate" } else { "" };
    print_line!("  epochs    {}", outcome.epochs);
    print_line!("{}", evaluated(&outcome.evaluation, &record.initial));
    // Seconds of the platform's clock: virtual ones where it is simulated.
    print_line!("  time      {:.1} s", outcome.elapsed.as_secs_f64());
    print_line!("  cost      {}{estimate}", outcome.cost);
    if trained.started {
        print_line!("  report    {}", report.display());
    }
    let more = match outcome.reason {
        StopReason::Interrupted => Some(""),
        StopReason::Budget => Some(" --budget MORE"),
        StopReason::TimeLimit => Some(" --time-limit LONGER"),
        _ => None,
    };
    if let (Some(more), true) = (more, trained.started) {
        print_line!("resume with: {command} --resume {}{more}", folder.display());
    }
    Ok(match outcome.reason {
        StopReason::Interrupted => ExitCode::from(130),
        StopReason::Diverged => {
            print_note!(
                "the last good checkpoint is in {}; try a smaller --learning-rate",
                folder.display()
            );
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    })
}

/// Reports an error on one line.
pub fn fail(error: &Error) -> ExitCode {
    print_note!("error: {}", error.chain());
    ExitCode::FAILURE
}
