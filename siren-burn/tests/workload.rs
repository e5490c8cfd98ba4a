//! The contract of a burn workload.

use std::sync::Barrier;

use burn::module::Param;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::pool::{AvgPool2d, AvgPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear, LinearConfig};
use burn::prelude::*;
use burn::tensor::activation::sigmoid;
use siren_burn::{BurnWorkload, Learner, Measure, burn};
use siren_core::{Batch, Error, ErrorKind, Metrics, Result, Seed, Workload};

const SIDE: usize = 8;
const RECORD: usize = 1 + SIDE * SIDE;

#[derive(Module, Debug)]
struct Net {
    conv: Conv2d,
    pool: AvgPool2d,
    heads: Vec<Linear>,
    unused: Option<Linear>,
}

struct Classes {
    classes: usize,
}

impl Learner for Classes {
    type Module = Net;
    type Batch = (Tensor<4>, Tensor<1, Int>);

    fn init(&self, device: &Device) -> Net {
        Net {
            conv: Conv2dConfig::new([1, 2], [3, 3]).init(device),
            pool: AvgPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            heads: vec![
                LinearConfig::new(18, 5).init(device),
                LinearConfig::new(5, self.classes).with_bias(false).init(device),
            ],
            unused: Some(LinearConfig::new(2, 1).init(device)),
        }
    }

    fn batch(&self, batch: &Batch<'_>, device: &Device) -> Result<Self::Batch> {
        if batch.bytes.len() != batch.examples * RECORD {
            return Err(Error::rejected(format!(
                "{} examples of {RECORD} bytes are not {} bytes",
                batch.examples,
                batch.bytes.len()
            )));
        }
        let pixels: Vec<f32> = batch
            .records()
            .flat_map(|record| record[1..].iter().map(|&pixel| f32::from(pixel) / 255.0))
            .collect();
        let labels: Vec<i64> = batch.records().map(|record| i64::from(record[0])).collect();
        let images = TensorData::new(pixels, [batch.examples, 1, SIDE, SIDE]);
        let targets = TensorData::new(labels, [batch.examples]);
        Ok((Tensor::from_data(images, device), Tensor::from_data(targets, device)))
    }

    fn loss(&self, net: &Net, (images, targets): Self::Batch) -> Tensor<1> {
        let device = images.device();
        CrossEntropyLossConfig::new().init(&device).forward(logits(net, images), targets)
    }

    fn evaluate(&self, net: &Net, (images, targets): Self::Batch, measure: &mut Measure<'_>) {
        let logits = logits(net, images);
        assert!(!logits.is_autodiff(), "an evaluation must record no graph");
        measure.classification(logits, targets);
    }
}

fn logits(net: &Net, images: Tensor<4>) -> Tensor<2> {
    let x = net.pool.forward(sigmoid(net.conv.forward(images)));
    let x = sigmoid(net.heads[0].forward(x.flatten(1, 3)));
    net.heads[1].forward(x)
}

fn workload() -> BurnWorkload<Classes> {
    BurnWorkload::new(Classes { classes: 3 }).unwrap()
}

fn records(examples: usize) -> Vec<u8> {
    (0..examples * RECORD)
        .map(|i| match i % RECORD {
            0 => (i / RECORD % 3) as u8,
            _ => (i.wrapping_mul(2_654_435_761) >> 13) as u8,
        })
        .collect()
}

fn gradient_of(workload: &BurnWorkload<Classes>, params: &[f32]) -> (f64, Vec<f32>) {
    let bytes = records(6);
    let mut gradient = vec![f32::NAN; workload.dim()];
    let loss =
        workload.gradient(params, &Batch::new(6, &bytes), Seed::new(0), &mut gradient).unwrap();
    (loss, gradient)
}

#[test]
fn the_layout_is_the_modules_fields_in_order() {
    let workload = workload();
    let tensors: Vec<_> = workload
        .layout()
        .tensors()
        .iter()
        .map(|tensor| (tensor.name.as_str(), tensor.shape.as_slice()))
        .collect();
    assert_eq!(
        tensors,
        [
            ("conv.weight", &[2, 1, 3, 3][..]),
            ("conv.bias", &[2]),
            ("heads.0.weight", &[18, 5]),
            ("heads.0.bias", &[5]),
            ("heads.1.weight", &[5, 3]),
            ("unused.weight", &[2, 1]),
            ("unused.bias", &[1]),
        ]
    );
    assert_eq!(workload.dim(), 18 + 2 + 90 + 5 + 15 + 2 + 1);
}

#[test]
fn a_gradient_agrees_with_finite_differences() {
    let workload = workload();
    let mut params = workload.init(Seed::new(3)).unwrap();
    let (_, gradient) = gradient_of(&workload, &params);
    let step = 1e-2_f32;
    for entry in 0..params.len() {
        let middle = params[entry];
        params[entry] = middle + step;
        let (above, _) = gradient_of(&workload, &params);
        params[entry] = middle - step;
        let (below, _) = gradient_of(&workload, &params);
        params[entry] = middle;
        let slope = (above - below) / (2.0 * f64::from(step));
        let error = (slope - f64::from(gradient[entry])).abs();
        assert!(error < 2e-4, "entry {entry}: slope {slope}, gradient {}", gradient[entry]);
    }
    assert!(gradient.iter().any(|g| g.abs() > 0.01));
}

#[test]
fn parameters_that_the_loss_does_not_use_have_a_zero_gradient() {
    let workload = workload();
    let params = workload.init(Seed::new(3)).unwrap();
    let (_, gradient) = gradient_of(&workload, &params);
    assert_eq!(gradient[workload.dim() - 3..], [0.0; 3]);
}

#[test]
fn a_parameter_that_is_not_finite_passes_through() {
    let workload = workload();
    let mut params = workload.init(Seed::new(3)).unwrap();
    params[20] = f32::NAN;
    let (loss, gradient) = gradient_of(&workload, &params);
    assert!(loss.is_nan());
    assert!(gradient.iter().any(|g| g.is_nan()));
}

#[test]
fn equal_seeds_give_equal_parameters_also_from_two_threads_at_once() {
    let workload = workload();
    let [first, second] = [1, 2].map(|seed| workload.init(Seed::new(seed)).unwrap());
    assert_ne!(first, second);
    let start = Barrier::new(2);
    std::thread::scope(|scope| {
        for (seed, expected) in [(1, &first), (2, &second)] {
            let (workload, start) = (&workload, &start);
            scope.spawn(move || {
                start.wait();
                for _ in 0..50 {
                    assert_eq!(&workload.init(Seed::new(seed)).unwrap(), expected);
                }
            });
        }
    });
}

#[test]
fn two_threads_compute_the_same_bits_as_one() {
    let workload = workload();
    let params = [1, 2].map(|seed| workload.init(Seed::new(seed)).unwrap());
    let alone = [gradient_of(&workload, &params[0]), gradient_of(&workload, &params[1])];
    std::thread::scope(|scope| {
        for (params, expected) in params.iter().zip(&alone) {
            let workload = &workload;
            scope.spawn(move || {
                for _ in 0..50 {
                    let (loss, gradient) = gradient_of(workload, params);
                    assert_eq!(loss.to_bits(), expected.0.to_bits());
                    assert_eq!(gradient, expected.1);
                }
            });
        }
    });
}

#[test]
fn an_evaluation_agrees_with_the_loss_and_merges() {
    let workload = workload();
    let params = workload.init(Seed::new(3)).unwrap();
    let (loss, _) = gradient_of(&workload, &params);
    let bytes = records(6);
    let mut metrics = Metrics::new();
    for part in bytes.chunks(2 * RECORD) {
        workload.evaluate(&params, &Batch::new(2, part), &mut metrics).unwrap();
    }
    assert_eq!(metrics.examples(), 6);
    assert!((metrics.loss() - loss).abs() < 1e-6);
    assert!(metrics.accuracy().is_some());
}

#[test]
fn the_module_comes_back_with_its_parameters() {
    let workload = workload();
    let params = workload.init(Seed::new(9)).unwrap();
    let net = workload.module(&params).unwrap();
    assert_eq!(net.num_params(), workload.dim());
    let bias = net.heads[0].bias.as_ref().unwrap().val().into_data();
    assert_eq!(bias.as_slice::<f32>().unwrap(), &params[110..115]);
    assert!(net.train().conv.weight.is_require_grad());
}

#[test]
fn bad_input_is_rejected_by_its_sizes() {
    let workload = workload();
    let params = workload.init(Seed::new(3)).unwrap();
    let bytes = records(2);
    let mut gradient = vec![0.0; workload.dim()];
    let mut try_with = |params: &[f32], batch: Batch<'_>, entries: usize| {
        let error =
            workload.gradient(params, &batch, Seed::new(0), &mut gradient[..entries]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected);
        error.message().to_owned()
    };
    let dim = workload.dim();
    let message = try_with(&params, Batch::new(3, &bytes), dim);
    assert!(message.contains("3 examples of 65 bytes are not 130"));
    assert!(try_with(&params, Batch::new(0, &[]), dim).contains("no examples"));
    assert!(try_with(&params[1..], Batch::new(2, &bytes), dim).contains("133 parameters, not 132"));
    assert!(try_with(&params, Batch::new(2, &bytes), dim - 1).contains("133 parameters, not 132"));
    assert!(workload.module(&[]).is_err());
}

/// A line; in training, its loss has noise on the slope.
struct Noisy;

impl Learner for Noisy {
    type Module = Linear;
    type Batch = Tensor<2>;

    fn init(&self, device: &Device) -> Linear {
        LinearConfig::new(1, 1).init(device)
    }

    fn batch(&self, batch: &Batch<'_>, device: &Device) -> Result<Tensor<2>> {
        Ok(Tensor::from_data(TensorData::new(batch.floats(1)?, [batch.examples, 1]), device))
    }

    fn loss(&self, line: &Linear, x: Tensor<2>) -> Tensor<1> {
        line.forward(x).square().mean()
    }

    fn training_loss(&self, line: &Linear, x: Tensor<2>, seed: Seed) -> Tensor<1> {
        let noise = (seed.get() % 16) as f32 / 16.0;
        self.loss(line, x * (1.0 + noise))
    }
}

#[test]
fn what_training_draws_depends_on_the_seed_and_an_evaluation_draws_nothing() {
    let workload = BurnWorkload::new(Noisy).unwrap();
    let params = [2.0, 0.0];
    let bytes = 1_f32.to_le_bytes();
    let batch = Batch::new(1, &bytes);
    let gradient = |seed: u64| {
        let mut gradient = [f32::NAN; 2];
        let loss = workload.gradient(&params, &batch, Seed::new(seed), &mut gradient).unwrap();
        (loss, gradient)
    };
    assert_eq!(gradient(0), (4.0, [4.0, 4.0]));
    assert_eq!(gradient(8), (9.0, [9.0, 6.0]));
    assert_eq!(gradient(8), gradient(8));
    let mut metrics = Metrics::new();
    workload.evaluate(&params, &batch, &mut metrics).unwrap();
    assert_eq!(metrics.loss(), 4.0);
}

/// A learner whose module is `M` and is refused before any loss.
struct Only<M>(fn(&Device) -> M);

impl<M: Module + Send + Sync> Learner for Only<M> {
    type Module = M;
    type Batch = ();

    fn init(&self, device: &Device) -> M {
        (self.0)(device)
    }

    fn batch(&self, _batch: &Batch<'_>, _device: &Device) -> Result<()> {
        Ok(())
    }

    fn loss(&self, module: &M, (): ()) -> Tensor<1> {
        Tensor::ones([module.num_params()], &Device::flex())
    }
}

#[derive(Module, Debug)]
struct Layers<T: Module> {
    linear: Linear,
    other: T,
}

fn refusal<M: Module + Send + Sync>(init: fn(&Device) -> M) -> String {
    let error = BurnWorkload::new(Only(init)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    error.message().to_owned()
}

fn linear(device: &Device) -> Linear {
    LinearConfig::new(2, 2).init(device)
}

#[test]
fn state_that_no_gradient_trains_is_refused_by_name() {
    let message = refusal(|device| Layers::<BatchNorm> {
        linear: linear(device),
        other: BatchNormConfig::new(2).init(device),
    });
    assert!(message.starts_with("other.running_mean is state"), "{message}");
    let message = refusal(|device| Layers::<Linear> {
        linear: linear(device),
        other: linear(device).no_grad(),
    });
    assert!(message.starts_with("other.weight is state"), "{message}");
}

#[test]
fn other_parameters_than_trained_floats_are_refused_by_name() {
    let message = refusal(|device| Layers::<Param<Tensor<1, Int>>> {
        linear: linear(device),
        other: Param::initialized(burn::module::ParamId::new(), Tensor::from_ints([1, 2], device)),
    });
    assert!(message.starts_with("other is an integer"), "{message}");
    let message = refusal(|device| Layers::<Dropout> {
        linear: linear(device),
        other: DropoutConfig::new(0.5).init(),
    });
    assert!(message.starts_with("other.training switches on"), "{message}");
}

#[test]
fn a_parameter_in_two_places_is_refused() {
    let message = refusal(|device| {
        let linear = linear(device);
        Layers::<Linear> { other: linear.clone(), linear }
    });
    assert!(
        message.starts_with("other.weight is the same parameter as linear.weight"),
        "{message}"
    );
}

#[test]
fn a_module_without_parameters_is_refused() {
    assert!(refusal(|_| AvgPool2dConfig::new([2, 2]).init()).contains("no parameters"));
}

#[test]
fn a_loss_that_is_no_mean_or_uses_no_parameter_is_rejected() {
    let try_with = |init: fn(&Device) -> Linear| {
        let workload = BurnWorkload::new(Only(init)).unwrap();
        let params = workload.init(Seed::new(0)).unwrap();
        let mut gradient = vec![0.0; workload.dim()];
        let batch = Batch::new(1, &[]);
        let error = workload.gradient(&params, &batch, Seed::new(0), &mut gradient).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected);
        error.message().to_owned()
    };
    assert!(try_with(linear).contains("shape [6]"));
    let one = |device: &Device| LinearConfig::new(1, 1).with_bias(false).init(device);
    assert!(try_with(one).contains("depends on no parameter"));
}
