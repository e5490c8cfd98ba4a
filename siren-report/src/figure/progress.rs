//! The progress of a run: loss and quality against time and money.

use siren_core::Result;
use siren_hsp::{EpochRecord, RunRecord};

use super::time_unit;
use crate::chart::{self, Axis, Chart, Series};
use crate::number;

/// A loss that falls by more than this factor is shown on a logarithmic axis.
const WIDE: f64 = 100.0;
/// A run of fewer epochs always shows the value before training.
const FEW: usize = 8;

/// Loss and, if it is measured, accuracy against time, side by side as one SVG: the run in one
/// picture.
///
/// # Errors
///
/// [`Other`](siren_core::ErrorKind::Other) if the plotting library fails.
pub fn progress(record: &RunRecord) -> Result<String> {
    let charts: Vec<Chart> =
        [Some(loss_by_time(record)), quality_by_time(record)].into_iter().flatten().collect();
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

/// Accuracy and area under the ROC curve against the time since the first launch; `None` if neither
/// is measured.
pub fn quality_by_time(record: &RunRecord) -> Option<Chart> {
    quality(record, "over time", &Path::time(record))
}

/// Accuracy and area under the ROC curve against the money spent; `None` if neither is measured.
pub fn quality_by_cost(record: &RunRecord) -> Option<Chart> {
    quality(record, "over cost", &Path::cost(record))
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
        show: fn(f64) -> String,
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
    let later = record.epochs.iter().flat_map(|epoch| [epoch.loss, epoch.train_loss]);
    let before = before(record, Some(record.initial.loss), later.clone());
    let after =
        path.series(record, Series::line, after, before, |epoch| Some(epoch.loss), number::short);
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

fn quality(record: &RunRecord, title: &str, path: &Path) -> Option<Chart> {
    let accuracy = record.epochs.iter().any(|epoch| epoch.accuracy.is_some());
    let auc = record.epochs.iter().any(|epoch| epoch.auc.is_some());
    let (name, axis) = match (accuracy, auc) {
        (false, false) => return None,
        (true, false) => ("Accuracy", Axis::new("accuracy", "%")),
        (false, true) => ("AUC", Axis::new("area under the ROC curve", "%")),
        (true, true) => ("Accuracy and AUC", Axis::new("accuracy, AUC", "%")),
    };
    let mut chart = Chart::new(format!("{name} {title}"), path.axis.clone(), axis);
    let mut add = |label, colour, initial: Option<f64>, of: fn(&EpochRecord) -> Option<f64>| {
        let percent = |epoch: &EpochRecord| of(epoch).map(|share| share * 100.0);
        let initial = initial.map(|share| share * 100.0);
        let before = before(record, initial, record.epochs.iter().filter_map(percent));
        let show = |percent: f64| number::percent(percent / 100.0);
        let series = path.series(record, Series::line, label, before, percent, show);
        chart = chart.clone().series(series.colour(colour));
    };
    if accuracy {
        add("accuracy", 0, record.initial.accuracy, |epoch| epoch.accuracy);
    }
    if auc {
        add("AUC", 2, record.initial.auc, |epoch| epoch.auc);
    }
    Some(chart)
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
