//! The progress of a run: the loss and every metric against time and money.

use siren_core::{Evaluation, Result};
use siren_hsp::{EpochRecord, RunRecord};

use super::time_unit;
use crate::chart::{self, Axis, Chart, Series};
use crate::{metric, number};

/// A loss that falls by more than this factor is shown on a logarithmic axis.
const WIDE: f64 = 100.0;
/// A run of fewer epochs always shows the value before training.
const FEW: usize = 8;

/// The loss and every metric against time, side by side as one SVG: the run in one picture.
///
/// # Errors
///
/// [`Other`](siren_core::ErrorKind::Other) if the plotting library fails.
pub fn progress(record: &RunRecord) -> Result<String> {
    let charts: Vec<Chart> =
        std::iter::once(loss_by_time(record)).chain(metrics_by_time(record)).collect();
    chart::row(&charts)
}

/// The loss after and during each epoch against the time since the first launch.
pub fn loss_by_time(record: &RunRecord) -> Chart {
    loss(record, "Loss over time", &Path::time(record))
}

/// The loss after and during each epoch against the money spent.
pub fn loss_by_cost(record: &RunRecord) -> Chart {
    loss(record, "Loss over cost", &Path::cost(record))
}

/// Each metric against the time since the first launch: one chart for each, by name.
pub fn metrics_by_time(record: &RunRecord) -> Vec<Chart> {
    metrics(record, "over time", &Path::time(record))
}

/// Each metric against the money spent: one chart for each, by name.
pub fn metrics_by_cost(record: &RunRecord) -> Vec<Chart> {
    metrics(record, "over cost", &Path::cost(record))
}

/// Time or money: a position for the start and for the end of each epoch, and its axis.
struct Path {
    axis: Axis,
    at: Vec<f64>,
    /// Each position in words.
    words: Vec<String>,
}

impl Path {
    fn time(record: &RunRecord) -> Self {
        let at = sums(record.epochs.iter().map(|epoch| epoch.elapsed_s + epoch.evaluate_s));
        let (unit, seconds) = time_unit(at.last().copied().unwrap_or(0.0));
        Self {
            axis: Axis::new("time", unit).from_zero(),
            words: at.iter().map(|time| number::duration(*time)).collect(),
            at: at.iter().map(|time| time / seconds).collect(),
        }
    }

    fn cost(record: &RunRecord) -> Self {
        let at = sums(record.epochs.iter().map(|epoch| epoch.cost_usd));
        let (unit, dollars) = match at.last().copied().unwrap_or(0.0) {
            all if all > 0.0 && all < 0.5e-3 => ("millionths of a dollar", 1e-6),
            _ => ("$", 1.0),
        };
        let quantity = if record.info.platform.estimated { "cost (estimate)" } else { "cost" };
        Self {
            axis: Axis::new(quantity, unit).from_zero(),
            words: at.iter().map(|cost| number::dollars(*cost)).collect(),
            at: at.iter().map(|cost| cost / dollars).collect(),
        }
    }

    /// A series with a point after each epoch, and one before the first if it has an initial value.
    fn series(
        &self,
        record: &RunRecord,
        make: fn(String, Vec<(f64, f64)>) -> Series,
        label: &str,
        initial: Option<f64>,
        of: impl Fn(&EpochRecord) -> Option<f64>,
        show: impl Fn(f64) -> String,
    ) -> Series {
        let before = initial.map(|value| ("before training".to_owned(), 0, value));
        let after =
            record.epochs.iter().enumerate().filter_map(|(n, epoch)| {
                Some((format!("epoch {}", epoch.epoch), n + 1, of(epoch)?))
            });
        let (points, texts): (Vec<_>, Vec<_>) = before
            .into_iter()
            .chain(after)
            .map(|(name, n, value)| {
                let text = format!("{name}, {label}: {} after {}", show(value), self.words[n]);
                ((self.at[n], value), text)
            })
            .unzip();
        make(label.into(), points).hover(texts)
    }
}

fn loss(record: &RunRecord, title: &str, path: &Path) -> Chart {
    let held_out = record.info.held_out > 0;
    let (after, during) = if held_out {
        ("held out", "training, mean of the epoch")
    } else {
        ("training, after the epoch", "training, mean of the epoch")
    };
    let later = record.epochs.iter().flat_map(|epoch| [epoch.evaluation.loss, epoch.train_loss]);
    let before = before(record, Some(record.initial.loss), later.clone());
    let measured = |epoch: &EpochRecord| Some(epoch.evaluation.loss);
    let after = path.series(record, Series::line, after, before, measured, number::short);
    let during = path.series(
        record,
        Series::dashed,
        during,
        None,
        |epoch| Some(epoch.train_loss),
        number::short,
    );
    let (least, most) = ends(later.chain(before));
    let axis = Axis::new("loss", "");
    let axis = if least > 0.0 && most / least > WIDE {
        axis.log()
    } else if least >= 0.0 && least < most * 0.5 {
        axis.from_zero()
    } else {
        axis
    };
    Chart::new(title, path.axis.clone(), axis).series(after).series(during)
}

/// One chart for each metric, each with its own scale.
fn metrics(record: &RunRecord, title: &str, path: &Path) -> Vec<Chart> {
    metric::names(record).into_iter().map(|name| one_metric(record, name, title, path)).collect()
}

fn one_metric(record: &RunRecord, name: &str, title: &str, path: &Path) -> Chart {
    // A share is drawn in percent.
    let (unit, size) = if metric::is_share(name) { ("%", 0.01) } else { ("", 1.0) };
    let of = |evaluation: &Evaluation| evaluation.metric(name).map(|value| value / size);
    let later = record.epochs.iter().filter_map(|epoch| of(&epoch.evaluation));
    let before = before(record, of(&record.initial), later);
    let show = |value: f64| metric::text(name, value * size);
    let label = metric::label(name);
    let series =
        path.series(record, Series::line, label, before, |epoch| of(&epoch.evaluation), show);
    let axis = Axis::new(format!("{label} ({})", metric::direction(record, name)), unit);
    let title = format!("{} {title}", metric::heading(name));
    Chart::new(title, path.axis.clone(), axis).series(series.colour(2))
}

/// The value before training, unless it would squeeze those of the epochs into a flat line.
fn before(
    record: &RunRecord,
    initial: Option<f64>,
    later: impl Iterator<Item = f64>,
) -> Option<f64> {
    let initial = initial?;
    let (least, most) = ends(later);
    let all = most.max(initial) - least.min(initial);
    let squeezed = record.epochs.len() >= FEW && most - least < all * 0.4;
    (!squeezed).then_some(initial)
}

/// The least and the largest of the finite values.
fn ends(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| {
            (least.min(value), most.max(value))
        })
}

/// Zero and the sum of the first, the first two, … values.
fn sums(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let later = values.scan(0.0, |sum, value| {
        *sum += value;
        Some(*sum)
    });
    std::iter::once(0.0).chain(later).collect()
}
