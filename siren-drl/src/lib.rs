//! Schedulers for Siren: how many functions of what memory size in each epoch, so that a job reaches its
//! target loss as fast as possible within a budget.
//!
//! A [`JobModel`] says in closed form what an epoch takes, costs and brings: one that is given, one that is
//! [predicted](JobModel::predicted) for a workload on a platform, or one that is [fitted](JobModel::fit) to
//! runs. An [`Environment`] plays it, by the conventions of Gymnasium.

mod env;
mod fit;
mod history;
mod model;
mod play;
mod solve;
mod state;
mod task;

pub use env::{Environment, Info, Saved, SavedVector, Step, Vector};
pub use fit::{Errors, Fit, Misfit};
pub use history::RunHistory;
pub use model::{
    At, Chance, Compute, Dynamics, Epoch, Fees, Fetch, JobModel, Loss, Noise, PROFILES, Shards,
    Staleness, Start, Update,
};
pub use play::{Episode, Score, play};
pub use state::State;
pub use task::{Bounds, Reward, Task};
