//! Evaluation, and batches of every size.

use super::{Subject, close};
use crate::{Batch, Metrics};

/// The mean loss of an evaluation is the loss that a gradient returns, and parameters do not change
/// in between.
pub fn an_evaluation_agrees_with_the_gradient(subject: &Subject) {
    let metrics = evaluate(subject, &subject.records);
    assert_eq!(metrics.examples(), subject.records.len() as u64);
    assert!(metrics.loss().is_finite(), "the loss is {}", metrics.loss());
    if subject.draws {
        return;
    }
    let bytes = subject.bytes();
    let batch = Batch::new(subject.records.len(), &bytes);
    let (loss, _) = subject.gradient(&subject.params(), &batch);
    assert!(close(metrics.loss(), loss), "evaluation says {}, the gradient {loss}", metrics.loss());
}

/// Evaluating parts, into one sum or into several that are merged, gives the metrics of the whole.
pub fn metrics_of_parts_merge_into_those_of_the_whole(subject: &Subject) {
    let whole = evaluate(subject, &subject.records);
    let (left, right) = subject.records.split_at(subject.records.len() / 3);
    let mut merged = evaluate(subject, left);
    merged.merge(&evaluate(subject, right));
    let mut summed = Metrics::new();
    for part in [left, right] {
        add(subject, part, &mut summed);
    }
    for parts in [merged, summed] {
        assert_eq!(parts.examples(), whole.examples());
        assert!(
            close(parts.loss(), whole.loss()),
            "the parts' loss is {}, the whole's {}",
            parts.loss(),
            whole.loss()
        );
        assert_eq!(parts.accuracy(), whole.accuracy());
        assert_eq!(parts.auc().is_some(), whole.auc().is_some());
    }
}

/// A batch may have any number of examples from one up, in any order of calls.
pub fn every_number_of_examples_is_a_batch(subject: &Subject) {
    let params = subject.params();
    let count = subject.records.len();
    for examples in [count, 1, count - 1, 2, count] {
        let records = &subject.records[..examples];
        let bytes = records.concat();
        let (loss, gradient) = subject.gradient(&params, &Batch::new(examples, &bytes));
        assert!(loss.is_finite(), "{examples} examples have loss {loss}");
        let bad = gradient.iter().position(|g| !g.is_finite());
        assert_eq!(bad, None, "an entry of the gradient is not finite");
        let metrics = evaluate(subject, records);
        assert_eq!(metrics.examples(), examples as u64);
        assert!(
            subject.draws || close(metrics.loss(), loss),
            "the loss of {examples} examples is {loss} or {}",
            metrics.loss()
        );
    }
}

fn evaluate(subject: &Subject, records: &[Vec<u8>]) -> Metrics {
    let mut metrics = Metrics::new();
    add(subject, records, &mut metrics);
    metrics
}

fn add(subject: &Subject, records: &[Vec<u8>], metrics: &mut Metrics) {
    let bytes = records.concat();
    let batch = Batch::new(records.len(), &bytes);
    subject.workload.evaluate(&subject.params(), &batch, metrics).expect("evaluate");
}
