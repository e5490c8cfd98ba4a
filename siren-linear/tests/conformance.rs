//! The workloads' contract, including gradients against finite differences.

use siren_core::conformance::{workload, workload_tests};
use siren_core::{Batch, Entry, ErrorKind, Metrics, Seed, Workload};
use siren_data::{DenseTable, SparseExample};
use siren_linear::{LogisticRegression, SparseLogisticRegression};

const FEATURES: usize = 4;

/// A few examples of both classes.
fn dense() -> Vec<Vec<u8>> {
    let feature = |i: usize, j: usize| ((7 * i + 3 * j) % 11) as f32 / 5.0 - 1.0;
    let row = |i| std::iter::once((i % 2) as f32).chain((0..FEATURES).map(move |j| feature(i, j)));
    let table = DenseTable::new((0..5).flat_map(row).collect(), FEATURES).unwrap();
    table.pack().unwrap().records().map(<[u8]>::to_vec).collect()
}

fn packed(positive: bool, features: &[(u32, f32)]) -> Vec<u8> {
    let features = features.iter().map(|&(index, value)| Entry { index, value }).collect();
    let mut bytes = Vec::new();
    SparseExample { positive, features }.pack(&mut bytes).unwrap();
    bytes
}

/// Examples that share features, one without any, and one with all.
fn sparse() -> Vec<Vec<u8>> {
    vec![
        packed(true, &[(0, 1.0), (3, -0.5)]),
        packed(false, &[(3, 2.0)]),
        packed(true, &[]),
        packed(false, &[(0, 0.5), (1, -1.0), (2, 1.0), (3, 0.25)]),
    ]
}

fn sparse_model() -> SparseLogisticRegression {
    SparseLogisticRegression::new(FEATURES).unwrap()
}

workload_tests!(
    dense_features,
    workload::Subject::new(LogisticRegression::new(FEATURES).unwrap(), dense())
);
workload_tests!(
    dense_features_with_a_penalty,
    workload::Subject::new(
        LogisticRegression::new(FEATURES).unwrap().with_l2(0.5).unwrap(),
        dense()
    )
);
workload_tests!(sparse_features, workload::Subject::new(sparse_model(), sparse()));

/// Loss, gradient and metrics of the same examples in either form.
#[test]
fn both_forms_of_the_same_examples_agree() {
    let rows = [
        [1.0, 1.0, 0.0, 0.0, -0.5],
        [0.0, 0.0, 0.0, 0.0, 2.0],
        [1.0, 0.0, 0.0, 0.0, 0.0],
        [0.0, 0.5, -1.0, 1.0, 0.25],
    ];
    let dense: Vec<u8> = rows.iter().flatten().flat_map(|x: &f32| x.to_le_bytes()).collect();
    let sparse = sparse().concat();
    let params = [0.1, 0.2, -0.3, 0.4, -0.5];
    let measure = |workload: &dyn Workload, bytes: &[u8]| {
        let (batch, mut gradient) = (Batch::new(4, bytes), vec![0.0; 5]);
        let loss = workload.gradient(&params, &batch, Seed::new(0), &mut gradient).unwrap();
        let mut metrics = Metrics::new();
        workload.evaluate(&params, &batch, &mut metrics).unwrap();
        (loss, gradient, metrics)
    };
    let (loss, gradient, metrics) = measure(&LogisticRegression::new(4).unwrap(), &dense);
    let (sparse_loss, sparse_gradient, sparse_metrics) = measure(&sparse_model(), &sparse);
    assert!((loss - sparse_loss).abs() < 1e-6, "{loss} {sparse_loss}");
    for (dense, sparse) in gradient.iter().zip(&sparse_gradient) {
        assert!((dense - sparse).abs() < 1e-6, "{dense} {sparse}");
    }
    // Scores are 0.55, -0.9, 0.1 and 0.775: one negative is above both positives, one below.
    for metrics in [metrics, sparse_metrics] {
        assert_eq!(metrics.accuracy(), Some(0.75));
        assert_eq!(metrics.auc(), Some(0.5));
    }
}

/// A gradient has the entries of its batch and no others.
#[test]
fn a_sparse_gradient_has_the_indices_of_its_batch_only() {
    let bytes = [packed(true, &[(1, 1.0), (3, 1.0)]), packed(false, &[(3, 1.0)])].concat();
    let mut gradient = siren_core::SparseGradient::new();
    let batch = Batch::new(2, &bytes);
    sparse_model().sparse_gradient(&[0.5; 5], &batch, Seed::new(0), &mut gradient).unwrap();
    let entries = gradient.as_slice(5).unwrap().entries();
    let indices: Vec<_> = entries.iter().map(|entry| entry.index).collect();
    assert_eq!(indices, [0, 2, 4], "the bias, and each feature one further on");
}

#[test]
fn what_a_model_cannot_be_is_refused() {
    assert!(LogisticRegression::new(0).is_err());
    assert!(SparseLogisticRegression::new(0).is_err());
    assert!(SparseLogisticRegression::new(1 << 32).is_err());
    for l2 in [-1.0, f32::NAN, f32::INFINITY] {
        assert!(LogisticRegression::new(1).unwrap().with_l2(l2).is_err(), "{l2}");
    }
}

#[test]
fn examples_of_another_model_are_rejected() {
    let refused = |workload: &dyn Workload, bytes: &[u8], word: &str| {
        let mut gradient = vec![0.0; workload.dim()];
        let params = vec![0.0; workload.dim()];
        let batch = Batch::new(1, bytes);
        let error = workload.gradient(&params, &batch, Seed::new(0), &mut gradient).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected);
        assert!(error.message().contains(word), "{error}");
    };
    refused(&sparse_model(), &packed(true, &[(4, 1.0)]), "feature 4");
    let mut label = packed(true, &[]);
    label[..4].copy_from_slice(&2.0_f32.to_le_bytes());
    refused(&sparse_model(), &label, "label 2");
    let rows = [2.0_f32, 0.0, 0.0, 0.0, 0.0];
    let bytes: Vec<u8> = rows.iter().flat_map(|x| x.to_le_bytes()).collect();
    refused(&LogisticRegression::new(4).unwrap(), &bytes, "label 2");
}
