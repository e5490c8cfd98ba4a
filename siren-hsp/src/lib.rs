//! Hybrid Synchronous Parallel (HSP) training.
//!
//! All workers of an epoch start together and end together; in between each one pulls parameters
//! and pushes updates on its own, waiting for nobody. This crate holds both loops, the
//! [`ShardWorker`]'s and the [`Trainer`]'s, the [store in memory](MemoryStore) and the one over shared
//! [objects] ([`ObjectStore`]) that updates are applied in, and what a run needs around them: [data sources](data), the [`Ledger`], the
//! [`Checkpoint`] and the [history](RunRecord).

mod checkpoint;
mod config;
pub mod data;
mod evaluate;
mod forecast;
mod history;
pub mod kernel;
mod learning_rate;
mod ledger;
pub mod objects;
pub mod preview;
mod retry;
mod schedulers;
mod store;
mod trainer;
mod worker;

pub use checkpoint::Checkpoint;
pub use config::{Config, StopRules};
pub use evaluate::evaluate;
pub use history::{
    EpochRecord, Evaluation, HistoryEvent, OutcomeRecord, RunInfo, RunRecord, SCHEMA, read_history,
};
pub use learning_rate::{LearningRate, LrDecay};
pub use ledger::{Ledger, Reservation};
pub use retry::Retry;
pub use schedulers::{FixedScheduler, PhasedScheduler};
pub use store::{CasStore, MemoryStore, ObjectOptions, ObjectStore};
pub use trainer::{
    Event, MAX_PROGRESS_POLLS, Observer, StopHandle, Trainer, TrainerParts, TrainingResult,
};
pub use worker::ShardWorker;
