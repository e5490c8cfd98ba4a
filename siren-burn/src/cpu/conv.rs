//! Two-dimensional convolution: for each image a matrix of its patches, and one product.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Flex};
use burn::nn::PaddingConfig2d;
use burn::nn::conv::Conv2d;
use burn::tensor::{DType, Tensor};
use ndarray::linalg::general_mat_mul;
use ndarray::{ArrayView2, ArrayViewMut2};

use super::{entries, tensor};

/// The same as `conv.forward(images)`: `[images, channels, height, width]`.
///
/// Fast with stride and dilation 1, one group and no padding.
pub fn conv2d(conv: &Conv2d, images: Tensor<4>) -> Tensor<4> {
    let plain = conv.stride == [1, 1]
        && conv.dilation == [1, 1]
        && conv.groups == 1
        && matches!(conv.padding, PaddingConfig2d::Valid);
    let weight = conv.weight.val();
    let bias = conv.bias.as_ref().map(|bias| bias.val());
    let geometry = Geometry::of(images.dims(), weight.dims());
    let (Some(geometry), true, DType::F32, DType::F32) =
        (geometry, plain, images.dtype(), weight.dtype())
    else {
        return conv.forward(images);
    };
    let x = images.clone();
    let fast = if images.is_autodiff() || weight.is_autodiff() {
        tracked(geometry, x, weight, bias)
    } else {
        untracked(geometry, x, weight, bias)
    };
    fast.unwrap_or_else(|| conv.forward(images))
}

fn untracked(
    geometry: Geometry,
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
) -> Option<Tensor<4>> {
    let x = x.try_into_primitive::<Flex>().ok()?.to_contiguous();
    let weight = weight.try_into_primitive::<Flex>().ok()?.to_contiguous();
    let bias = match bias {
        Some(bias) => Some(bias.try_into_primitive::<Flex>().ok()?.to_contiguous()),
        None => None,
    };
    let output = geometry.forward(&x, &weight, bias.as_ref());
    Some(Tensor::from_primitive::<Flex>(output))
}

fn tracked(
    geometry: Geometry,
    x: Tensor<4>,
    weight: Tensor<4>,
    bias: Option<Tensor<1>>,
) -> Option<Tensor<4>> {
    type Tape = Autodiff<Flex>;
    let (x, x_node) = x.autodiff().try_into_primitive::<Tape>().ok()?.into_parts();
    let weight = weight.autodiff().try_into_primitive::<Tape>().ok()?;
    let (weight, weight_node) = weight.into_parts();
    let (x, weight) = (x.to_contiguous(), weight.to_contiguous());
    let state = State { geometry, x, weight };
    let output = match bias {
        None => {
            let output = geometry.forward(&state.x, &state.weight, None);
            let nodes = [x_node, weight_node];
            match Convolution.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
                OpsKind::Tracked(step) => step.finish(state, output),
                OpsKind::UnTracked(step) => step.finish(output),
            }
        }
        Some(bias) => {
            let bias = bias.autodiff().try_into_primitive::<Tape>().ok()?;
            let (bias, bias_node) = bias.into_parts();
            let bias = bias.to_contiguous();
            let output = geometry.forward(&state.x, &state.weight, Some(&bias));
            let nodes = [x_node, weight_node, bias_node];
            match Convolution.prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
                OpsKind::Tracked(step) => step.finish(state, output),
                OpsKind::UnTracked(step) => step.finish(output),
            }
        }
    };
    Some(Tensor::from_primitive::<Tape>(output))
}

#[derive(Clone, Copy, Debug)]
struct Convolution;

#[derive(Clone, Debug)]
struct State {
    geometry: Geometry,
    x: FlexTensor,
    weight: FlexTensor,
}

/// Two parents without a bias, three with one.
impl<const N: usize> Backward<Flex, N> for Convolution {
    type State = State;

    fn backward(
        self,
        ops: Ops<State, N>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let output = gradients.consume::<Flex>(&ops.node).to_contiguous();
        let State { geometry, x, weight } = ops.state;
        let parent = |index: usize| ops.parents.get(index).and_then(|node| node.as_ref());
        if let Some(node) = parent(0) {
            gradients.register::<Flex>(node.id, geometry.x_gradient(&weight, &output));
        }
        if let Some(node) = parent(1) {
            gradients.register::<Flex>(node.id, geometry.weight_gradient(&x, &output));
        }
        if let Some(node) = parent(2) {
            gradients.register::<Flex>(node.id, geometry.bias_gradient(&output));
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Geometry {
    images: usize,
    channels: usize,
    height: usize,
    width: usize,
    filters: usize,
    kernel: [usize; 2],
}

impl Geometry {
    fn of(x: [usize; 4], weight: [usize; 4]) -> Option<Self> {
        let geometry = Self {
            images: x[0],
            channels: x[1],
            height: x[2],
            width: x[3],
            filters: weight[0],
            kernel: [weight[2], weight[3]],
        };
        let fits = weight[1] == x[1]
            && (1..=x[2]).contains(&weight[2])
            && (1..=x[3]).contains(&weight[3])
            && weight[0] * weight[1] * x[0] > 0;
        fits.then_some(geometry)
    }

    fn out_height(&self) -> usize {
        self.height + 1 - self.kernel[0]
    }

    fn out_width(&self) -> usize {
        self.width + 1 - self.kernel[1]
    }

    /// Pixels of an output plane.
    fn pixels(&self) -> usize {
        self.out_height() * self.out_width()
    }

    /// Entries of a patch: the input of one output pixel.
    fn patch(&self) -> usize {
        self.channels * self.kernel[0] * self.kernel[1]
    }

    fn image(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Calls `row` for each row of the patch matrix and each output row, with the start index in
    /// the matrix and in the image.
    fn rows(&self, mut row: impl FnMut(usize, usize)) {
        let mut start = 0;
        for channel in 0..self.channels {
            for i in 0..self.kernel[0] {
                for j in 0..self.kernel[1] {
                    for y in 0..self.out_height() {
                        row(start, (channel * self.height + y + i) * self.width + j);
                        start += self.out_width();
                    }
                }
            }
        }
    }

    /// Writes an image's patches into a matrix `[patch, pixels]`.
    fn gather(&self, image: &[f32], patches: &mut [f32]) {
        let width = self.out_width();
        self.rows(|to, from| {
            patches[to..to + width].copy_from_slice(&image[from..from + width]);
        });
    }

    /// Adds the entries of a matrix `[patch, pixels]` to their pixels of the image.
    fn scatter(&self, patches: &[f32], image: &mut [f32]) {
        let width = self.out_width();
        self.rows(|from, to| {
            let pairs = image[to..to + width].iter_mut().zip(&patches[from..from + width]);
            pairs.for_each(|(pixel, entry)| *pixel += entry);
        });
    }

    fn forward(
        &self,
        x: &FlexTensor,
        weight: &FlexTensor,
        bias: Option<&FlexTensor>,
    ) -> FlexTensor {
        let mut output = vec![0.0; self.images * self.filters * self.pixels()];
        let mut patches = vec![0.0; self.patch() * self.pixels()];
        let weight = matrix(entries(weight), self.filters, self.patch());
        let images = entries(x).chunks_exact(self.image());
        for (image, output) in images.zip(output.chunks_exact_mut(self.filters * self.pixels())) {
            self.gather(image, &mut patches);
            if let Some(bias) = bias {
                for (plane, &bias) in output.chunks_exact_mut(self.pixels()).zip(entries(bias)) {
                    plane.fill(bias);
                }
            }
            let patches = matrix(&patches, self.patch(), self.pixels());
            let mut output = matrix_mut(output, self.filters, self.pixels());
            general_mat_mul(1.0, &weight, &patches, 1.0, &mut output);
        }
        let shape = [self.images, self.filters, self.out_height(), self.out_width()];
        tensor(output, shape)
    }

    fn weight_gradient(&self, x: &FlexTensor, output: &FlexTensor) -> FlexTensor {
        let mut gradient = vec![0.0; self.filters * self.patch()];
        let mut patches = vec![0.0; self.patch() * self.pixels()];
        let outputs = entries(output).chunks_exact(self.filters * self.pixels());
        for (image, output) in entries(x).chunks_exact(self.image()).zip(outputs) {
            self.gather(image, &mut patches);
            let patches = matrix(&patches, self.patch(), self.pixels());
            let output = matrix(output, self.filters, self.pixels());
            let mut gradient = matrix_mut(&mut gradient, self.filters, self.patch());
            general_mat_mul(1.0, &output, &patches.t(), 1.0, &mut gradient);
        }
        let [height, width] = self.kernel;
        tensor(gradient, [self.filters, self.channels, height, width])
    }

    fn x_gradient(&self, weight: &FlexTensor, output: &FlexTensor) -> FlexTensor {
        let mut gradient = vec![0.0; self.images * self.image()];
        let mut patches = vec![0.0; self.patch() * self.pixels()];
        let weight = matrix(entries(weight), self.filters, self.patch());
        let outputs = entries(output).chunks_exact(self.filters * self.pixels());
        for (image, output) in gradient.chunks_exact_mut(self.image()).zip(outputs) {
            let output = matrix(output, self.filters, self.pixels());
            let mut into = matrix_mut(&mut patches, self.patch(), self.pixels());
            general_mat_mul(1.0, &weight.t(), &output, 0.0, &mut into);
            self.scatter(&patches, image);
        }
        let shape = [self.images, self.channels, self.height, self.width];
        tensor(gradient, shape)
    }

    fn bias_gradient(&self, output: &FlexTensor) -> FlexTensor {
        let mut gradient = vec![0.0; self.filters];
        for output in entries(output).chunks_exact(self.filters * self.pixels()) {
            for (sum, plane) in gradient.iter_mut().zip(output.chunks_exact(self.pixels())) {
                *sum += total(plane);
            }
        }
        tensor(gradient, [self.filters])
    }
}

/// The sum of a plane in eight lanes, because in a single chain each addition would wait for the
/// one before.
fn total(plane: &[f32]) -> f32 {
    let (chunks, rest) = plane.as_chunks::<8>();
    let mut lanes = [0.0; 8];
    for chunk in chunks {
        for (lane, value) in lanes.iter_mut().zip(chunk) {
            *lane += value;
        }
    }
    lanes.iter().sum::<f32>() + rest.iter().sum::<f32>()
}

fn matrix(values: &[f32], rows: usize, columns: usize) -> ArrayView2<'_, f32> {
    ArrayView2::from_shape((rows, columns), values).expect("a matrix has rows * columns entries")
}

fn matrix_mut(values: &mut [f32], rows: usize, columns: usize) -> ArrayViewMut2<'_, f32> {
    ArrayViewMut2::from_shape((rows, columns), values).expect("a matrix has rows * columns entries")
}
