//! What is done to vectors: optimizers, sums and norms, in one pass each over plain slices.
//!
//! The loops are plain; `pulp` compiles each of them for the widest vectors that it knows, and runs
//! the one that this machine has. Nothing is fused (a multiplication and an addition stay two roundings)
//! and no sum is reordered, so that every instruction set gives the same bits. Memory bounds the loops
//! anyway.

mod optimizer;
mod top_k;
mod vector;

pub use optimizer::{Step, clip_scale};
use pulp::Arch;
pub use top_k::TopK;
pub use vector::{add, descend, squared_norm, squared_norm_of, weighted_sum};

/// Runs a loop over slices, compiled for this machine's vectors.
#[inline(always)]
fn vectorised<R>(body: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(body)
}

#[cfg(test)]
mod tests;
