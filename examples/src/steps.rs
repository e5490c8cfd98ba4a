//! The step times of the examples' workloads, as constants. Previews and simulations use them by
//! default.
//!
//! Measured by `cargo run --release --example measure -- lenet` and so on: CPU time of one thread
//! of a virtual machine (x86-64 with AVX2), taken as the time on one vCPU of a function. Measure
//! again on your machine: times differ by a factor between machines.

use siren_core::StepTime;

const ZERO: StepTime = StepTime {
    seconds_per_example: 0.0,
    flops_per_example: 0.0,
    seconds_per_batch: 0.0,
    seconds_per_parameter: 0.0,
    seconds_per_handover: 0.0,
    parallel_share: 0.0,
};

/// [LeNet](siren_lenet) on MNIST, `measure lenet`: 23 ms for a batch of 64.
pub const LENET: StepTime = StepTime {
    seconds_per_example: 0.34e-3,
    seconds_per_batch: 1.4e-3,
    seconds_per_parameter: 0.45e-9,
    seconds_per_handover: 6e-6,
    ..ZERO
};

/// Logistic regression of the sparse features of census-kdd, `measure census`: 25 µs for a batch of
/// 64, most of it for adding up the entries of the sparse gradient.
pub const CENSUS: StepTime = StepTime {
    seconds_per_example: 0.38e-6,
    seconds_per_batch: 0.6e-6,
    seconds_per_parameter: 1e-9,
    seconds_per_handover: 6e-6,
    ..ZERO
};

/// Logistic regression of the 28 dense features of higgs, `measure higgs`: 2.3 µs for a batch of
/// 64.
pub const HIGGS: StepTime = StepTime {
    seconds_per_example: 32e-9,
    seconds_per_batch: 0.26e-6,
    seconds_per_parameter: 5.5e-9,
    seconds_per_handover: 6e-6,
    ..ZERO
};

/// [The network for sentences](crate::sentences) on the movie reviews, about 21 words each:
/// gradients of 1, 8, 25, 50 and 100 sentences, best of nine.
pub const SENTENCES: StepTime =
    StepTime { seconds_per_example: 0.165e-3, seconds_per_batch: 0.9e-3, ..ZERO };
