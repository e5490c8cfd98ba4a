//! The fast layers agree with burn's own.

use burn::module::Module;
use burn::nn::PaddingConfig2d;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::prelude::*;
use burn::tensor::Tolerance;
use siren_burn::{burn, cpu};

/// Numbers without ties, so that a maximum has one place.
fn numbers<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    let count: usize = shape.iter().product();
    let values = (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32);
    let values: Vec<f32> = values.map(|value| value / 8_388_608.0 - 1.0).collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

fn same<const D: usize>(ours: Tensor<D>, theirs: Tensor<D>) {
    assert_eq!(ours.dims(), theirs.dims());
    ours.into_data().assert_approx_eq::<f32>(&theirs.into_data(), Tolerance::rel_abs(1e-4, 1e-5));
}

fn convolutions() -> Vec<(Conv2d, [usize; 4])> {
    let device = Device::flex().autodiff();
    let config = Conv2dConfig::new;
    [
        (config([1, 20], [5, 5]), [3, 1, 12, 12]),
        (config([4, 6], [3, 2]), [2, 4, 5, 9]),
        (config([3, 2], [1, 1]), [2, 3, 4, 4]),
        (config([2, 3], [4, 5]), [1, 2, 4, 5]),
        (config([2, 3], [3, 3]).with_bias(false), [2, 2, 6, 6]),
        // These have no fast implementation.
        (config([2, 3], [3, 3]).with_stride([2, 2]), [2, 2, 7, 7]),
        (config([2, 3], [3, 3]).with_dilation([2, 2]), [2, 2, 7, 7]),
        (config([2, 4], [3, 3]).with_groups(2), [2, 2, 6, 6]),
        (config([2, 3], [3, 3]).with_padding(PaddingConfig2d::Same), [2, 2, 6, 6]),
    ]
    .into_iter()
    .map(|(config, shape)| (config.init(&device), shape))
    .collect()
}

#[test]
fn convolutions_agree() {
    for (conv, shape) in convolutions() {
        let (conv, images) = (conv.valid(), numbers(shape));
        same(cpu::conv2d(&conv, images.clone()), conv.forward(images));
    }
}

type Forward = fn(&Conv2d, Tensor<4>) -> Tensor<4>;

#[test]
fn gradients_of_convolutions_agree() {
    for (conv, shape) in convolutions() {
        let gradients = |forward: Forward| {
            let images = numbers(shape).autodiff().require_grad();
            let output = forward(&conv, images.clone());
            let weights = numbers(output.dims()).autodiff();
            let gradients = (output * weights).sum().backward();
            (
                images.grad(&gradients).unwrap(),
                conv.weight.val().grad(&gradients).unwrap(),
                conv.bias.as_ref().map(|bias| bias.val().grad(&gradients).unwrap()),
            )
        };
        let (images, weight, bias) = gradients(cpu::conv2d);
        let theirs = gradients(Conv2d::forward);
        same(images, theirs.0);
        same(weight, theirs.1);
        match (bias, theirs.2) {
            (Some(ours), Some(theirs)) => same(ours, theirs),
            (ours, theirs) => assert!(ours.is_none() && theirs.is_none()),
        }
    }
}

#[test]
fn tensors_outside_autodiff_mix_with_tracked_ones() {
    let (conv, shape) = convolutions().swap_remove(1);
    let output = cpu::conv2d(&conv, numbers(shape));
    let gradients = output.sum().backward();
    assert!(conv.weight.val().grad(&gradients).is_some());

    let images = numbers(shape).autodiff().require_grad();
    let output = cpu::conv2d(&conv.valid(), images.clone());
    assert!(images.grad(&output.sum().backward()).is_some());
}

#[test]
fn tensors_that_are_not_contiguous_agree() {
    let (conv, _) = convolutions().swap_remove(1);
    let conv = conv.valid();
    let images = numbers([2, 4, 9, 7]).swap_dims(2, 3).slice([0..2, 0..4, 1..6, 0..9]);
    same(cpu::conv2d(&conv, images.clone()), conv.forward(images.clone()));
    let pool = MaxPool2dConfig::new([2, 2]).init();
    same(cpu::max_pool2d(&pool, images.clone()), pool.forward(images));
}

fn pools() -> Vec<MaxPool2d> {
    let config = MaxPool2dConfig::new;
    vec![
        config([2, 2]).init(),
        config([2, 2]).with_strides([2, 2]).init(),
        config([3, 2]).with_strides([1, 3]).init(),
        // These have no fast implementation.
        config([2, 2]).with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)).init(),
        config([2, 2]).with_dilation([2, 1]).init(),
        config([2, 2]).with_ceil_mode(true).init(),
    ]
}

#[test]
fn poolings_and_their_gradients_agree() {
    for pool in pools() {
        for shape in [[2, 3, 8, 8], [1, 2, 5, 7]] {
            let run = |forward: fn(&MaxPool2d, Tensor<4>) -> Tensor<4>| {
                let images = numbers(shape).autodiff().require_grad();
                let output = forward(&pool, images.clone());
                let weights = numbers(output.dims()).autodiff();
                let gradients = (output.clone() * weights).sum().backward();
                (output.inner(), images.grad(&gradients).unwrap())
            };
            let (output, gradient) = run(cpu::max_pool2d);
            let theirs = run(MaxPool2d::forward);
            same(output, theirs.0);
            same(gradient, theirs.1);
            same(cpu::max_pool2d(&pool, numbers(shape)), pool.forward(numbers(shape)));
        }
    }
}

#[test]
fn nan_passes_through() {
    let nan = Tensor::<4>::full([1, 1, 4, 4], f32::NAN, &Device::flex());
    let pool = MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init();
    assert!(cpu::max_pool2d(&pool, nan.clone()).into_data().iter::<f32>().all(f32::is_nan));
    let conv = Conv2dConfig::new([1, 2], [3, 3]).init(&Device::flex());
    assert!(cpu::conv2d(&conv, nan).into_data().iter::<f32>().all(f32::is_nan));
}
