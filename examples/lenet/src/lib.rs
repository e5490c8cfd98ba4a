//! LeNet on handwritten digits, as a workload: a burn module, a [`Learner`] and the format of an
//! example.
//!
//! The programs that train it and the function that computes its gradients share this crate, which
//! is why it depends on nothing else.

use siren_burn::burn;
use siren_burn::burn::nn::conv::{Conv2d, Conv2dConfig};
use siren_burn::burn::nn::loss::CrossEntropyLossConfig;
use siren_burn::burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use siren_burn::burn::nn::{Linear, LinearConfig, Relu};
use siren_burn::burn::prelude::*;
use siren_burn::{Learner, Measure, cpu};
use siren_core::{Batch, Error, Result};

/// The width and the height of an image.
pub const SIDE: usize = 28;
/// The bytes of an example: a label from 0 to 9, then the pixels of its image, row by row.
pub const RECORD: usize = 1 + SIDE * SIDE;
/// The number of classes.
pub const CLASSES: u8 = 10;

/// A pixel with mean 0 and standard deviation 1 over the training images, which are 0.1307 and
/// 0.3081 of its range.
fn normalised(pixel: u8) -> f32 {
    (f32::from(pixel) / 255.0 - 0.1307) / 0.3081
}

/// LeNet-5 with the widths that MXNet's example made usual: 431,080 parameters.
#[derive(Module, Debug)]
pub struct LeNet {
    conv1: Conv2d,
    conv2: Conv2d,
    linear1: Linear,
    linear2: Linear,
    pool: MaxPool2d,
    relu: Relu,
}

impl LeNet {
    /// A new network on a device.
    pub fn new(device: &Device) -> Self {
        Self {
            conv1: Conv2dConfig::new([1, 20], [5, 5]).init(device),
            conv2: Conv2dConfig::new([20, 50], [5, 5]).init(device),
            linear1: LinearConfig::new(50 * 4 * 4, 500).init(device),
            linear2: LinearConfig::new(500, CLASSES.into()).init(device),
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            relu: Relu::new(),
        }
    }

    /// The logits, `[images, classes]`, of `[images, 1, 28, 28]` pixels.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        // The same as `self.conv1.forward(images)` and `self.pool.forward(x)`, and faster.
        let x = self.relu.forward(cpu::conv2d(&self.conv1, images));
        let x = cpu::max_pool2d(&self.pool, x);
        let x = self.relu.forward(cpu::conv2d(&self.conv2, x));
        let x = cpu::max_pool2d(&self.pool, x);
        let x = self.relu.forward(self.linear1.forward(x.flatten(1, 3)));
        self.linear2.forward(x)
    }
}

/// A batch of digits.
#[derive(Clone, Debug)]
pub struct Digits {
    /// Pixels of mean 0 and standard deviation 1, `[images, 1, 28, 28]`.
    pub images: Tensor<4>,
    /// Labels, `[images]`.
    pub targets: Tensor<1, Int>,
}

/// Trains [`LeNet`] to read digits, by cross-entropy.
#[derive(Clone, Copy, Debug, Default)]
pub struct DigitLearner;

impl Learner for DigitLearner {
    type Module = LeNet;
    type Batch = Digits;

    fn init(&self, device: &Device) -> LeNet {
        LeNet::new(device)
    }

    fn batch(&self, batch: &Batch<'_>, device: &Device) -> Result<Digits> {
        let examples = batch.examples;
        if batch.bytes.len() != examples * RECORD {
            return Err(Error::rejected(format!(
                "{examples} digits are {} bytes, not {}: pack each as a label and 784 pixels",
                examples * RECORD,
                batch.bytes.len()
            )));
        }
        let mut labels = Vec::with_capacity(examples);
        let mut pixels = Vec::with_capacity(examples * SIDE * SIDE);
        for record in batch.records() {
            if record[0] >= CLASSES {
                return Err(Error::rejected(format!(
                    "{} is not a digit: pack labels from 0 to 9",
                    record[0]
                )));
            }
            labels.push(i64::from(record[0]));
            pixels.extend(record[1..].iter().map(|&pixel| normalised(pixel)));
        }
        let images = TensorData::new(pixels, [examples, 1, SIDE, SIDE]);
        Ok(Digits {
            images: Tensor::from_data(images, device),
            targets: Tensor::from_data(TensorData::new(labels, [examples]), device),
        })
    }

    fn loss(&self, net: &LeNet, digits: Digits) -> Tensor<1> {
        let device = digits.images.device();
        CrossEntropyLossConfig::new()
            .init(&device)
            .forward(net.forward(digits.images), digits.targets)
    }

    fn evaluate(&self, net: &LeNet, digits: Digits, measure: &mut Measure<'_>) {
        measure.classification(net.forward(digits.images), digits.targets);
    }
}

#[cfg(test)]
mod tests {
    use siren_burn::BurnWorkload;
    use siren_core::{Seed, Workload};

    use super::*;

    #[test]
    fn it_has_431_080_parameters() {
        let workload = BurnWorkload::new(DigitLearner).unwrap();
        assert_eq!(workload.dim(), 431_080);
    }

    #[test]
    fn a_batch_of_another_length_or_with_a_wrong_label_is_rejected() {
        let workload = BurnWorkload::new(DigitLearner).unwrap();
        let params = workload.init(Seed::new(0)).unwrap();
        let mut gradient = vec![0.0; workload.dim()];
        let mut bytes = vec![0; 2 * RECORD];
        for (examples, label) in [(1, 0), (3, 0), (2, 10)] {
            bytes[RECORD] = label;
            let batch = Batch::new(examples, &bytes);
            assert!(workload.gradient(&params, &batch, Seed::new(0), &mut gradient).is_err());
        }
    }

    #[test]
    fn steps_down_the_gradient_lower_the_loss() {
        let workload = BurnWorkload::new(DigitLearner).unwrap();
        let mut params = workload.init(Seed::new(0)).unwrap();
        let mut gradient = vec![0.0; workload.dim()];
        let mut bytes = vec![0; 8 * RECORD];
        for (index, record) in bytes.chunks_exact_mut(RECORD).enumerate() {
            record[0] = index as u8;
            record[1 + 28 * 3 * index..][..28 * 3].fill(255);
        }
        let batch = Batch::new(8, &bytes);
        let mut losses = Vec::new();
        for _ in 0..40 {
            let loss = workload.gradient(&params, &batch, Seed::new(0), &mut gradient);
            losses.push(loss.unwrap());
            for (param, gradient) in params.iter_mut().zip(&gradient) {
                *param -= 0.1 * gradient;
            }
        }
        assert!((losses[0] - 10_f64.ln()).abs() < 0.2, "{losses:?}");
        assert!(losses[39] < 0.5 * losses[0], "{losses:?}");
    }
}
