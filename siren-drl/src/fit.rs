//! Models fitted to the records of runs.

mod curve;
mod money;
mod robust;
mod sample;
mod times;

use sample::Sample;
use serde::{Deserialize, Serialize};
use siren_core::{Requests, Result};

use crate::history::RunHistory;
use crate::model::{Chance, Dynamics, JobModel, PUSHES, Shards, Staleness};

/// A model that was fitted to runs, and its accuracy.
#[derive(Clone, Debug, PartialEq)]
pub struct FittedModel {
    /// The model.
    pub model: JobModel,
    /// The accuracy of the model.
    pub quality: FitQuality,
}

/// The accuracy of a model's predictions on epochs that ran.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FitQuality {
    /// The errors on the epochs that it was fitted to.
    pub fitted: FitError,
    /// The errors on the last third of each run, by a model that was fitted to the first two
    /// thirds. `None` with fewer than 6 epochs.
    pub ahead: Option<FitError>,
    /// The number of epochs that it was fitted to.
    pub epochs: usize,
}

/// Mean relative errors: 0.1 is 10 %.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FitError {
    /// Of an epoch's time from launch to barrier.
    pub time: f64,
    /// Of an epoch's cost.
    pub cost: f64,
    /// Of the loss after an epoch, predicted from the beginning of the run.
    pub loss: f64,
}

impl JobModel {
    /// Fits a model to runs on any backend, without other knowledge of the job. The prior of
    /// [`fit_from`](Self::fit_from) then has the platform's prices and the guesses of
    /// [`predicted`](Self::predicted) for the loss and staleness. Without a platform in the
    /// history, the prices are those of AWS Lambda. Without a target in it, the target is the
    /// lowest loss.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected), naming the value, when one
    /// is missing or invalid in the history.
    pub fn fit(history: &RunHistory) -> Result<FittedModel> {
        history.check()?;
        Self::fit_from(&prior(history), history)
    }

    /// Fits a model to runs, with `prior` as the model before the fit. The fit is least squares in
    /// the logarithms of times and costs, with a weak pull towards the prior. The prior decides
    /// whatever the runs do not show: the benefit of more memory, if all epochs ran with the same
    /// size; the loss of progress with more functions, if all epochs ran with the same number; and
    /// the forms of all terms. The target is the last run's, if it had one.
    ///
    /// Epochs that the budget or the time limit cut short count for the loss only.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected), naming the value, when one
    /// is missing or invalid in the history or the prior.
    pub fn fit_from(prior: &Self, history: &RunHistory) -> Result<FittedModel> {
        prior.check()?;
        history.check()?;
        let model = fitted(prior, history);
        model.check()?;
        let samples = sample::of(history, &model);
        let few = history.runs.iter().map(|run| run.epochs.len()).max().unwrap_or(0) < 6;
        let ahead = (!few).then(|| {
            let part = history.thirds(2);
            let before = fitted(prior, &part);
            let lengths: Vec<usize> = part.runs.iter().map(|run| run.epochs.len()).collect();
            fit_error(&before, &samples, |sample| sample.index >= lengths[sample.run])
        });
        let fitted = fit_error(&model, &samples, |_| true);
        Ok(FittedModel { quality: FitQuality { fitted, ahead, epochs: samples.len() }, model })
    }
}

/// The prior for a job of which only the history is known.
fn prior(history: &RunHistory) -> JobModel {
    let last = |of: fn(&crate::history::Run) -> Option<siren_core::Platform>| {
        history.runs.iter().rev().find_map(of)
    };
    let mut prior = JobModel { name: "fitted".into(), ..JobModel::default() };
    if let Some(platform) = last(|run| run.platform.clone()) {
        prior.platform = platform;
    }
    let config = history.runs.iter().rev().find_map(|run| run.config.as_ref());
    let epochs = || history.runs.iter().flat_map(|run| &run.epochs);
    let batches = epochs().filter(|epoch| epoch.complete).map(|e| e.batches).max().unwrap_or(0);
    if let (Some(config), true) = (config, batches > 0) {
        let (batches, local_steps) = (batches as f64, config.local_steps.max(1) as f64);
        prior.shards = Shards { batches, local_steps };
        prior.update.shared_rounds = batches / local_steps;
        prior.staleness = Staleness { workers: batches / local_steps / PUSHES, fall: 0.0 };
    }
    let prices = &prior.platform.prices;
    prior.fees.call_usd = prices.invocation.dollars();
    let update = Requests { reads: 1, writes: 1 };
    prior.fees.update_usd = prior.platform.requests_cost(update).dollars();
    let lowest = epochs().map(|epoch| epoch.evaluation.loss).fold(f64::INFINITY, f64::min);
    let target = config.and_then(|config| config.stop.target_loss).unwrap_or(lowest);
    let initial = history.runs.iter().find_map(|run| run.initial);
    let initial =
        initial.unwrap_or_else(|| epochs().map(|e| e.evaluation.loss).fold(f64::MIN, f64::max));
    prior.with_target(initial, target, epochs().count().max(10) as f64)
}

fn fitted(prior: &JobModel, history: &RunHistory) -> JobModel {
    let mut model = prior.clone();
    let targets = history.runs.iter().rev().filter_map(|run| run.config.as_ref());
    if let Some(target) = targets.filter_map(|config| config.stop.target_loss).next() {
        model.target_loss = target;
    }
    curve::fit(&mut model, history);
    let samples = sample::of(history, &model);
    times::fit(&mut model, &samples);
    money::fit(&mut model, &samples);
    model
}

fn fit_error(model: &JobModel, samples: &[Sample], of: impl Fn(&Sample) -> bool) -> FitError {
    let relative = |found: f64, known: f64| (found / known - 1.0).abs();
    let (mut time, mut cost, mut loss) = (Vec::new(), Vec::new(), Vec::new());
    // The current run, and the job's progress in it by the model.
    let (mut run, mut progress) = (usize::MAX, 0.0);
    for sample in samples {
        if sample.run != run {
            (run, progress) = (sample.run, 0.0);
        }
        let mut at = sample.at;
        at.progress = progress;
        let epoch = model.epoch(at, sample.allocation, &Chance::EXPECTED);
        progress += epoch.progress * sample.share;
        if !of(sample) {
            continue;
        }
        if sample.whole {
            time.push(relative(epoch.elapsed_s, sample.elapsed_s));
            let all = sample.cost_usd + sample.beside_usd;
            if all > 0.0 {
                cost.push(relative(epoch.cost_usd, all));
            }
        }
        if sample.loss != 0.0 {
            loss.push(relative(model.loss(progress), sample.loss));
        }
    }
    let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len().max(1) as f64;
    FitError { time: mean(&time), cost: mean(&cost), loss: mean(&loss) }
}

#[cfg(test)]
mod tests;
