//! Hybrid Synchronous Parallel (HSP) training.
//!
//! All workers of an epoch start together and end together. In between, each worker pulls
//! parameters and pushes updates without waiting for the others. This crate contains the loops of
//! the worker ([`ShardWorker`]) and of the [`Trainer`], and two stores that apply updates: the
//! [store in memory](MemoryStore), and [`ObjectStore`] over shared [objects](siren_core::objects).
//! It also contains the [`Ledger`], the [`Checkpoint`] and the [history](RunRecord) of a run.

mod checkpoint;
mod config;
mod evaluate;
mod fingerprint;
mod forecast;
mod history;
pub mod kernel;
mod learning_rate;
mod ledger;
mod memory_objects;
pub mod preview;
mod retry;
mod schedulers;
mod store;
mod trainer;
mod worker;
/// For the tests of other crates.
#[cfg(any(test, feature = "yardstick"))]
#[doc(hidden)]
pub mod yardstick {
    pub use crate::store::CasStore;
}

pub use checkpoint::Checkpoint;
pub use config::{Config, StopRules};
pub use evaluate::evaluate;
pub use fingerprint::fingerprint;
pub use history::{
    EpochRecord, HistoryEvent, OutcomeRecord, RunInfo, RunRecord, SCHEMA, read_history,
};
pub use learning_rate::{LearningRate, LrClock, LrDecay};
pub use ledger::{Ledger, Reservation};
pub use memory_objects::MemoryObjects;
pub use retry::Retry;
pub use schedulers::{FixedScheduler, PhasedScheduler};
pub use store::{MemoryStore, ObjectOptions, ObjectStore};
pub use trainer::{
    Event, MAX_PROGRESS_POLLS, Observer, StopHandle, Trainer, TrainerParts, TrainingResult,
};
pub use worker::ShardWorker;
