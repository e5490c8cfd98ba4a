//! The tables for decisions about a job.

use siren_core::Job;

use super::horizon::Horizon;
use super::price_table::{self, PriceTable, Uncertainty};
use crate::bounds::Bounds;
use crate::choice::{memory_sizes, worker_counts};
use crate::model::Dynamics;

/// A job and its tables.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) job: Job,
    pub(super) horizon: Horizon,
    pub(super) tables: Vec<PriceTable>,
    pub(super) noise: Uncertainty,
}

impl Plan {
    pub(super) fn new(model: &dyn Dynamics, job: &Job, bounds: Bounds) -> Self {
        let horizon = Horizon::of(model, job);
        let counts = worker_counts(bounds.workers, 1.12);
        let sizes = memory_sizes(&bounds, 48);
        let tables = price_table::tables(model, &horizon, &counts, &sizes);
        let noise = Uncertainty::of(model, horizon.end(), &counts, &sizes);
        Self { job: job.clone(), horizon, tables, noise }
    }
}
