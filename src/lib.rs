//! Train machine-learning models on a swarm of serverless functions.
//!
//! This crate is the front door: it re-exports the others, those that need heavy dependencies behind
//! features.
//!
//! | feature | adds | default |
//! | --- | --- | --- |
//! | `local` | [`LocalBackend`]: workers in this process | yes |
//! | `burn` | [`burn`]: any burn module as a workload | no |
//! | `linear` | [`linear`]: logistic regression of dense and sparse features | no |
//! | `sim` | [`sim`]: workers on simulated AWS Lambda and S3, or on a rented machine | no |
//! | `planner` | [`drl`]: models of jobs, the planner, the optimum to judge schedulers by | no |
//! | `drl` | with them the learned scheduler, on burn | no |
//! | `lambda` | [`lambda`]: workers on AWS Lambda, parameters and data on S3 | no |
//! | `report` | [`report`]: one self-contained HTML page for a run | no |
//!
//! # Six nouns
//!
//! A [`Workload`] is what is learned, a [`ParameterStore`] is where the parameters live, a
//! [`Worker`] is what runs in one function invocation, a [`Backend`] is where workers run, a
//! [`Scheduler`] says how many of what memory size, and the [`Trainer`] is the loop over epochs that
//! ties them together.
//!
//! In an epoch all workers start together and end together; in between each one pulls parameters and
//! pushes updates on its own, waiting for nobody. That is Hybrid Synchronous Parallel SGD, from the
//! paper "Distributed Machine Learning with a Serverless Architecture" (Wang, Niu, Li, INFOCOM 2019),
//! which calls its system SIREN.
//!
//! What workers wait for in between is a value, [`SyncMode`]: nothing, one another in every round
//! (bulk), or who is too many rounds behind (stale). [`Compression`] leaves out what is small.
//!
//! # Example
//!
//! See `quickstart` and `custom_workload` among the repository's examples: a workload of one's own
//! in one file. In short, with a workload and two data sources at hand:
//!
//! ```no_run
//! use std::sync::Arc;
//! use siren::{Config, DataSource, FixedScheduler, Result, Workload};
//!
//! # async fn example(workload: Arc<dyn Workload>, train: Arc<dyn DataSource>,
//! # test: Arc<dyn DataSource>) -> Result<()> {
//! let scheduler = FixedScheduler::new(4, 1_769); // four workers of 1,769 MB
//! let trainer = siren::local(workload, train, Some(test), scheduler, Config::default())?;
//! let trained = trainer.run().await?;
//! println!("{}: loss {}", trained.outcome.reason, trained.outcome.loss);
//! # Ok(())
//! # }
//! ```

/// For implementations of the traits that wait: they are `async` traits, and this attribute stands
/// before each `impl`.
pub use async_trait::async_trait;
pub use siren_core::*;
pub use siren_data as data;
pub use siren_hsp::{
    Checkpoint, Config, EpochRecord, Evaluation, Event, FixedScheduler, HistoryEvent, LearningRate,
    Ledger, LrDecay, MemoryObjects, MemoryStore, ObjectOptions, ObjectStore, Observer,
    OutcomeRecord, PhasedScheduler, Reservation, Retry, RunInfo, RunRecord, SCHEMA, ShardWorker,
    StopHandle, StopRules, Trainer, TrainerParts, TrainingResult, evaluate, kernel, preview,
    read_history,
};

#[cfg(feature = "lambda")]
pub use siren_backend_lambda as lambda;
#[cfg(feature = "local")]
pub use siren_backend_local::LocalBackend;
#[cfg(feature = "sim")]
pub use siren_backend_sim as sim;
#[cfg(feature = "burn")]
pub use siren_burn as burn;
#[cfg(feature = "planner")]
pub use siren_drl as drl;
#[cfg(feature = "linear")]
pub use siren_linear as linear;
#[cfg(feature = "report")]
pub use siren_report as report;

#[cfg(feature = "local")]
mod local;
#[cfg(feature = "local")]
pub use local::local;

/// The README's examples, compiled and run by the tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
