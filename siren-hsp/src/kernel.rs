//! Vector operations: optimizers, sums and norms, each in one pass over plain slices.
//!
//! The loops are plain Rust. `pulp` compiles each loop for several instruction sets and selects the
//! widest that the machine supports. No multiply-add is fused (multiplication and addition round
//! separately) and no sum is reordered, so that every instruction set gives the same bits. Memory
//! bandwidth bounds these loops in any case.

mod noise;
mod optimizer;
mod top_k;
mod vector;

pub use noise::Products;
pub use optimizer::{Step, clip_scale};
use pulp::Arch;
pub use top_k::TopK;
pub use vector::{add, descend, squared_norm, squared_norm_of, weighted_sum};

/// Runs a loop compiled for this machine's vectors.
#[inline(always)]
fn vectorised<R>(body: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(body)
}

#[cfg(test)]
mod tests;
