//! How long the examples' mathematics takes, as constants: what previews and simulations of them begin
//! with.
//!
//! Measured by `cargo run --release --example measure` on one thread of a virtual machine (x86-64 with AVX2),
//! and taken as what one vCPU of a function does. Measure again where it matters: another
//! machine differs by a factor, and a busy one does from minute to minute.

use siren_core::StepTime;

const ZERO: StepTime = StepTime {
    seconds_per_example: 0.0,
    flops_per_example: 0.0,
    seconds_per_batch: 0.0,
    seconds_per_parameter: 0.0,
    seconds_per_handover: 0.0,
    parallel_share: 0.0,
};

/// [LeNet](crate::lenet) on MNIST: `measure -- lenet --batch-size 64`.
pub const LENET: StepTime = StepTime {
    seconds_per_example: 0.55e-3,
    seconds_per_batch: 0.0,
    seconds_per_parameter: 0.5e-9,
    ..ZERO
};

/// Logistic regression of the 552 sparse features of census-kdd: `measure -- census --batch-size 64`.
pub const CENSUS: StepTime = StepTime { seconds_per_example: 70e-9, ..ZERO };

/// Logistic regression of the 28 dense features of higgs: `measure -- higgs --batch-size 64`.
pub const HIGGS: StepTime = StepTime { seconds_per_example: 35e-9, ..ZERO };

/// [The network for sentences](crate::sentences) on the movie reviews, about 21 words each: gradients of 1,
/// 8, 25, 50 and 100 sentences, best of nine.
pub const SENTENCES: StepTime =
    StepTime { seconds_per_example: 0.165e-3, seconds_per_batch: 0.9e-3, ..ZERO };

/// How many times as long MXNet 1.9.1 takes for an image of LeNet, on both cores of the machine on which
/// `benches/peers/lenet.sh` measured 2,796 and 1,616 images a second side by side.
pub const LENET_IN_MXNET: f64 = 2_796.0 / 1_616.0;
