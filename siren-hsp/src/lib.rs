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
mod history;
pub mod kernel;
mod ledger;
pub mod objects;
pub mod preview;
mod rate;
mod retry;
mod schedule;
mod store;
mod trainer;
mod worker;

pub use checkpoint::Checkpoint;
pub use config::{Config, Stop};
pub use evaluate::evaluate;
pub use history::{
    EpochRecord, Evaluation, Line, OutcomeRecord, RunRecord, SCHEMA, Setting, read_history,
};
pub use ledger::{Ledger, Reservation};
pub use rate::{Decay, Rate};
pub use retry::Retry;
pub use schedule::{Fixed, Schedule};
pub use store::{CasStore, MemoryStore, ObjectOptions, ObjectStore};
pub use trainer::{Event, GLANCES, Observer, Parts, StopHandle, Trained, Trainer};
pub use worker::ShardWorker;
