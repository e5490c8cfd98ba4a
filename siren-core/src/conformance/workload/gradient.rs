//! Initial parameters, and properties of gradients other than their values.

use super::{Subject, close};
use crate::conformance::fact::on_threads;
use crate::{Batch, ErrorKind, Metrics, Result, Seed, SparseGradient};

/// `init` returns `dim` finite numbers, and `dim` is that of the layout.
pub fn initial_parameters_are_finite_and_as_many_as_the_layout_says(subject: &Subject) {
    let workload = &subject.workload;
    assert_eq!(workload.dim(), workload.layout().dim());
    for seed in 0..3 {
        let params = workload.init(Seed::new(seed)).expect("init");
        assert_eq!(params.len(), workload.dim());
        let bad = params.iter().position(|p| !p.is_finite());
        assert_eq!(bad, None, "an initial parameter is not finite");
    }
}

/// `init` depends only on its seed.
pub fn equal_seeds_give_equal_parameters(subject: &Subject) {
    let init = |seed| subject.workload.init(Seed::new(seed)).expect("init");
    let first = init(5);
    init(6);
    assert!(bits(&first) == bits(&init(5)), "one seed gives two different initial parameters");
}

/// The gradient and the loss of a batch with every example twice are those of the batch itself:
/// they are means and not sums.
pub fn a_gradient_is_the_mean_over_its_batch(subject: &Subject) {
    if subject.draws {
        return;
    }
    let params = subject.params();
    let one = subject.bytes();
    let count = subject.records.len();
    let (loss, gradient) = subject.gradient(&params, &Batch::new(count, &one));
    let (twice_loss, twice) = subject.gradient(&params, &Batch::new(2 * count, &one.repeat(2)));
    assert!(
        close(loss, twice_loss),
        "the loss of a batch is {loss}, and of every example twice {twice_loss}"
    );
    let size = gradient.iter().fold(0.0_f32, |size, g| size.max(g.abs()));
    for (entry, (once, twice)) in gradient.iter().zip(&twice).enumerate() {
        assert!(
            (once - twice).abs() <= 1e-3 * size,
            "entry {entry} of a batch's gradient is {once}, and of every example twice {twice}"
        );
    }
}

/// A workload has sparse gradients for every batch or for none. They equal the dense ones. Without
/// them, the buffer stays empty.
pub fn a_sparse_gradient_is_the_dense_one(subject: &Subject) {
    let (params, bytes) = (subject.params(), subject.bytes());
    let whole = Batch::new(subject.records.len(), &bytes);
    let single = subject.records.iter().map(|record| Batch::new(1, record));
    let mut had = None;
    for batch in std::iter::once(whole).chain(single) {
        let mut sparse = SparseGradient::new();
        let loss = subject
            .workload
            .sparse_gradient(&params, &batch, Seed::new(3), &mut sparse)
            .expect("sparse gradient");
        assert_eq!(
            *had.get_or_insert(loss.is_some()),
            loss.is_some(),
            "some batches have a sparse gradient, and others have none"
        );
        let Some(loss) = loss else {
            assert!(sparse.entries().is_empty(), "entries without a loss");
            continue;
        };
        let (dense_loss, dense) = subject.gradient(&params, &batch);
        assert!(close(loss, dense_loss), "the loss is {loss} sparse and {dense_loss} dense");
        let mut filled = vec![0.0; subject.dim()];
        for entry in sparse.as_slice(subject.dim()).expect("indices below dim").entries() {
            filled[entry.index as usize] = entry.value;
        }
        let size = dense.iter().fold(0.0_f32, |size, g| size.max(g.abs()));
        for (entry, (sparse, dense)) in filled.iter().zip(&dense).enumerate() {
            assert!(
                (sparse - dense).abs() <= 1e-5 * size,
                "entry {entry} is {sparse} in the sparse gradient, and {dense} in the dense one"
            );
        }
    }
}

/// Every entry of the buffer is overwritten.
pub fn a_gradient_overwrites_its_buffer(subject: &Subject) {
    let (params, bytes) = (subject.params(), subject.bytes());
    let batch = Batch::new(subject.records.len(), &bytes);
    let filled = |with: f32| {
        let mut gradient = vec![with; subject.dim()];
        subject.workload.gradient(&params, &batch, Seed::new(3), &mut gradient).expect("gradient");
        gradient
    };
    let clean = filled(0.0);
    for with in [1.0, f32::NAN] {
        assert!(bits(&clean) == bits(&filled(with)), "a gradient depends on what its buffer held");
    }
}

/// Loss and gradient depend only on parameters, batch and seed: they have the same bits every time,
/// on every thread, and between other calls.
pub fn equal_inputs_give_equal_bits(subject: &Subject) {
    let (params, bytes) = (subject.params(), subject.bytes());
    let batch = Batch::new(subject.records.len(), &bytes);
    let (loss, gradient) = subject.gradient(&params, &batch);
    on_threads(4, |_| {
        for _ in 0..2 {
            let other = Batch::new(1, &subject.records[0]);
            subject.gradient(&params, &other);
            let (again, same) = subject.gradient(&params, &batch);
            assert_eq!(loss.to_bits(), again.to_bits(), "the loss differs");
            assert!(bits(&gradient) == bits(&same), "the gradient differs");
        }
    });
}

/// Missing bytes, too few and too many bytes are rejected. No bytes cause a panic.
pub fn bytes_that_are_no_examples_are_rejected(subject: &Subject) {
    let bytes = subject.bytes();
    let count = subject.records.len();
    let long = [&bytes[..], &[0]].concat();
    for (what, bad) in [
        ("one byte too few", &bytes[..bytes.len() - 1]),
        ("one byte too many", &long[..]),
        ("no bytes", &[]),
    ] {
        for result in both(subject, &Batch::new(count, bad)) {
            if subject.any_bytes {
                continue;
            }
            let error = result.expect_err(what);
            assert_eq!(error.kind(), ErrorKind::Rejected, "{what}");
        }
    }
    for fill in [0x00, 0x7f, 0x80, 0xff] {
        // These bytes may or may not be valid examples.
        let _ = both(subject, &Batch::new(count, &vec![fill; bytes.len()]));
    }
    let [gradient, evaluation] = both(subject, &Batch::new(count, &bytes));
    gradient.expect("a good batch after bad ones");
    evaluation.expect("a good batch after bad ones");
}

/// The results of `gradient` and `evaluate` for a batch.
fn both(subject: &Subject, batch: &Batch<'_>) -> [Result<()>; 2] {
    let params = subject.params();
    let mut gradient = vec![0.0; subject.dim()];
    let loss = subject.workload.gradient(&params, batch, Seed::new(3), &mut gradient);
    let evaluated = subject.workload.evaluate(&params, batch, &mut Metrics::new());
    [loss.map(drop), evaluated]
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}
