//! Metrics for people: their names, their values, and the direction in which they improve.

use std::collections::BTreeSet;

use siren_core::{Better, Evaluation};
use siren_hsp::RunRecord;

use crate::number;

/// The name of a metric as it is shown: `AUC` for `auc`, any other one as it is.
pub fn label(name: &str) -> &str {
    if name == Evaluation::AUC { "AUC" } else { name }
}

/// A value of a metric as it is shown: accuracy and AUC in percent, any other one with four significant
/// digits.
pub fn text(name: &str, value: f64) -> String {
    if is_share(name) { number::percent(value) } else { number::short(value) }
}

/// The names of all metrics that the epochs of a run have, in order.
pub(crate) fn names(record: &RunRecord) -> BTreeSet<&str> {
    let epochs = record.epochs.iter();
    epochs.flat_map(|epoch| epoch.evaluation.metrics.keys().map(String::as_str)).collect()
}

/// `true` for metrics whose values are shares of one.
pub(crate) fn is_share(name: &str) -> bool {
    [Evaluation::ACCURACY, Evaluation::AUC].contains(&name)
}

/// The label of a metric as the heading of a chart or a tile.
pub(crate) fn heading(name: &str) -> String {
    let mut letters = label(name).chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters).collect()
}

/// The direction in which a metric improves, in words.
pub(crate) fn direction(record: &RunRecord, name: &str) -> &'static str {
    match record.info.metrics.get(name).copied().unwrap_or_default() {
        Better::Higher => "higher is better",
        Better::Lower => "lower is better",
    }
}
