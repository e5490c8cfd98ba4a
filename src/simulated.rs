use std::fmt;
use std::sync::Arc;

use siren_backend_sim::{SimBackend, SimStore, Simulation};
use siren_core::{DataSource, Result, Seed, Workload};
use siren_hsp::{MemoryStore, ShardWorker, StopHandle, Trainer, TrainingResult};

use crate::builder::{BackendParts, TrainerBuilder};

/// Starts a builder for training on simulated functions, with real gradients and with modelled time
/// and money. The default is four workers.
///
/// `train` is the training data. `held_out` is the data for the evaluation at every barrier;
/// without it, the mean training loss is used.
///
/// ```
/// use std::sync::Arc;
/// use siren::{data::MemorySource, platform::StepTime, prelude::*, sim::Simulation};
/// # struct Mean(Layout);
/// # impl Workload for Mean {
/// #     fn layout(&self) -> &Layout { &self.0 }
/// #     fn init(&self, _: Seed) -> Result<Vec<f32>> { Ok(vec![0.0]) }
/// #     fn gradient(&self, w: &[f32], b: &Batch<'_>, _: Seed, g: &mut [f32]) -> Result<f64> {
/// #         let d: Vec<f32> = b.floats(1)?.iter().map(|x| w[0] - x).collect();
/// #         g[0] = d.iter().sum::<f32>() / d.len() as f32;
/// #         Ok(f64::from(d.iter().map(|d| d * d / 2.0).sum::<f32>()) / d.len() as f64)
/// #     }
/// #     fn evaluate(&self, _: &[f32], _: &Batch<'_>, _: &mut Metrics) -> Result<()> { Ok(()) }
/// # }
///
/// # fn main() -> Result<()> {
/// # let workload = Arc::new(Mean(Layout::flat("mean", 1)?));
/// let train = Arc::new(MemorySource::from_floats(&[2.0; 4_096], 1)?);
/// let trainer = siren::simulated(workload, train, None)
///     .simulation(Simulation::lambda(StepTime::per_example(1e-4))) // 0.1 ms for an example
///     .scheduler(FixedScheduler::new(50, 512))
///     .build()?;
/// let result = trainer.run()?;
/// println!("{} in {:?} for {}", result.outcome.evaluation.loss, result.outcome.elapsed, result.outcome.cost);
/// # assert!(result.outcome.cost.dollars() > 0.0);
/// # Ok(())
/// # }
/// ```
pub fn simulated(
    workload: Arc<dyn Workload>,
    train: Arc<dyn DataSource>,
    held_out: Option<Arc<dyn DataSource>>,
) -> TrainerBuilder<SimOptions> {
    TrainerBuilder::new(workload, train, held_out, SimOptions::default())
}

/// Workers of the default scheduler.
const WORKERS: u32 = 4;

/// Settings of [`simulated`] training.
#[derive(Default)]
pub struct SimOptions {
    threads: Option<usize>,
    simulation: Option<Simulation>,
    store: Option<SimStore>,
}

impl fmt::Debug for SimOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimOptions")
            .field("threads", &self.threads)
            .field("simulation", &self.simulation)
            .finish_non_exhaustive()
    }
}

impl TrainerBuilder<SimOptions> {
    /// Sets the number of real threads that compute gradients. Results do not depend on it.
    /// Default: one per core.
    pub fn threads(mut self, threads: usize) -> Self {
        self.backend.threads = Some(threads);
        self
    }

    /// Sets the platform, step times and faults. Default: AWS Lambda and S3, with computations that
    /// take no time ([`Simulation::default`]).
    pub fn simulation(mut self, simulation: Simulation) -> Self {
        self.backend.simulation = Some(simulation);
        self
    }

    /// Sets the parameter store. Default: [`SimStore::Ideal`] over a [`MemoryStore`] with the
    /// workload's initial parameters.
    pub fn store(mut self, store: SimStore) -> Self {
        self.backend.store = Some(store);
        self
    }

    /// Builds the trainer, which runs in virtual time.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Trainer::new`], [`Trainer::resume`] and [`Workload::init`], and
    /// [`ErrorKind::Rejected`](crate::ErrorKind::Rejected) for 0 threads or for values of the
    /// simulation that are not valid, naming the field.
    pub fn build(mut self) -> Result<SimTrainer> {
        let SimOptions { threads, simulation, store } = std::mem::take(&mut self.backend);
        let seed = self.effective_config().seed;
        let store = match store {
            Some(store) => store,
            None => SimStore::Ideal(Arc::new(MemoryStore::initialised(&*self.workload, seed)?)),
        };
        let worker = Arc::new(ShardWorker::new(Arc::clone(&self.workload)));
        let train = Arc::clone(&self.train);
        let simulation = simulation.unwrap_or_default();
        let mut sim = SimBackend::functions(worker, store, train, simulation, Seed::new(seed))?;
        if let Some(threads) = threads {
            sim = sim.with_threads(threads)?;
        }
        let sim = Arc::new(sim);
        let (train, store) = (sim.data(), sim.store());
        let parts = BackendParts { train, store, backend: sim.clone(), workers: WORKERS };
        Ok(SimTrainer { trainer: self.finish(parts)?, sim })
    }
}

/// A trainer on simulated functions. Virtual time passes only in [`run`](Self::run).
pub struct SimTrainer {
    trainer: Trainer,
    sim: Arc<SimBackend>,
}

impl fmt::Debug for SimTrainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimTrainer").finish_non_exhaustive()
    }
}

impl SimTrainer {
    /// The backend: its bill can be read during and after the run.
    pub fn backend(&self) -> &Arc<SimBackend> {
        &self.sim
    }

    /// A handle that requests the run to stop.
    pub fn stop_handle(&self) -> StopHandle {
        self.trainer.stop_handle()
    }

    /// Trains until a stop rule holds, on this thread.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`Trainer::run`] and [`SimBackend::run`].
    pub fn run(self) -> Result<TrainingResult> {
        self.sim.run(self.trainer.run())?
    }
}
