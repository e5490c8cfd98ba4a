//! Makes a [`siren_core::Workload`] of any burn module and a loss.
//!
//! Write the module as usual, with `#[derive(Module)]`, and implement [`Learner`] for it: the
//! initialisation, the conversion of a batch's bytes to tensors, and the loss. [`BurnWorkload`]
//! does the rest.
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
//! tensor in row-major order. A tensor's name is its path of fields, such as `conv1.weight`. All
//! parameters must be trained `f32` tensors: [`BurnWorkload::new`] refuses anything else and names
//! it.
//!
//! # Threads
//!
//! Gradients are computed by burn's flex backend on the calling thread alone, unless a crate in the
//! build enables burn-flex's feature `rayon`. `cargo tree --edges features --invert burn-flex`
//! shows which crate does.
//!
//! # Speed
//!
//! A workload costs no more than burn's own loop. Most of a convolutional network's time is spent
//! in burn-flex's convolution and pooling. The replacements in [`cpu`] are several times as fast on
//! one thread, with the same burn module. Large temporary tensors also gain from an allocator other
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
