//! A gradient is computed on the calling thread. This test has a file for itself, so that no other
//! test's threads are counted.

#![cfg(target_os = "linux")]

use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::prelude::*;
use siren_burn::{BurnWorkload, Learner, burn};
use siren_core::{Batch, Result, Seed, Workload};

/// Large enough for a backend with its own threads to use them.
struct Convolution;

impl Learner for Convolution {
    type Module = Conv2d;
    type Batch = Tensor<4>;

    fn init(&self, device: &Device) -> Conv2d {
        Conv2dConfig::new([8, 16], [5, 5]).init(device)
    }

    fn batch(&self, batch: &Batch<'_>, device: &Device) -> Result<Tensor<4>> {
        Ok(Tensor::ones([batch.examples, 8, 20, 20], device))
    }

    fn loss(&self, conv: &Conv2d, images: Tensor<4>) -> Tensor<1> {
        conv.forward(images).powf_scalar(2.0).mean()
    }
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn a_gradient_starts_no_threads() {
    let before = threads();
    let workload = BurnWorkload::new(Convolution).unwrap();
    let params = workload.init(Seed::new(0)).unwrap();
    let mut gradient = vec![0.0; workload.dim()];
    workload.gradient(&params, &Batch::new(32, &[]), Seed::new(0), &mut gradient).unwrap();
    assert_eq!(threads(), before, "a crate enables the feature `rayon` of burn-flex");
}
