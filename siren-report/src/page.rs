//! The page: a headline, charts, a table of all epochs, and the trainer's settings.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use siren_core::{Error, ErrorKind, Result, StopReason};
use siren_hsp::{OutcomeRecord, RunRecord};

use crate::chart::Chart;
use crate::{figure, metric, number};

mod tables;

pub(crate) const STYLE: &str = include_str!("page/style.css");

pub(crate) fn page(record: &RunRecord) -> Result<Markup> {
    Ok(html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                // Without an icon, a browser would ask the page's server for one.
                link rel="icon" href="data:,";
                title { (record.run) " · Siren" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (headline(record))
                main {
                    (charts(record)?)
                    @if !record.epochs.is_empty() {
                        section {
                            h2 { "Epochs" }
                            (tables::epochs(record))
                        }
                    }
                    div .pair {
                        section {
                            h2 { "Settings" }
                            (tables::settings(&settings(record)?))
                        }
                        section {
                            h2 { "Platform" }
                            (tables::platform(&record.info.platform))
                        }
                    }
                }
                footer { "Written by Siren. Record schema " (record.schema) "." }
            }
        }
    })
}

fn headline(record: &RunRecord) -> Markup {
    let (setting, outcome) = (&record.info, &record.outcome);
    let (tone, sign, words) = reason(outcome);
    let evaluating: f64 = record.epochs.iter().map(|epoch| epoch.evaluate_s).sum();
    let retries: u64 = record.epochs.iter().map(|epoch| u64::from(epoch.retries)).sum();
    let updates: u64 = record.epochs.iter().map(|epoch| epoch.updates).fold(0, u64::saturating_add);
    let partial = record.epochs.iter().filter(|epoch| !epoch.complete).count();
    let budget = record.epochs.last().and_then(|epoch| epoch.budget_left_usd);
    html! {
        header {
            p .kind { "Siren run" }
            h1 { (record.run) }
            p .outcome {
                span .badge.(tone) { span aria-hidden="true" { (sign) } " " (words) }
                @if let Some(detail) = &outcome.detail { " " span .detail { (detail) } }
            }
            p .facts {
                (number::count(setting.parameters)) " parameters · "
                (number::count(setting.examples)) " training examples · "
                @if setting.held_out > 0 { (number::count(setting.held_out)) " held out" }
                @else { "nothing held out" }
                " · platform " (setting.platform.name)
            }
            dl .tiles {
                @let kind = if setting.held_out > 0 { "Held-out loss" } else { "Training loss" };
                (tile(kind, &number::short(outcome.evaluation.loss), html! {
                    (before(record, Some(number::short(record.initial.loss))))
                }))
                @for (name, value) in &outcome.evaluation.metrics {
                    @let initial = record.initial.metric(name).map(|value| metric::text(name, value));
                    (tile(&metric::heading(name), &metric::text(name, *value), html! {
                        (before(record, initial))
                    }))
                }
                (tile("Time", &number::duration(outcome.elapsed_s), html! {
                    (number::duration(evaluating)) " of it evaluating"
                }))
                @let cost = if setting.platform.estimated { "Cost (estimate)" } else { "Cost" };
                (tile(cost, &number::dollars(outcome.cost_usd), html! {
                    @match budget {
                        Some(left) => { (number::dollars(left)) " of the budget left" }
                        None if record.epochs.is_empty() => "",
                        None => "no budget",
                    }
                }))
                (tile("Epochs", &number::count(record.epochs.len() as u64), html! {
                    (number::count(updates)) " updates"
                    @if retries > 0 { " · " (number::count(retries)) " retries" }
                    @if partial > 0 { " · " (partial) " not complete" }
                }))
            }
            @if setting.platform.estimated {
                p .note {
                    "Nothing was billed: the cost is that of the same work at the prices of \
                     the platform below."
                }
            }
        }
    }
}

/// The value before training.
fn before(record: &RunRecord, value: Option<String>) -> Markup {
    html! {
        @match value {
            _ if record.epochs.is_empty() => "before training",
            Some(value) => { "from " (value) " before training" }
            None => "",
        }
    }
}

fn tile(name: &str, value: &str, more: Markup) -> Markup {
    html! {
        div .tile {
            dt { (name) }
            dd .value { (value) }
            dd .more { (more) }
        }
    }
}

/// A tone, a sign and a sentence for the end of the run.
fn reason(outcome: &OutcomeRecord) -> (&'static str, &'static str, String) {
    let (tone, sign, words) = match outcome.reason {
        StopReason::TargetLoss => ("good", "✓", "Reached the target loss."),
        StopReason::Epochs => ("good", "✓", "Ran all epochs."),
        StopReason::TimeLimit => ("early", "■", "Stopped when the time allowed was used up."),
        StopReason::Budget => ("early", "■", "Stopped when the money left did not pay for more."),
        StopReason::Interrupted => ("early", "■", "Stopped on request."),
        StopReason::Diverged => ("bad", "✕", "Stopped because training diverged."),
        other => return ("early", "■", format!("Stopped: {other}.")),
    };
    (tone, sign, words.into())
}

fn charts(record: &RunRecord) -> Result<Markup> {
    if record.epochs.is_empty() {
        return Ok(html! {
            section { p .empty { "No epoch was sealed, so there are no charts." } }
        });
    }
    let kept = if record.info.held_out > 0 {
        "The loss on the held-out examples is measured after each epoch; that of training is the mean over \
         the epoch's batches."
    } else {
        "Nothing is held out: the loss after an epoch is that of training."
    };
    let group = figure::epochs_per_bar(record);
    let shared = record.epochs.iter().any(|epoch| epoch.memory_shared);
    Ok(html! {
        section {
            h2 { "Progress" }
            p .note { (kept) }
            div .charts {
                (drawn(&figure::loss_by_time(record))?)
                @for chart in figure::metrics_by_time(record) { (drawn(&chart)?) }
                (drawn(&figure::loss_by_cost(record))?)
                @for chart in figure::metrics_by_cost(record) { (drawn(&chart)?) }
            }
        }
        section {
            h2 { "Allocation of each epoch" }
            div .charts {
                (drawn(&figure::workers(record))?)
                (drawn(&figure::memory(record))?)
            }
        }
        section {
            h2 { "Time of each epoch" }
            p .note {
                "Means over the workers of an epoch. Queueing means waiting for a thread to compute on; waiting \
                 means waiting in pulls for other workers or aggregators, and being done before the last \
                 worker; the evaluation comes after the barrier."
                @if group > 1 { " Each bar is the mean of " (group) " epochs." }
                @if shared { " Memory is the peak of one process with all workers." }
            }
            div .charts {
                (drawn(&figure::phases(record))?)
                (drawn(&figure::utilisation(record))?)
            }
        }
    })
}

fn drawn(chart: &Chart) -> Result<Markup> {
    Ok(html! { figure { (PreEscaped(chart.to_svg()?)) } })
}

/// The trainer's settings, as JSON.
fn settings(record: &RunRecord) -> Result<serde_json::Value> {
    // Through text, because only text has the short form of an f32.
    serde_json::to_string(&record.config).and_then(|text| serde_json::from_str(&text)).map_err(
        |error| {
            Error::new(ErrorKind::Other, "cannot write the settings as JSON").with_source(error)
        },
    )
}
