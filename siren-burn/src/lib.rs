//! Any burn module, plus a loss, becomes a [`siren_core::Workload`].
//!
//! Write the module as always, with `#[derive(Module)]`, and implement [`Learner`] for it: how it is
//! initialised, how a batch's bytes become tensors, and the loss. [`BurnWorkload`] does the rest.
//!
//! ```
//! use burn::nn::loss::{MseLoss, Reduction};
//! use burn::nn::{Linear, LinearConfig};
//! use burn::prelude::*;
//! use siren_burn::{BurnWorkload, Learner, burn};
//! use siren_core::{Batch, Result, Seed, Workload};
//!
//! #[derive(Module, Debug)]
//! struct Line {
//!     linear: Linear,
//! }
//!
//! struct Regression;
//!
//! impl Learner for Regression {
//!     type Module = Line;
//!     type Batch = (Tensor<2>, Tensor<2>);
//!
//!     fn init(&self, device: &Device) -> Line {
//!         Line { linear: LinearConfig::new(1, 1).init(device) }
//!     }
//!
//!     // An example is two numbers, x and y.
//!     fn batch(&self, batch: &Batch<'_>, device: &Device) -> Result<Self::Batch> {
//!         let (x, y): (Vec<f32>, Vec<f32>) =
//!             batch.floats(2)?.chunks_exact(2).map(|e| (e[0], e[1])).unzip();
//!         let column = |values| {
//!             Tensor::from_data(TensorData::new(values, [batch.examples, 1]), device)
//!         };
//!         Ok((column(x), column(y)))
//!     }
//!
//!     fn loss(&self, module: &Line, (x, y): Self::Batch) -> Tensor<1> {
//!         MseLoss::new().forward(module.linear.forward(x), y, Reduction::Mean)
//!     }
//! }
//!
//! let workload = BurnWorkload::new(Regression)?;
//! let names: Vec<_> = workload.layout().tensors().iter().map(|t| t.name.as_str()).collect();
//! assert_eq!(names, ["linear.weight", "linear.bias"]);
//!
//! let params = workload.init(Seed::new(7))?;
//! let module: Line = workload.module(&params)?;
//! assert_eq!(module.num_params(), workload.dim());
//! # Ok::<(), siren_core::Error>(())
//! ```
//!
//! # The flat vector
//!
//! Parameters and gradients are laid out in the order of the module's fields, depth first, each
//! tensor in row-major order; a tensor's name is its path of fields, such as `conv1.weight`.
//! All parameters must be trained `f32` tensors: [`BurnWorkload::new`] refuses anything else, by
//! name.
//!
//! # Threads
//!
//! Gradients are computed by burn's flex backend on the thread that asks for them, and nowhere else,
//! as long as no crate in the build enables burn-flex's feature `rayon`;
//! `cargo tree --edges features --invert burn-flex` shows who does.
//!
//! # Speed
//!
//! A workload costs no more than burn's own loop. Most of a convolutional network's time goes into
//! burn-flex's convolution and pooling; [`cpu`] has drop-ins that are several times as fast on one
//! thread, and the module stays burn's. Large temporary tensors also gain from another allocator
//! than the system's, such as mimalloc.

pub mod cpu;
mod flat;
mod learner;
mod measure;
mod weights;
mod workload;

pub use burn;
pub use learner::Learner;
pub use measure::Measure;
pub use weights::{load, save};
pub use workload::BurnWorkload;
