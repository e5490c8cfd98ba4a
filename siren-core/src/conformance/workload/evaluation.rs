//! Evaluation, and batches of every size.

use super::{Subject, close};
use crate::{Batch, Metrics};

/// The mean loss of an evaluation equals the loss that `gradient` returns at the same parameters.
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

/// Every partition of a data set has the evaluation of the whole, up to rounding. The parts are
/// added to one sum, or to several sums that are merged.
pub fn metrics_of_parts_merge_into_those_of_the_whole(subject: &Subject) {
    let records = &subject.records;
    let whole = evaluate(subject, records);
    for (name, parts) in partitions(records) {
        let (mut merged, mut summed) = (Metrics::new(), Metrics::new());
        for part in &parts {
            merged.merge(&evaluate(subject, part));
            add(subject, part, &mut summed);
        }
        // A thread may have evaluated no part.
        merged.merge(&Metrics::new());
        for (how, metrics) in [("merged", &merged), ("summed", &summed)] {
            assert_eq!(metrics.examples(), whole.examples(), "{name}, {how}");
            same(subject, metrics, &whole, &format!("{name}, {how}"));
        }
    }
}

/// Partitions of the records into parts that are neither empty nor all of equal size.
fn partitions(records: &[Vec<u8>]) -> [(&'static str, Vec<Vec<Vec<u8>>>); 4] {
    let (left, right) = records.split_at(records.len() / 3);
    let every_other = |first| records.iter().skip(first).step_by(2).cloned().collect();
    [
        ("a third and the rest", vec![left.to_vec(), right.to_vec()]),
        ("the rest and a third", vec![right.to_vec(), left.to_vec()]),
        ("one by one", records.iter().map(|record| vec![record.clone()]).collect()),
        ("every other one", vec![every_other(1), every_other(0)]),
    ]
}

/// Panics unless two evaluations differ only by rounding.
fn same(subject: &Subject, parts: &Metrics, whole: &Metrics, how: &str) {
    let finish = |metrics| subject.workload.finish(metrics);
    let (parts, whole) = (finish(parts), finish(whole));
    assert!(
        close(parts.loss, whole.loss),
        "{how}: the parts' loss is {}, the whole's {}",
        parts.loss,
        whole.loss
    );
    assert!(parts.metrics.keys().eq(whole.metrics.keys()), "{how}: {parts:?} of {whole:?}");
    for (name, &value) in &parts.metrics {
        let expected = whole.metrics[name];
        assert!(
            close(value, expected) || value.is_nan() && expected.is_nan(),
            "{how}: {name} of the parts is {value}, of the whole {expected}"
        );
    }
}

/// A batch may have any number of examples from one, in any order of calls.
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
