//! Jobs on simulated platforms, for `toy_example`, `testbed` and `elastic`.

mod curves;
pub mod equal;
mod listed;
pub mod rows;
pub mod scheduled;

pub use curves::curves;
pub use listed::ListScheduler;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use siren_backend_sim::{Bill, OpenStore, SimBackend, SimStore, Simulation, VirtualClock};
use siren_core::objects::Objects;
use siren_core::{
    Clock, DataSource, Machine, Result, Scheduler, Seed, Snapshot, StepTime, StopReason, Stream,
    Usd, Workload,
};
use siren_hsp::MemoryObjects;
use siren_hsp::{
    Config, EpochRecord, FixedScheduler, MemoryStore, ObjectOptions, ObjectStore, RunRecord,
    ShardWorker, Trainer, TrainerParts,
};

/// The name of a store over objects.
const STORE: &str = "lab";

/// A workload with its data and the settings of its training.
#[derive(Clone)]
pub struct Job {
    /// The name in tables and pages.
    pub name: String,
    /// The workload.
    pub workload: Arc<dyn Workload>,
    /// The training data.
    pub train: Arc<dyn DataSource>,
    /// The held-out data.
    pub test: Arc<dyn DataSource>,
    /// The settings of the training.
    pub config: Config,
    /// The time of a step on one vCPU.
    pub step: StepTime,
    /// Real threads that a simulation computes on.
    pub threads: usize,
}

/// A finished run on a simulated platform.
#[derive(Clone, Debug)]
pub struct Run {
    /// The record of the run.
    pub record: RunRecord,
    /// Seconds from launch to barrier, summed over the epochs, without evaluations.
    pub time_s: f64,
    /// The cost that the platform charges.
    pub cost: Usd,
    /// The cost of the GB-seconds alone, without requests and invocations, as the SIREN talk counts
    /// it.
    pub cost_without_requests: Usd,
}

impl Job {
    /// Runs on AWS Lambda, with a store that behaves as if shared storage could add: a pull is one
    /// GET, a push one PUT, and applying updates is free. No real store is faster or cheaper.
    ///
    /// # Errors
    ///
    /// Returns the errors of the simulation and of the trainer.
    pub fn on_lambda(
        &self,
        scheduler: impl Scheduler + 'static,
        simulation: &Simulation,
    ) -> Result<Run> {
        let store = MemoryStore::initialised(&*self.workload, self.config.seed)?;
        self.lambda(scheduler, simulation, SimStore::Ideal(Arc::new(store)))
    }

    /// Runs on AWS Lambda, with the parameters in objects on S3: aggregators are functions too, and
    /// all of their requests are billed. Their number suits `workers` workers that push once in
    /// each `cycle`.
    ///
    /// # Errors
    ///
    /// Returns the errors of the simulation and of the trainer.
    pub fn over_objects(
        &self,
        scheduler: impl Scheduler + 'static,
        simulation: &Simulation,
        workers: u32,
        cycle: Duration,
    ) -> Result<Run> {
        let dim = self.workload.dim();
        let options = ObjectOptions {
            parts: ObjectOptions::parts_for(dim, workers, cycle),
            cycle,
            ..ObjectOptions::default()
        };
        // A wrong name or size is an error here, and not in a function.
        let objects: Arc<dyn Objects> = Arc::new(MemoryObjects::new());
        let clock: Arc<dyn Clock> = Arc::new(VirtualClock::new());
        ObjectStore::new(Arc::clone(&objects), clock, STORE, dim)?;
        let open: OpenStore = Arc::new(move |objects, clock| {
            let store = ObjectStore::new(objects, clock, STORE, dim);
            Arc::new(store.expect("it was made before").with_options(options.clone()).exclusive())
        });
        self.lambda(scheduler, simulation, SimStore::Objects { objects, open })
    }

    fn lambda(
        &self,
        scheduler: impl Scheduler + 'static,
        simulation: &Simulation,
        sim_store: SimStore,
    ) -> Result<Run> {
        let simulation = Simulation { step: self.step, ..simulation.clone() };
        let price = simulation.profile.platform.prices.gb_second;
        let sim = SimBackend::functions(
            Arc::new(ShardWorker::new(Arc::clone(&self.workload))),
            sim_store,
            Arc::clone(&self.train),
            simulation,
            Seed::new(self.config.seed),
        )?;
        let (record, bill) = self.train(sim, scheduler)?;
        Ok(Run {
            time_s: time(&record),
            cost: Usd::new(record.outcome.cost_usd),
            cost_without_requests: price * bill.gb_seconds,
            record,
        })
    }

    /// Runs on a rented machine, with a worker on each vCPU.
    ///
    /// # Errors
    ///
    /// Returns the errors of the simulation and of the trainer.
    pub fn on_machine(&self, machine: &Machine) -> Result<Run> {
        let store = Arc::new(MemoryStore::initialised(&*self.workload, self.config.seed)?);
        let worker = Arc::new(ShardWorker::new(Arc::clone(&self.workload)));
        let data = Arc::clone(&self.train);
        let sim = SimBackend::machine(worker, store, data, machine.clone(), self.step)?;
        let scheduler = FixedScheduler::new(machine.vcpus, machine.memory_mb);
        let (record, _) = self.train(sim, scheduler)?;
        let time_s = time(&record);
        let cost = machine.bill(Duration::try_from_secs_f64(time_s).unwrap_or_default());
        Ok(Run { time_s, cost, cost_without_requests: cost, record })
    }

    fn train(
        &self,
        sim: SimBackend,
        scheduler: impl Scheduler + 'static,
    ) -> Result<(RunRecord, Bill)> {
        let sim = Arc::new(sim.with_threads(self.threads)?);
        let parts = TrainerParts {
            workload: Arc::clone(&self.workload),
            train: sim.data(),
            held_out: Some(Arc::clone(&self.test)),
            store: sim.store(),
            backend: sim.clone(),
            scheduler: Box::new(scheduler),
        };
        let values = self.workload.init(Seed::new(self.config.seed).split(Stream::Init, &[]))?;
        let trainer = Trainer::new(parts, self.config.clone())?;
        let trained = sim.run(async {
            sim.store().restore(&Snapshot::initial(values)).await?;
            trainer.run().await
        })??;
        Ok((trained.record, sim.bill()))
    }
}

impl Run {
    /// `true` if the same number of workers ran in every epoch.
    pub fn is_constant(&self) -> bool {
        self.record.epochs.windows(2).all(|pair| pair[0].workers == pair[1].workers)
    }

    /// Time and loss at each barrier.
    pub fn loss_by_time(&self) -> Vec<(f64, f64)> {
        self.loss_by(|epoch| epoch.elapsed_s)
    }

    /// Cost and loss at each barrier.
    pub fn loss_by_cost(&self) -> Vec<(f64, f64)> {
        self.loss_by(|epoch| epoch.cost_usd)
    }

    fn loss_by(&self, of: impl Fn(&EpochRecord) -> f64) -> Vec<(f64, f64)> {
        let mut sum = 0.0;
        let barriers = self.record.epochs.iter().map(|epoch| {
            sum += of(epoch);
            (sum, epoch.evaluation.loss)
        });
        std::iter::once((0.0, self.record.initial.loss)).chain(barriers).collect()
    }

    /// Progress in passes and loss at each barrier: see [`EpochRecord::progress`].
    pub fn loss_by_progress(&self) -> Vec<(f64, f64)> {
        self.loss_by(|epoch| epoch.progress)
    }

    /// `true` if it reached its target loss.
    pub fn is_done(&self) -> bool {
        self.record.outcome.reason == StopReason::TargetLoss
    }
}

/// Calls `work` for each item, on all cores, and returns the results in the order of the items.
///
/// # Errors
///
/// Returns the first error, in the order of the items.
pub fn on_all_cores<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let next = AtomicUsize::new(0);
    let mut done: Vec<(usize, Result<R>)> = std::thread::scope(|scope| {
        let one = || {
            let mut done = Vec::new();
            while let Some((index, item)) = {
                let index = next.fetch_add(1, Ordering::Relaxed);
                items.get(index).map(|item| (index, item))
            } {
                done.push((index, work(item)));
            }
            done
        };
        let threads: Vec<_> = (0..cores.min(items.len())).map(|_| scope.spawn(one)).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined
            .flat_map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    done.sort_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

fn time(record: &RunRecord) -> f64 {
    record.epochs.iter().map(|epoch| epoch.elapsed_s).sum()
}
