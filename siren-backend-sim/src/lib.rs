//! Siren workers on simulated AWS Lambda and S3, with the same worker and trainer code, real
//! gradients, virtual time and modelled costs.
//!
//! A [`SimBackend`] simulates on a laptop the loss, the time and the cost of a job on a thousand
//! functions. Functions start cold or warm, compute at a speed that depends on their memory, wait
//! for S3, and may be stragglers. Requests are billed, and invocations can be lost. All random
//! numbers are drawn from one seed, and no measured time is used: two runs are the same, byte for
//! byte, on any machine with any number of cores.
//!
//! ```
//! # use std::sync::Arc;
//! # use siren_core::{Batch, Layout, Metrics, Result, Seed, StepTime, Workload};
//! # use siren_hsp::{Config, FixedScheduler, MemoryStore, TrainerParts, ShardWorker, Trainer};
//! # use siren_data::MemorySource;
//! use siren_backend_sim::{SimBackend, SimStore, Simulation};
//! # struct Mean(Layout);
//! # impl Workload for Mean {
//! #     fn layout(&self) -> &Layout { &self.0 }
//! #     fn init(&self, _: Seed) -> Result<Vec<f32>> { Ok(vec![0.0]) }
//! #     fn gradient(&self, p: &[f32], b: &Batch<'_>, _: Seed, g: &mut [f32]) -> Result<f64> {
//! #         let x = b.floats(1)?;
//! #         let d: Vec<f32> = x.iter().map(|x| p[0] - x).collect();
//! #         g[0] = d.iter().sum::<f32>() / d.len() as f32;
//! #         Ok(f64::from(d.iter().map(|d| d * d / 2.0).sum::<f32>()) / d.len() as f64)
//! #     }
//! #     fn evaluate(&self, _: &[f32], _: &Batch<'_>, _: &mut Metrics) -> Result<()> { Ok(()) }
//! # }
//! # let workload = Arc::new(Mean(Layout::flat("mean", 1)?));
//! # let bytes: Vec<u8> = (0..4_096).flat_map(|i| (i as f32 % 7.0).to_le_bytes()).collect();
//! # let data = Arc::new(MemorySource::new(bytes, 4)?);
//! let store = Arc::new(MemoryStore::initialised(&*workload, 1)?);
//! let sim = Arc::new(SimBackend::functions(
//!     Arc::new(ShardWorker::new(workload.clone())),
//!     SimStore::Ideal(store),
//!     data,
//!     Simulation::lambda(StepTime::per_example(1e-4)),
//!     Seed::new(1),
//! )?);
//! let parts = TrainerParts {
//!     workload,
//!     train: sim.data(),
//!     held_out: None,
//!     store: sim.store(),
//!     backend: sim.clone(),
//!     scheduler: Box::new(FixedScheduler::new(50, 512)),
//! };
//! let trained = sim.run(Trainer::new(parts, Config::default())?.run())??;
//! println!("{} for {}", trained.outcome.evaluation.loss, trained.outcome.cost);
//! # assert!(trained.outcome.cost.dollars() > 0.0);
//! # Ok::<(), siren_core::Error>(())
//! ```

mod backend;
mod clock;
mod context;
mod data;
mod environments;
mod fault;
mod link;
mod measure;
mod objects;
mod simulation;
mod store;
mod task_pool;

pub use backend::{Bill, OpenStore, SimBackend, SimStore};
pub use clock::VirtualClock;
pub use fault::{Fault, Faults};
pub use measure::{Measuring, measure};
pub use simulation::{Simulation, step_toml};
