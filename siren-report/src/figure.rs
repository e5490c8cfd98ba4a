//! The charts of one run.

mod progress;

use siren_hsp::{EpochRecord, RunRecord};

use crate::chart::{Axis, Chart, Series};
use crate::number;
pub use progress::{loss_by_cost, loss_by_time, metrics_by_cost, metrics_by_time, progress};

/// More epochs than this share bars in [`phases`], so that each bar can be seen.
const BARS: usize = 60;
/// The last of the palette's colours, grey: waiting.
const GREY: usize = 6;

/// The workers of each epoch, and the number that the scheduler asked for if it differs.
pub fn workers(record: &RunRecord) -> Chart {
    let chart = Chart::new("Workers", epoch_axis(), Axis::new("workers", "").whole().from_zero())
        .series(per_epoch(record, "run", |epoch| f64::from(epoch.workers)));
    let cut = record.epochs.iter().filter(|epoch| epoch.workers_asked != epoch.workers);
    let asked: Vec<_> =
        cut.map(|epoch| (epoch.epoch as f64, f64::from(epoch.workers_asked))).collect();
    if asked.is_empty() {
        return chart;
    }
    chart.series(Series::scatter("asked for", asked))
}

/// The memory of each worker, for each epoch.
pub fn memory(record: &RunRecord) -> Chart {
    Chart::new("Memory of a worker", epoch_axis(), Axis::new("memory", "MB").from_zero())
        .series(per_epoch(record, "memory", |epoch| f64::from(epoch.memory_mb)).colour(2))
}

/// The share of CPU time and of memory that the workers used.
pub fn utilisation(record: &RunRecord) -> Chart {
    let share = |of: fn(&EpochRecord) -> f64| {
        let points = record.epochs.iter().map(move |epoch| (epoch.epoch as f64, of(epoch) * 100.0));
        points.collect::<Vec<_>>()
    };
    Chart::new("Utilisation", epoch_axis(), Axis::new("used", "%").from_zero())
        .series(Series::line("CPU", share(|epoch| epoch.cpu_utilisation)))
        .series(Series::line("memory", share(|epoch| epoch.memory_utilisation)))
}

/// The time of each epoch by phase, as means over its workers, and the evaluation beside it. A bar
/// may show the mean of a group of epochs: see [`epochs_per_bar`].
pub fn phases(record: &RunRecord) -> Chart {
    let group = epochs_per_bar(record);
    let groups: Vec<&[EpochRecord]> = record.epochs.chunks(group).collect();
    let mean = |epochs: &[EpochRecord], of: fn(&EpochRecord) -> f64| {
        epochs.iter().map(of).sum::<f64>() / epochs.len() as f64
    };
    type Phase = (&'static str, fn(&EpochRecord) -> f64, usize);
    let stacked: [Phase; 5] = [
        ("fetch", |epoch| epoch.fetch_s, 4),
        ("compute", |epoch| epoch.compute_s, 0),
        ("update", |epoch| epoch.update_s, 5),
        ("queueing", |epoch| epoch.queue_s, 3),
        ("waiting", |epoch| epoch.round_wait_s + epoch.wait_s, GREY),
    ];
    let longest = groups
        .iter()
        .map(|epochs| {
            let worked = stacked.iter().map(|(_, of, _)| mean(epochs, *of)).sum::<f64>();
            worked.max(mean(epochs, |epoch| epoch.evaluate_s))
        })
        .fold(0.0, f64::max);
    let (unit, seconds) = time_unit(longest);
    let width = group as f64 * slimness(groups.len());
    let bars = |label: &str, from: f64, to: f64, of: fn(&EpochRecord) -> f64| {
        let values = groups.iter().map(|epochs| (middle(epochs), mean(epochs, of) / seconds));
        let texts = groups.iter().map(|epochs| {
            let time = number::duration(mean(epochs, of));
            match epochs {
                [epoch] => format!("epoch {}, {label}: {time}", epoch.epoch),
                _ => format!("epochs {}, {label}: {time} on average", numbers(epochs)),
            }
        });
        Series::bars(label, from * width..to * width, values).hover(texts)
    };
    let chart = Chart::new("Time of an epoch", epoch_axis(), Axis::new("time", unit).from_zero());
    let chart = stacked.iter().fold(chart, |chart, (label, of, colour)| {
        chart.series(bars(label, -0.42, 0.1, *of).colour(*colour))
    });
    chart.series(bars("evaluate", 0.14, 0.42, |epoch| epoch.evaluate_s).colour(2))
}

/// The number of epochs that one bar of [`phases`] stands for.
pub fn epochs_per_bar(record: &RunRecord) -> usize {
    match record.epochs.len().div_ceil(BARS) {
        0 | 1 => 1,
        2 => 2,
        3..=5 => 5,
        more => more.next_multiple_of(10),
    }
}

fn epoch_axis() -> Axis {
    Axis::new("epoch", "").whole()
}

fn per_epoch(record: &RunRecord, label: &str, of: fn(&EpochRecord) -> f64) -> Series {
    let points = record.epochs.iter().map(|epoch| (epoch.epoch as f64, of(epoch)));
    let half = 0.42 * slimness(record.epochs.len());
    Series::bars(label, -half..half, points)
}

/// The share of its place that a bar takes, so that a few bars are not blocks.
fn slimness(bars: usize) -> f64 {
    (bars as f64 / 8.0).clamp(0.3, 1.0)
}

/// A unit for times up to this many seconds, and its length in seconds.
fn time_unit(longest: f64) -> (&'static str, f64) {
    match longest {
        longest if longest > 3.0 * 3_600.0 => ("h", 3_600.0),
        longest if longest > 180.0 => ("min", 60.0),
        longest if longest > 0.0 && longest < 1e-3 => ("µs", 1e-6),
        longest if longest > 0.0 && longest < 1.0 => ("ms", 1e-3),
        _ => ("s", 1.0),
    }
}

/// The position of a group's bar.
fn middle(epochs: &[EpochRecord]) -> f64 {
    match epochs {
        [first, .., last] => (first.epoch as f64 + last.epoch as f64) / 2.0,
        [only] => only.epoch as f64,
        [] => 0.0,
    }
}

/// The numbers of the first and last epoch of a group.
fn numbers(epochs: &[EpochRecord]) -> String {
    match epochs {
        [first, .., last] => format!("{} to {}", first.epoch, last.epoch),
        _ => String::new(),
    }
}
