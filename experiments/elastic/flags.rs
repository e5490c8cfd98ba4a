//! The flags of the experiment.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use serde::Serialize;
use siren_core::{Noise, SyncMode};
use siren_examples::sentences::reviews;
use siren_examples::tables;
use siren_hsp::Config;

/// Training with any number of simulated functions, and with a number that changes.
#[derive(Parser)]
#[command(name = "elastic")]
pub(crate) struct Command {
    /// Workloads to train
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    #[arg(help = default_of("Workloads to train", "all", "census,lenet"), help_heading = TRAINING)]
    workloads: Vec<Name>,
    /// Modes to compare
    #[arg(long, value_name = "MODE,...", value_delimiter = ',')]
    #[arg(default_value = "hybrid-plain,hybrid,bulk", help_heading = TRAINING)]
    pub(crate) modes: Vec<Mode>,
    #[arg(long, alias = "lr", value_name = "RATE", help = own("Learning rate"))]
    #[arg(help_heading = TRAINING)]
    pub(crate) learning_rate: Option<f32>,
    #[arg(long, value_name = "N", help = own("Examples in a batch"), help_heading = TRAINING)]
    pub(crate) batch_size: Option<u64>,
    #[arg(long, value_name = "N", help = default_of("Repeats of each run; LeNet always has one, the sentences five at most", "5", "1"))]
    #[arg(value_parser = clap::value_parser!(u64).range(1..), help_heading = TRAINING)]
    seeds: Option<u64>,
    /// Run every workload also with parameters in objects on S3, not only census-kdd
    #[arg(long, help_heading = TRAINING)]
    pub(crate) objects: bool,
    /// Parts of the data, fewer numbers of functions, one repeat
    #[arg(long, help_heading = TRAINING)]
    pub(crate) quick: bool,
    #[arg(long, value_name = "N,...", value_delimiter = ',', help = own("Numbers of functions"))]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    #[arg(help_heading = "Schedule and budget")]
    pub(crate) workers: Vec<u32>,
    /// Folder with census-kdd and obd-click
    #[arg(long, value_name = "DIR", default_value_os_t = tables::bundled_clicks())]
    #[arg(help_heading = DATA)]
    pub(crate) data: PathBuf,
    /// File with movie reviews
    #[arg(long, value_name = "FILE", default_value_os_t = reviews::bundled())]
    #[arg(help_heading = DATA)]
    pub(crate) reviews: PathBuf,
    /// Folder for elastic.json and report.html
    #[arg(long, value_name = "DIR", default_value = "target/siren/elastic")]
    #[arg(help_heading = DATA)]
    pub(crate) out: PathBuf,
    /// Simulate the platform in this TOML file instead of AWS Lambda
    #[arg(long, value_name = "FILE", help_heading = "Simulation")]
    pub(crate) simulation: Option<PathBuf>,
}

const TRAINING: &str = "Training";
const DATA: &str = "Data and output";

/// A line of help with the defaults without and with --quick.
fn default_of(help: &str, usual: &str, quick: &str) -> String {
    format!("{help} [default: {usual}; {quick} with --quick]")
}

/// A line of help for a value that each workload has its own default of.
fn own(help: &str) -> String {
    format!("{help} [default: that of each workload]")
}

/// A workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Name {
    /// Logistic regression on census-kdd
    Census,
    /// Logistic regression on obd-click
    Clicks,
    /// LeNet on MNIST
    Lenet,
    /// Kim's sentence network on movie reviews
    Sentences,
}

/// A synchronisation mode, with or without the noise rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// Hybrid mode, each update applied in full
    HybridPlain,
    /// Hybrid mode with the noise rule
    Hybrid,
    /// Bulk mode
    Bulk,
}

impl Mode {
    /// These settings in this mode.
    pub(crate) fn apply(self, config: &Config) -> Config {
        let (sync_mode, noise) = match self {
            Self::HybridPlain => (SyncMode::Hybrid, Noise::Off),
            Self::Hybrid => (SyncMode::Hybrid, Noise::RULE),
            Self::Bulk => (SyncMode::Bulk, Noise::Measure),
        };
        Config { sync_mode, noise: Some(noise), ..config.clone() }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::HybridPlain => "hybrid-plain",
            Self::Hybrid => "hybrid",
            Self::Bulk => "bulk",
        }
    }
}

impl Command {
    pub(crate) fn workloads(&self) -> Vec<Name> {
        match (self.workloads.as_slice(), self.quick) {
            ([], false) => vec![Name::Census, Name::Clicks, Name::Lenet, Name::Sentences],
            ([], true) => vec![Name::Census, Name::Lenet],
            (given, _) => given.to_vec(),
        }
    }

    /// The number of times that each run is repeated.
    pub(crate) fn repeats(&self) -> u64 {
        self.seeds.unwrap_or(if self.quick { 1 } else { 5 })
    }

    /// `true` if the flags name the runs to make: then none of these is left out.
    pub(crate) fn is_narrow(&self) -> bool {
        self.quick || !self.workers.is_empty()
    }

    /// The numbers of functions, in rising order, where a workload has these by default.
    pub(crate) fn workers(&self, usual: &[u32], quick: &[u32]) -> Vec<u32> {
        let default = if self.quick { quick } else { usual };
        let given = if self.workers.is_empty() { default } else { &self.workers };
        let mut workers = given.to_vec();
        workers.sort_unstable();
        workers.dedup();
        workers
    }
}
