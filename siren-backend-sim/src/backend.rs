//! The simulated backend.

mod functions;
mod machine;

use std::future::Future;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use functions::Functions;
use futures::FutureExt;
use machine::RentedMachine;
use parking_lot::Mutex;
use siren_core::objects::Objects;
use siren_core::{
    Backend, Clock, Completion, ComputeTask, DataSource, DriverUsage, EpochPlan, Error, ErrorKind,
    Invocation, Machine, ParameterStore, Platform, Requests, Result, Role, Seed, StepTime, Usd,
    Work, Worker, WorkerReport,
};

use crate::Simulation;
use crate::clock::VirtualClock;
use crate::context::SimContext;
use crate::fault::seconds;
use crate::task_pool::TaskPool;

/// A function that opens a store over objects, with the arguments `(objects, clock)`.
pub type OpenStore =
    Arc<dyn Fn(Arc<dyn Objects>, Arc<dyn Clock>) -> Arc<dyn ParameterStore> + Send + Sync>;

/// The parameter store of a simulated job.
#[derive(Clone)]
pub enum SimStore {
    /// A store in this process's memory that behaves like shared storage that can add: a pull is
    /// one GET, a push one PUT, and applying updates is free. Its results are a bound for any
    /// store.
    Ideal(Arc<dyn ParameterStore>),
    /// A store over objects in simulated storage. Every request of the store and every aggregator
    /// is modelled and billed.
    Objects {
        /// The objects.
        objects: Arc<dyn Objects>,
        /// Opens the store. Called once for each function and once for the driver.
        open: OpenStore,
    },
}

/// Runs workers on a simulated platform, with the same worker code, real gradients, and modelled
/// time and costs.
///
/// Time passes only in [`run`](Self::run), so a trainer must run there.
///
/// The [crate's documentation](crate) has an example with functions. This one rents a machine:
///
/// ```
/// # use std::sync::Arc;
/// # use siren_core::{Backend, DataSource, ParameterStore, Result, Worker};
/// use siren_backend_sim::SimBackend;
/// use siren_core::{Machine, StepTime};
///
/// # fn example(
/// #     worker: Arc<dyn Worker>,
/// #     store: Arc<dyn ParameterStore>,
/// #     data: Arc<dyn DataSource>,
/// # ) -> Result<()> {
/// let machine = Machine::c5_2xlarge();
/// // The gradient of an example takes 0.1 ms on one vCPU.
/// let step = StepTime::per_example(1e-4);
/// let backend = SimBackend::machine(worker, store, data, machine, step)?;
/// println!("{} workers compute at the same time", backend.parallelism(64));
/// # Ok(())
/// # }
/// ```
pub struct SimBackend {
    shared: Arc<Shared>,
    store: Arc<dyn ParameterStore>,
    data: Arc<dyn DataSource>,
}

struct Shared {
    worker: Arc<dyn Worker>,
    clock: VirtualClock,
    task_pool: Arc<TaskPool>,
    platform: Platform,
    step: StepTime,
    parameters: u64,
    place: Place,
    bill: Mutex<Bill>,
}

enum Place {
    Functions(Box<Functions>),
    Machine(RentedMachine),
}

/// The bill of a simulated platform, including invocations whose answer was lost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bill {
    /// The number of invocations that began.
    pub invocations: u64,
    /// The number of these invocations that began in a new environment.
    pub cold_starts: u64,
    /// The billed GB-seconds.
    pub gb_seconds: f64,
    /// The requests to storage.
    pub requests: Requests,
    /// The total cost.
    pub cost: Usd,
}

impl SimBackend {
    /// Functions on the platform of `simulation`. All random numbers are drawn from `seed`.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`], naming the field, when `simulation` does not pass
    /// [`Simulation::check`].
    pub fn functions(
        worker: Arc<dyn Worker>,
        sim_store: SimStore,
        data: Arc<dyn DataSource>,
        simulation: Simulation,
        seed: Seed,
    ) -> Result<Self> {
        simulation.check()?;
        let clock = VirtualClock::new();
        let platform = simulation.profile.platform.clone();
        let step = simulation.step;
        let functions = Functions::new(sim_store, Arc::clone(&data), simulation, seed, &clock);
        let (store, data) = functions.driver();
        let place = Place::Functions(Box::new(functions));
        Self::build(worker, clock, platform, step, place, store, data)
    }

    /// Workers on one rented machine, with parameters and data in its memory, for comparison with
    /// functions. An allocation must have all of the machine's memory. Each invocation is billed
    /// for the machine's time since the last bill, so that all invocations together pay for the
    /// whole time.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`], naming the field, when the machine or the step is invalid.
    pub fn machine(
        worker: Arc<dyn Worker>,
        store: Arc<dyn ParameterStore>,
        data: Arc<dyn DataSource>,
        machine: Machine,
        step: StepTime,
    ) -> Result<Self> {
        machine.check()?;
        step.check()?;
        let clock = VirtualClock::new();
        let platform = machine.platform();
        let place = Place::Machine(RentedMachine::new(
            machine,
            Arc::clone(&store),
            Arc::clone(&data),
            &clock,
        ));
        Self::build(worker, clock, platform, step, place, store, data)
    }

    fn build(
        worker: Arc<dyn Worker>,
        clock: VirtualClock,
        platform: Platform,
        step: StepTime,
        place: Place,
        store: Arc<dyn ParameterStore>,
        data: Arc<dyn DataSource>,
    ) -> Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let shared = Shared {
            worker,
            clock,
            task_pool: Arc::new(TaskPool::new(cores)?),
            platform,
            step,
            parameters: store.dim() as u64,
            place,
            bill: Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared), store, data })
    }

    /// Sets the number of real threads that compute. The default is the number of cores. Results do
    /// not depend on it.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`] when `threads` is 0 or there were invocations already, and
    /// [`ErrorKind::Other`] when the threads cannot be started.
    pub fn with_threads(mut self, threads: usize) -> Result<Self> {
        if threads == 0 {
            return Err(Error::rejected("the number of threads is 0: give at least 1"));
        }
        let shared = Arc::get_mut(&mut self.shared).ok_or_else(|| {
            Error::rejected("the simulation runs already: choose its threads before that")
        })?;
        shared.task_pool = Arc::new(TaskPool::new(threads)?);
        Ok(self)
    }

    /// The store for the trainer.
    pub fn store(&self) -> Arc<dyn ParameterStore> {
        Arc::clone(&self.store)
    }

    /// The training data for the trainer.
    pub fn data(&self) -> Arc<dyn DataSource> {
        Arc::clone(&self.data)
    }

    /// Runs a future, such as a trainer's run, in virtual time, on this thread.
    ///
    /// # Errors
    ///
    /// As [`VirtualClock::run`].
    pub fn run<T>(&self, future: impl Future<Output = T>) -> Result<T> {
        self.shared.clock.run(future)
    }

    /// The bill so far, the driver's requests included.
    pub fn bill(&self) -> Bill {
        let mut bill = *self.shared.bill.lock();
        if let Place::Functions(functions) = &self.shared.place {
            let driver = functions.driver_requests();
            bill.requests += driver;
            bill.cost += self.shared.platform.requests_cost(driver);
        }
        bill
    }
}

#[async_trait]
impl Backend for SimBackend {
    fn clock(&self) -> &dyn Clock {
        &self.shared.clock
    }

    fn platform(&self) -> &Platform {
        &self.shared.platform
    }

    fn parallelism(&self, workers: u32) -> u32 {
        match &self.shared.place {
            Place::Functions(_) => workers,
            Place::Machine(rented) => workers.min(rented.machine.vcpus),
        }
    }

    fn expected_exchange_time(&self) -> Duration {
        match &self.shared.place {
            Place::Functions(functions) => functions.exchange(self.shared.parameters),
            Place::Machine(_) => Duration::ZERO,
        }
    }

    /// No usage: the driver's requests are only in [`bill`](SimBackend::bill).
    fn driver_usage(&self) -> DriverUsage {
        DriverUsage::NONE
    }

    fn max_driver_usage(&self, _: &EpochPlan, _: u64) -> DriverUsage {
        DriverUsage::NONE
    }

    async fn prepare(&self, _: u32, _: Duration) {}

    /// The driver's computations take no virtual time.
    async fn compute(&self, work: Work, task: ComputeTask) -> Result<Duration> {
        catch_unwind(AssertUnwindSafe(task))
            .map_err(|payload| Error::panicked("the driver's computation", &*payload))?;
        Ok(seconds(self.shared.one_vcpu(work)))
    }

    async fn invoke(&self, invocation: Invocation) -> Completion {
        if let Err(error) = self.shared.accept(&invocation) {
            return Completion { billed: Some(Duration::ZERO), result: Err(error) };
        }
        let shared = Arc::clone(&self.shared);
        let tie_break = tie_break(&invocation);
        let name = match invocation.role {
            Role::Shard => format!("shard {} of epoch {}", invocation.shard, invocation.plan.epoch),
            Role::Aggregator => {
                format!("aggregator {} of epoch {}", invocation.shard, invocation.plan.epoch)
            }
        };
        let clock = self.shared.clock.with_tie_break(tie_break);
        let running = clock.clone().spawn(name, async move {
            match &shared.place {
                Place::Functions(functions) => functions.run(&shared, clock, &invocation).await,
                Place::Machine(rented) => rented.run(&shared, clock, &invocation).await,
            }
        });
        running.await.unwrap_or_else(|| Completion {
            billed: None,
            result: Err(Error::new(ErrorKind::Lost, "the simulated platform failed")),
        })
    }
}

/// The order of events at the same time: the driver first, then shards, then aggregators.
fn tie_break(invocation: &Invocation) -> u32 {
    match invocation.role {
        Role::Shard => invocation.shard.saturating_add(1),
        Role::Aggregator => u32::MAX - invocation.shard,
    }
}

impl Shared {
    fn one_vcpu(&self, work: Work) -> f64 {
        let cpu = match &self.place {
            Place::Functions(functions) => functions.cpu(),
            Place::Machine(_) => siren_core::platform::Cpu::default(),
        };
        self.step.seconds(work, 1.0, &cpu)
    }

    /// Checks that the platform would accept the invocation.
    fn accept(&self, invocation: &Invocation) -> Result<()> {
        if !self.clock.is_running() {
            return Err(Error::rejected(
                "no simulated time passes here: run the trainer by SimBackend::run",
            ));
        }
        self.platform.check_memory(invocation.memory_mb)?;
        let payload = serde_json::to_vec(invocation).map_or(0, |bytes| bytes.len() as u64);
        let most = self.platform.limits.payload_bytes;
        if payload > most {
            return Err(Error::rejected(format!(
                "an invocation of {payload} bytes, but {} accepts at most {most}: give the run a \
                 shorter name",
                self.platform.name
            )));
        }
        Ok(())
    }

    /// Runs the worker until it ends, its time is used up, or it crashes.
    async fn work(
        &self,
        invocation: &Invocation,
        context: &SimContext,
        crash: Option<siren_core::Time>,
    ) -> Result<WorkerReport> {
        let clock = &context.clock;
        let worker = AssertUnwindSafe(self.worker.run(invocation, context)).catch_unwind();
        let crashed = async {
            match crash {
                Some(moment) => clock.until(moment).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            result = worker => result.unwrap_or_else(|payload| Err(Error::panicked("the worker", &*payload))),
            () = crashed => Err(Error::new(ErrorKind::Worker, "the function crashed")),
            () = clock.until(context.deadline) => Err(Error::new(
                ErrorKind::DeadlineExceeded,
                format!("the invocation took longer than {:?}", context.deadline - context.started),
            )),
        }
    }

    /// Adds an invocation to the bill.
    fn book(&self, memory_mb: u32, billed: Duration, requests: Requests, cold: bool) {
        let bill = &mut *self.bill.lock();
        bill.invocations += 1;
        bill.cold_starts += u64::from(cold);
        bill.gb_seconds += billed.as_secs_f64() * f64::from(memory_mb) / 1024.0;
        bill.requests += requests;
        bill.cost += self.platform.invocation_cost(memory_mb, billed, requests);
    }
}
