//! Rows: one for each run in elastic.json, and one for the repeats of a run in the table.

use serde::Serialize;
use siren_experiments::lab::Run;
use siren_experiments::lab::rows::digits;

use crate::cells::{Cell, Quality, Subject};
use crate::flags::Mode;

/// One run, as elastic.json has it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) workload: String,
    pub(crate) mode: Mode,
    pub(crate) schedule: String,
    /// The most functions of any pass.
    pub(crate) workers: u32,
    pub(crate) seed: u64,
    /// Passes until the held-out loss is at most the target for the first time.
    pub(crate) passes: Option<u64>,
    pub(crate) reached: bool,
    /// `true` if a value was not finite, or if after a pass the held-out loss was above the
    /// workload's limit and had not fallen.
    pub(crate) diverged: bool,
    /// The loss or accuracy after the last pass; `None` if no pass was finished.
    pub(crate) quality: Option<f64>,
    pub(crate) time_s: f64,
    pub(crate) cost_usd: f64,
    pub(crate) requests_usd: f64,
}

/// A loss falls in a pass if it is at most this share of the loss before. A slow start is no
/// divergence, and a network of dead units does not count as falling.
pub(crate) const FALLEN: f64 = 0.98;

/// A run with the figures that elastic.json does not have.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) row: Row,
    /// Progress and held-out loss, before the first pass and after each.
    pub(crate) curve: Vec<(f64, f64)>,
    /// Progress for each pass over the data.
    progress: f64,
    /// Mean staleness of the updates, in updates.
    staleness: f64,
    /// The highest held-out loss after a pass.
    highest: f64,
}

impl Outcome {
    pub(crate) fn new(cell: &Cell, subject: &Subject, seed: u64, run: &Run) -> Self {
        let epochs = &run.record.epochs;
        let losses = || epochs.iter().map(|epoch| epoch.evaluation.loss);
        let at = |target| losses().position(|loss| loss <= target);
        let passes = subject.target.and_then(at).map(|at| at as u64 + 1);
        // An epoch in which a value is not finite ends the run, and has no record.
        let is_short = (epochs.len() as u64) < cell.passes;
        let quality = epochs.last().and_then(|epoch| match subject.quality {
            Quality::Loss => Some(epoch.evaluation.loss),
            Quality::Accuracy => epoch.evaluation.accuracy(),
        });
        let start = std::iter::once(run.record.initial.loss);
        let has_risen = start
            .chain(losses())
            .zip(losses())
            .any(|(before, after)| after > subject.limit && after > FALLEN * before);
        let row = Row {
            workload: subject.name.clone(),
            mode: cell.mode,
            schedule: cell.schedule.to_string(),
            workers: cell.schedule.most(),
            seed,
            passes,
            reached: passes.is_some(),
            diverged: is_short || has_risen,
            quality,
            time_s: run.time_s,
            cost_usd: run.cost.dollars(),
            requests_usd: (run.cost - run.cost_without_requests).dollars(),
        };
        let curve = run.loss_by_progress();
        let progress = curve.last().map_or(0.0, |&(progress, _)| progress);
        let updates: u64 = epochs.iter().map(|epoch| epoch.updates).sum();
        let stale: f64 = epochs.iter().map(|e| e.staleness_mean * e.updates as f64).sum();
        Self {
            row,
            staleness: stale / updates.max(1) as f64,
            progress: progress / epochs.len().max(1) as f64,
            highest: losses().fold(f64::NAN, f64::max),
            curve,
        }
    }
}

/// The names of the columns.
pub(crate) const HEADER: [&str; 13] = [
    "workload",
    "mode",
    "schedule",
    "workers",
    "passes to target",
    "diverged",
    "quality",
    "highest loss",
    "progress of a pass",
    "staleness",
    "time, s",
    "cost, $",
    "requests, $",
];

/// The row of the table for the repeats of a run: the median of the passes, and means.
pub(crate) fn cells(cell: &Cell, subject: &Subject, repeats: &[Outcome]) -> Vec<String> {
    let most = cell.schedule.most();
    let mut line = vec![
        subject.name.clone(),
        cell.mode.name().to_string(),
        cell.schedule.to_string(),
        format!("{most}{}", if cell.is_cut { " (all batches)" } else { "" }),
    ];
    if cell.left_out {
        line.push("left out".into());
        line.resize(HEADER.len(), String::new());
        return line;
    }
    let rows = || repeats.iter().map(|repeat| &repeat.row);
    let count = repeats.len();
    let mean = |of: &dyn Fn(&Outcome) -> f64| repeats.iter().map(of).sum::<f64>() / count as f64;
    let decimals = if subject.quality == Quality::Loss { 5 } else { 4 };
    line.extend([
        median_passes(subject, repeats),
        format!("{} of {count}", rows().filter(|row| row.diverged).count()),
        format!("{:.decimals$}", mean(&|of| of.row.quality.unwrap_or(f64::NAN))),
        format!("{:.4}", repeats.iter().map(|of| of.highest).fold(f64::NAN, f64::max)),
        format!("{:.2}", mean(&|of| of.progress)),
        format!("{:.0}", mean(&|of| of.staleness)),
        digits(mean(&|of| of.row.time_s)),
        digits(mean(&|of| of.row.cost_usd)),
        digits(mean(&|of| of.row.requests_usd)),
    ]);
    line
}

/// The median of the passes until the target. A run that misses it counts as infinitely long.
fn median_passes(subject: &Subject, repeats: &[Outcome]) -> String {
    if subject.target.is_none() {
        return "no target".into();
    }
    let mut passes: Vec<f64> =
        repeats.iter().map(|of| of.row.passes.map_or(f64::INFINITY, |n| n as f64)).collect();
    passes.sort_unstable_by(f64::total_cmp);
    let middle = passes.len() / 2;
    let median = match passes.len() % 2 {
        0 => passes[middle - 1].midpoint(passes[middle]),
        _ => passes[middle],
    };
    match median.is_finite() {
        true => median.to_string(),
        false => {
            let reached = passes.iter().filter(|passes| passes.is_finite()).count();
            format!("missed ({reached} of {} reached it)", passes.len())
        }
    }
}
