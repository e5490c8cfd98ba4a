//! The end of a job.

use siren_core::Job;

use crate::choice::Choice;
use crate::model::Dynamics;

/// The end of a job: its target, and its epochs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Horizon {
    /// Ideal epochs to the target, if there is one.
    pub(super) target: Option<f64>,
    pub(super) epochs: u64,
}

impl Horizon {
    pub(super) fn of(model: &dyn Dynamics, job: &Job) -> Self {
        let target = job.target_loss.map(|loss| model.progress_at(loss));
        let target = target.filter(|needed| (0.0..1e12).contains(needed));
        Self { target, epochs: job.epochs.max(1) }
    }

    /// The number of ideal epochs to tabulate.
    pub(super) fn end(&self) -> f64 {
        self.target.unwrap_or((self.epochs as f64).min(1e6)).max(1.0)
    }

    /// The seconds and dollars to minimise: of an ideal epoch if there is a target, otherwise of an
    /// epoch.
    pub(super) fn rate(&self, choice: &Choice) -> (f64, f64) {
        let of = if self.target.is_some() { choice.progress } else { 1.0 };
        (choice.seconds / of, choice.dollars / of)
    }
}
