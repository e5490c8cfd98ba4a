//! The tables: every number of every epoch, the settings, the platform.

use std::time::Duration;

use maud::{Markup, html};
use serde_json::Value;
use siren_core::{Evaluation, Platform};
use siren_hsp::{EpochRecord, RunRecord};

use crate::metric;
use crate::number::{count, dollars_exactly, duration, percent, short};

/// A column: its name, the meaning of the name, and its cell.
type Column = (&'static str, &'static str, fn(&EpochRecord) -> String);

/// The columns before those of the metrics.
const BEFORE: [Column; 7] = [
    ("epoch", "number of the epoch", |e| count(e.epoch)),
    ("workers", "workers that ran", |e| count(e.workers.into())),
    ("asked", "workers that the scheduler asked for", |e| count(e.workers_asked.into())),
    ("memory, MB", "memory of each worker", |e| count(e.memory_mb.into())),
    ("rate", "learning rate", |e| e.learning_rate.to_string()),
    ("loss", "mean loss after the epoch", |e| short(e.evaluation.loss)),
    ("training loss", "mean training loss during the epoch", |e| short(e.train_loss)),
];

/// The columns after those of the metrics.
const AFTER: [Column; 20] = [
    ("time, s", "from launch to seal, without the evaluation", |e| short(e.elapsed_s)),
    ("fetch, s", "waiting for data, mean over the workers", |e| short(e.fetch_s)),
    ("compute, s", "computing, mean over the workers", |e| short(e.compute_s)),
    ("update, s", "pulling and pushing, mean over the workers", |e| short(e.update_s)),
    ("queue, s", "waiting for a place to compute, mean over the workers", |e| short(e.queue_s)),
    (
        "rounds, s",
        "waiting in pulls for other workers or aggregators, mean over the workers",
        |e| {
            if e.round_wait_s > 0.0 { short(e.round_wait_s) } else { String::new() }
        },
    ),
    ("wait, s", "done before the last worker was, mean over the workers", |e| short(e.wait_s)),
    ("evaluate, s", "the evaluation after the epoch", |e| short(e.evaluate_s)),
    ("CPU", "CPU time over execution time", |e| percent(e.cpu_utilisation)),
    ("memory used", "peak memory over memory asked for", |e| percent(e.memory_utilisation)),
    ("updates", "updates that counted", |e| count(e.updates)),
    ("batches", "batches that counted", |e| match e.complete {
        true => count(e.batches),
        false => format!("{} (not all)", count(e.batches)),
    }),
    ("retries", "invocations beyond one for each worker", |e| count(e.retries.into())),
    ("staleness", "mean staleness of the updates", |e| short(e.staleness_mean)),
    ("largest", "largest staleness of an update", |e| count(e.staleness_max)),
    ("step factor", "mean factor of the updates' steps, by the noise rule", |e| {
        short(e.step_factor)
    }),
    ("progress", "passes over the data, each update weighted by its efficiency", |e| {
        short(e.progress)
    }),
    ("noise scale", "examples at which gradients have as much noise as signal", |e| {
        e.noise_scale.map_or_else(String::new, |scale| scale.to_string())
    }),
    ("cost", "money that the epoch cost", |e| dollars_exactly(e.cost_usd)),
    ("budget left", "money left afterwards", |e| maybe(e.budget_left_usd, dollars_exactly)),
];

/// A column that is shown.
struct Shown<'a> {
    name: &'a str,
    meaning: String,
    cell: Box<dyn Fn(&EpochRecord) -> String + 'a>,
}

pub(super) fn epochs(record: &RunRecord) -> Markup {
    // A column without a single value is left out.
    let shown = |columns: &'static [Column]| {
        columns
            .iter()
            .filter(|(_, _, cell)| record.epochs.iter().any(|epoch| !cell(epoch).is_empty()))
            .map(|&(name, meaning, cell)| Shown {
                name,
                meaning: meaning.into(),
                cell: Box::new(cell),
            })
    };
    let metrics = metric::names(record).into_iter().map(|name| Shown {
        name: metric::label(name),
        meaning: match name {
            Evaluation::ACCURACY => "share of right answers".into(),
            Evaluation::AUC => "area under the ROC curve".into(),
            _ => format!("{name}; {}", metric::direction(record, name)),
        },
        cell: Box::new(move |epoch| {
            let value = epoch.evaluation.metric(name);
            value.map_or_else(String::new, |value| metric::text(name, value))
        }),
    });
    let columns: Vec<Shown<'_>> = shown(&BEFORE).chain(metrics).chain(shown(&AFTER)).collect();
    html! {
        div .scroll tabindex="0" role="region" aria-label="All epochs" {
            table .epochs {
                thead { tr {
                    @for column in &columns { th scope="col" title=(column.meaning) { (column.name) } }
                } }
                tbody {
                    @for epoch in &record.epochs { tr {
                        @for (n, column) in columns.iter().enumerate() {
                            @if n == 0 { th scope="row" { ((column.cell)(epoch)) } }
                            @else { td { ((column.cell)(epoch)) } }
                        }
                    } }
                }
            }
        }
    }
}

/// Nested settings as rows, their names joined by dots.
pub(super) fn settings(config: &Value) -> Markup {
    let mut rows = Vec::new();
    flatten("", config, &mut rows);
    let rows: Vec<(&str, String)> =
        rows.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    list(&rows)
}

fn flatten(name: &str, value: &Value, rows: &mut Vec<(String, String)>) {
    match value {
        Value::Object(fields) => {
            for (field, value) in fields {
                let name = if name.is_empty() { field.clone() } else { format!("{name}.{field}") };
                flatten(&name, value, rows);
            }
        }
        Value::String(text) => rows.push((name.into(), text.clone())),
        Value::Null => rows.push((name.into(), "none".into())),
        other => rows.push((name.into(), other.to_string())),
    }
}

pub(super) fn platform(platform: &Platform) -> Markup {
    let (limits, prices) = (&platform.limits, &platform.prices);
    let time = |time: Duration| duration(time.as_secs_f64());
    list(&[
        ("name", platform.name.clone()),
        ("costs are", if platform.estimated { "estimates" } else { "billed" }.into()),
        (
            "memory of a function",
            format!(
                "{} to {} MB in steps of {} MB",
                count(limits.memory_min_mb.into()),
                count(limits.memory_max_mb.into()),
                count(limits.memory_step_mb.into())
            ),
        ),
        ("memory for one vCPU", format!("{} MB", limits.memory_per_vcpu_mb)),
        ("vCPUs at most", limits.vcpus_max.to_string()),
        ("time of an invocation at most", time(limits.timeout)),
        ("billed start at most", time(limits.init)),
        ("invocations at once", count(limits.concurrency.into())),
        (
            "payload at most",
            match limits.payload_bytes {
                u64::MAX => "no limit".into(),
                bytes => format!("{} bytes", count(bytes)),
            },
        ),
        ("price of a GB for a second", price(prices.gb_second.dollars())),
        ("price of an invocation", price(prices.invocation.dollars())),
        ("price of a storage write", price(prices.storage_write.dollars())),
        ("price of a storage read", price(prices.storage_read.dollars())),
        ("price of a GB out of the region", price(prices.egress_gb.dollars())),
        ("time is billed in steps of", time(prices.billing_step)),
    ])
}

/// A price with all its digits.
fn price(dollars: f64) -> String {
    if dollars == 0.0 { "free".into() } else { format!("${dollars}") }
}

fn list(rows: &[(&str, String)]) -> Markup {
    html! {
        div .scroll {
            table .list { tbody {
                @for (name, value) in rows { tr { th scope="row" { (name) } td { (value) } } }
            } }
        }
    }
}

fn maybe(value: Option<f64>, show: fn(f64) -> String) -> String {
    value.map_or_else(String::new, show)
}
