//! The flags of the experiment, and the settings that follow from them.

use std::fmt::Display;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use siren_core::{Platform, Result, Seed};
use siren_drl::agent::TrainingSettings;
use siren_drl::{JobModel, PROFILES, SchedulingTask};
use siren_experiments::contest::learning::Lesson;
use siren_experiments::contest::{Budget, Terms};

/// Schedulers within several budgets, compared with the optimum.
#[derive(Parser)]
#[command(name = "scheduler")]
pub(crate) struct Command {
    /// Profile of the job
    #[arg(long, value_name = "NAME", default_value = "seed", value_parser = PROFILES.map(|(name, _)| name))]
    #[arg(help_heading = JOB)]
    pub(crate) profile: String,
    /// Share of an epoch's computing that vCPUs divide among them [default: the profile's]
    #[arg(long, value_name = "P", help_heading = JOB)]
    parallel_share: Option<f64>,
    /// Loss to reach [default: the profile's]
    #[arg(long, value_name = "LOSS", allow_negative_numbers = true, help_heading = JOB)]
    target: Option<f64>,
    /// Limits of the platform [default: the profile's]
    #[arg(long, value_name = "PLATFORM", help_heading = JOB)]
    platform: Option<PlatformName>,
    #[arg(long, help = default("Budgets in US dollars, one table for each", BUDGETS.map(list)))]
    #[arg(value_name = "USD,...", value_delimiter = ',', allow_negative_numbers = true)]
    #[arg(help_heading = JOB)]
    budgets: Vec<f64>,
    /// Algorithm that trains agents
    #[arg(long, value_name = "ALGORITHM", default_value = "ppo", help_heading = TRAINING)]
    algorithm: Algorithm,
    #[arg(long, help = default("Seeds that agents are trained from", SEEDS))]
    #[arg(value_name = "K", help_heading = TRAINING)]
    seeds: Option<u64>,
    /// Environment steps of each training [default: the algorithm's]
    #[arg(long, value_name = "N", help_heading = TRAINING)]
    steps: Option<u64>,
    /// Train only agents that first imitate the planner
    #[arg(long, help_heading = TRAINING)]
    warm_start: bool,
    #[arg(long, help = default("Episodes that each scheduler is judged by", EPISODES))]
    #[arg(value_name = "N", help_heading = TRAINING)]
    episodes: Option<u64>,
    /// Seed of all randomness
    #[arg(long, value_name = "SEED", default_value_t = 1, help_heading = TRAINING)]
    seed: u64,
    /// Fewer budgets, seeds, steps and episodes; only agents that are trained from scratch
    #[arg(long, help_heading = TRAINING)]
    pub(crate) quick: bool,
    /// Folder for scheduler.json, report.html, the figures, logs of training, and an agent for
    /// similar jobs
    #[arg(long, value_name = "DIR", default_value = "target/siren/scheduler")]
    #[arg(help_heading = "Data and output")]
    pub(crate) out: PathBuf,
    /// File for the agent of the first budget's table, from scratch if there is one
    #[arg(long, value_name = "FILE", help_heading = "Data and output")]
    pub(crate) save: Option<PathBuf>,
}

/// The budgets without and with --quick.
const BUDGETS: [&[f64]; 2] = [&[300.0, 200.0, 100.0, 50.0], &[200.0, 50.0]];
/// The seeds without and with --quick.
const SEEDS: [u64; 2] = [10, 2];
/// The episodes without and with --quick.
const EPISODES: [u64; 2] = [200, 50];

/// A line of help with the defaults without and with --quick.
fn default(help: &str, [usual, quick]: [impl Display; 2]) -> String {
    format!("{help} [default: {usual}; {quick} with --quick]")
}

fn list(numbers: &[f64]) -> String {
    numbers.iter().map(f64::to_string).collect::<Vec<_>>().join(",")
}

const JOB: &str = "Schedule and budget";
const TRAINING: &str = "Training";

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum PlatformName {
    /// AWS Lambda as it is now: 1,000 functions of 128 to 10,240 MB
    Lambda,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Algorithm {
    /// Proximal policy optimisation
    Ppo,
    /// REINFORCE with a learned baseline, as in the SIREN paper
    Reinforce,
}

/// Episodes of the planner that an agent imitates.
const IMITATED: usize = 16;

impl Command {
    pub(crate) fn budgets(&self) -> Vec<f64> {
        match self.budgets.as_slice() {
            [] => BUDGETS[usize::from(self.quick)].to_vec(),
            given => given.to_vec(),
        }
    }

    /// The settings of trainings: from scratch, warm-started, or both.
    pub(crate) fn settings(&self) -> Vec<TrainingSettings> {
        let mut settings = match self.algorithm {
            Algorithm::Ppo => TrainingSettings::ppo(),
            Algorithm::Reinforce => TrainingSettings::reinforce(),
        };
        if self.quick {
            settings.steps = 200_000;
            settings.evaluate_episodes = 32;
            settings.evaluate_every = 8;
        }
        settings.steps = self.steps.unwrap_or(settings.steps);
        let warm = TrainingSettings { warm_start: IMITATED, ..settings };
        match (self.warm_start, self.quick) {
            (true, _) => vec![warm],
            (false, true) => vec![settings],
            (false, false) => vec![settings, warm],
        }
    }

    pub(crate) fn lessons(&self, budgets: &[Budget]) -> Vec<Lesson> {
        let seeds = self.seeds.unwrap_or(SEEDS[usize::from(self.quick)]);
        let mut lessons = Vec::new();
        for budget in budgets {
            let Some(lower_s) = budget.lower_bound_s else { continue };
            for settings in self.settings() {
                let lesson =
                    |seed| Lesson { budget_usd: budget.budget_usd, lower_s, seed, settings };
                lessons.extend((0..seeds).map(lesson));
            }
        }
        lessons
    }

    pub(crate) fn terms(&self) -> Result<Terms> {
        let mut model = JobModel::named(&self.profile)?;
        if let Some(share) = self.parallel_share {
            model.compute.parallel_share = share;
        }
        if let Some(PlatformName::Lambda) = self.platform {
            model.platform = Platform::aws_lambda();
        }
        model.check()?;
        let mut task = SchedulingTask::new(model.clone(), 0.0)?;
        task.target_loss = self.target.unwrap_or(task.target_loss);
        task.check()?;
        Ok(Terms {
            // The size at which the model agrees best with the talk's grid search.
            grid_memory_mb: if self.profile == "conservative" { 1_664 } else { 1_536 },
            episodes: self.episodes.unwrap_or(EPISODES[usize::from(self.quick)]).max(1),
            seed: Seed::new(self.seed),
            model,
            task,
        })
    }
}
