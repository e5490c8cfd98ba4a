//! temporary
#![allow(missing_docs, clippy::disallowed_methods, unreachable_pub)]
use burn::prelude::*;
use burn::tensor::Distribution;
use burn::tensor::module::*;
use burn::tensor::ops::*;
use siren_burn::burn;
#[global_allocator]
static GLOBAL: mimalloc::MiMalloc = mimalloc::MiMalloc;
fn cpu() -> f64 { std::fs::read_to_string("/proc/thread-self/schedstat").unwrap().split(' ').next().unwrap().parse::<f64>().unwrap() * 1e-6 }
fn time<T>(name: &str, mut f: impl FnMut() -> T) {
    let mut best = f64::MAX;
    f();
    for _ in 0..7 { let t = cpu(); for _ in 0..3 { std::hint::black_box(f()); } best = best.min((cpu() - t) / 3.0); }
    println!("{name:30} {best:7.3} ms");
}
fn r<const D: usize>(s: [usize; D]) -> Tensor<D> { Tensor::random(s, Distribution::Normal(0.0, 1.0), &Device::flex()) }
fn main() {
    let n = 64;
    let (x1, w1, b1) = (r([n, 1, 28, 28]), r([20, 1, 5, 5]), r([20]));
    let (x2, w2, b2) = (r([n, 20, 12, 12]), r([50, 20, 5, 5]), r([50]));
    let (g1, g2) = (r([n, 20, 24, 24]), r([n, 50, 8, 8]));
    let po = || MaxPoolOptions::new([2, 2]);
    let o = || ConvOptions::new([1, 1], [0, 0], [1, 1], 1);
    time("conv1 fwd", || conv2d(x1.clone(), w1.clone(), Some(b1.clone()), o()));
    time("conv1 wgrad", || conv2d(x1.clone().swap_dims(0, 1), g1.clone().swap_dims(0, 1), None, o()));
    time("conv1 bgrad", || g1.clone().swap_dims(0, 1).reshape([20, n * 576]).sum_dim(1));
    time("relu1", || burn::tensor::activation::relu(g1.clone()));
    time("pool1", || max_pool2d(g1.clone(), po()));
    time("conv2 fwd", || conv2d(x2.clone(), w2.clone(), Some(b2.clone()), o()));
    time("conv2 wgrad", || conv2d(x2.clone().swap_dims(0, 1), g2.clone().swap_dims(0, 1), None, o()));
    time("conv2 xgrad", || conv_transpose2d(g2.clone(), w2.clone(), None, ConvTransposeOptions::new([1, 1], [0, 0], [0, 0], [1, 1], 1)));
    time("conv2 bgrad", || g2.clone().swap_dims(0, 1).reshape([50, n * 64]).sum_dim(1));
    time("pool2", || max_pool2d(g2.clone(), po()));
    time("relu2", || burn::tensor::activation::relu(g2.clone()));
    let (x3, w3, g3) = (r([n, 800]), r([800, 500]), r([n, 500]));
    time("lin fwd", || x3.clone().matmul(w3.clone()));
    time("lin wgrad", || x3.clone().transpose().matmul(g3.clone()));
    time("lin xgrad", || g3.clone().matmul(w3.clone().transpose()));
    let d = Device::flex().autodiff();
    let (a1, a2, a3) = (x1.clone().autodiff(), w1.clone().autodiff().require_grad(), b1.clone().autodiff().require_grad());
    time("conv1 fwd+bwd", || conv2d(a1.clone(), a2.clone(), Some(a3.clone()), o()).sum().backward());
    let p = g1.clone().autodiff().require_grad();
    time("pool1 fwd+bwd", || max_pool2d(p.clone(), po()).sum().backward());
    time("relu1 fwd+bwd", || burn::tensor::activation::relu(p.clone()).sum().backward());
    let (a1, a2, a3) = (x2.clone().autodiff().require_grad(), w2.clone().autodiff().require_grad(), b2.clone().autodiff().require_grad());
    time("conv2 fwd+bwd", || conv2d(a1.clone(), a2.clone(), Some(a3.clone()), o()).sum().backward());
    let _ = d;
}
