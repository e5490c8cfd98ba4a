//! Convolution and pooling that are faster on one CPU thread than burn's own.
//!
//! Each function replaces a burn module's `forward`. The module, its parameters, the result and the
//! gradients stay the same, up to rounding. If a function has no fast implementation, as for a
//! dilated convolution or a tensor on another device, it calls the module's own `forward`.
//!
//! ```
//! use burn::nn::conv::Conv2dConfig;
//! use burn::prelude::*;
//! use siren_burn::{burn, cpu};
//!
//! let device = Device::flex();
//! let conv = Conv2dConfig::new([1, 20], [5, 5]).init(&device);
//! let images = Tensor::<4>::ones([2, 1, 28, 28], &device);
//! let ours = cpu::conv2d(&conv, images.clone());
//! assert_eq!(ours.dims(), conv.forward(images).dims());
//! ```

mod conv;
mod pool;

use burn::backend::flex::FlexTensor;
use burn::tensor::TensorData;

pub use conv::conv2d;
pub use pool::max_pool2d;

/// The entries of a contiguous tensor.
fn entries(tensor: &FlexTensor) -> &[f32] {
    let layout = tensor.layout();
    &tensor.storage::<f32>()[layout.start_offset()..][..layout.num_elements()]
}

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}
