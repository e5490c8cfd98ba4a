//! Two-dimensional max pooling.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Flex};
use burn::nn::PaddingConfig2d;
use burn::nn::pool::MaxPool2d;
use burn::tensor::{DType, Tensor};

use super::{entries, tensor};

/// The same as `pool.forward(images)`: `[images, channels, height, width]`.
///
/// Fast with dilation 1, no padding and sizes rounded down.
pub fn max_pool2d(pool: &MaxPool2d, images: Tensor<4>) -> Tensor<4> {
    let plain = pool.dilation == [1, 1]
        && !pool.ceil_mode
        && matches!(pool.padding, PaddingConfig2d::Valid);
    let geometry = Geometry::of(images.dims(), pool.kernel_size, pool.stride);
    let (Some(geometry), true, DType::F32) = (geometry, plain, images.dtype()) else {
        return pool.forward(images);
    };
    let x = images.clone();
    let fast = if images.is_autodiff() { tracked(geometry, x) } else { untracked(geometry, x) };
    fast.unwrap_or_else(|| pool.forward(images))
}

fn untracked(geometry: Geometry, x: Tensor<4>) -> Option<Tensor<4>> {
    let x = x.try_into_primitive::<Flex>().ok()?.to_contiguous();
    let (output, _) = geometry.forward(&x);
    Some(Tensor::from_primitive::<Flex>(output))
}

fn tracked(geometry: Geometry, x: Tensor<4>) -> Option<Tensor<4>> {
    let (x, node) = x.try_into_primitive::<Autodiff<Flex>>().ok()?.into_parts();
    let (output, winners) = geometry.forward(&x.to_contiguous());
    let output = match Pooling.prepare::<NoCheckpointing>([node]).compute_bound().stateful() {
        OpsKind::Tracked(step) => step.finish((geometry, winners), output),
        OpsKind::UnTracked(step) => step.finish(output),
    };
    Some(Tensor::from_primitive::<Autodiff<Flex>>(output))
}

#[derive(Clone, Copy, Debug)]
struct Pooling;

impl Backward<Flex, 1> for Pooling {
    type State = (Geometry, Vec<u32>);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let output = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let (geometry, winners) = ops.state;
        if let [Some(node)] = ops.parents {
            gradients.register::<Flex>(node.id, geometry.backward(&winners, &output));
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Geometry {
    images: usize,
    channels: usize,
    height: usize,
    width: usize,
    kernel: [usize; 2],
    stride: [usize; 2],
}

impl Geometry {
    fn of(x: [usize; 4], kernel: [usize; 2], stride: [usize; 2]) -> Option<Self> {
        let geometry =
            Self { images: x[0], channels: x[1], height: x[2], width: x[3], kernel, stride };
        let fits = (1..=x[2]).contains(&kernel[0])
            && (1..=x[3]).contains(&kernel[1])
            && stride[0] * stride[1] > 0
            // The position of a maximum is stored in 32 bits.
            && x[2] * x[3] <= u32::MAX as usize;
        fits.then_some(geometry)
    }

    fn out_height(&self) -> usize {
        (self.height - self.kernel[0]) / self.stride[0] + 1
    }

    fn out_width(&self) -> usize {
        (self.width - self.kernel[1]) / self.stride[1] + 1
    }

    /// The maxima, and the index of each one in its plane.
    fn forward(&self, x: &FlexTensor) -> (FlexTensor, Vec<u32>) {
        let (out_height, out_width) = (self.out_height(), self.out_width());
        let planes = self.images * self.channels;
        let mut maxima = vec![0.0; planes * out_height * out_width];
        let mut winners = vec![0; maxima.len()];
        let rows = maxima.chunks_exact_mut(out_width).zip(winners.chunks_exact_mut(out_width));
        let x = entries(x);
        for (row, (maxima, winners)) in rows.enumerate() {
            let (plane, y) = (row / out_height, row % out_height);
            let plane = &x[plane * self.height * self.width..][..self.height * self.width];
            // Sizes that the compiler knows unroll the window.
            match (self.kernel, self.stride) {
                ([2, 2], [2, 2]) => self.row(plane, y, [2, 2], [2, 2], maxima, winners),
                (kernel, stride) => self.row(plane, y, kernel, stride, maxima, winners),
            }
        }
        let shape = [self.images, self.channels, out_height, out_width];
        (tensor(maxima, shape), winners)
    }

    #[inline(always)]
    fn row(
        &self,
        plane: &[f32],
        y: usize,
        kernel: [usize; 2],
        stride: [usize; 2],
        maxima: &mut [f32],
        winners: &mut [u32],
    ) {
        let top = y * stride[0] * self.width;
        for (x, (maximum, winner)) in maxima.iter_mut().zip(winners).enumerate() {
            let corner = top + x * stride[1];
            let (mut best, mut at) = (plane[corner], corner);
            for i in 0..kernel[0] {
                for j in 0..kernel[1] {
                    let index = corner + i * self.width + j;
                    let value = plane[index];
                    // NaN counts as the maximum, as in burn. Without a branch, because half of the
                    // branches would be mispredicted.
                    let wins = (value > best) | value.is_nan();
                    best = if wins { value } else { best };
                    at = if wins { index } else { at };
                }
            }
            (*maximum, *winner) = (best, at as u32);
        }
    }

    fn backward(&self, winners: &[u32], output: &FlexTensor) -> FlexTensor {
        let mut gradient = vec![0.0; self.images * self.channels * self.height * self.width];
        let pixels = self.out_height() * self.out_width();
        let outputs = entries(output).chunks_exact(pixels);
        let planes = gradient.chunks_exact_mut(self.height * self.width);
        for (plane, (output, winners)) in planes.zip(outputs.zip(winners.chunks_exact(pixels))) {
            for (&winner, value) in winners.iter().zip(output) {
                plane[winner as usize] += value;
            }
        }
        let shape = [self.images, self.channels, self.height, self.width];
        tensor(gradient, shape)
    }
}
