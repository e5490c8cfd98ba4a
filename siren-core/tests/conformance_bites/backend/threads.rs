//! A minimal backend: a thread for every invocation.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{Builder, current};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::{Either, select};
use futures::lock::Mutex;
use siren_core::{
    Backend, Clock, Completion, ComputeTask, Context, DataSource, DriverUsage, EpochPlan, Error,
    ErrorKind, Invocation, ParameterStore, Platform, Result, Time, Usage, Work, Worker,
    WorkerReport,
};

use super::Fault;
use crate::clock::WallClock;
use crate::data::Records;
use crate::store::reference::Reference;

pub(crate) struct Threads(Arc<Shared>);

struct Shared {
    worker: Arc<dyn Worker>,
    platform: Platform,
    clock: WallClock,
    store: Reference,
    data: Records,
    turn: Mutex<()>,
    broken: AtomicBool,
    invocations: AtomicU64,
    fault: Option<Fault>,
}

impl Threads {
    pub(crate) fn new(worker: Arc<dyn Worker>, fault: Option<Fault>) -> Self {
        Self(Arc::new(Shared {
            worker,
            platform: Platform::local(),
            clock: WallClock::new(),
            store: Reference::new(1),
            data: Records::new(1),
            turn: Mutex::new(()),
            broken: AtomicBool::new(false),
            invocations: AtomicU64::new(0),
            fault,
        }))
    }
}

#[async_trait]
impl Backend for Threads {
    fn clock(&self) -> &dyn Clock {
        &self.0.clock
    }

    fn platform(&self) -> &Platform {
        &self.0.platform
    }

    fn parallelism(&self, workers: u32) -> u32 {
        match self.0.has(Fault::NeverComputes) {
            true => 0,
            false => workers,
        }
    }

    fn expected_exchange_time(&self) -> Duration {
        Duration::ZERO
    }

    /// A bill that is computed for each invocation.
    fn driver_usage(&self) -> DriverUsage {
        let mut computed_bills = self.0.invocations.load(Ordering::Relaxed);
        if self.0.has(Fault::ForgetsItsUsage) {
            computed_bills %= 2;
        }
        DriverUsage { computed_bills, ..DriverUsage::default() }
    }

    fn max_driver_usage(&self, _: &EpochPlan, _: u64) -> DriverUsage {
        DriverUsage::NONE
    }

    async fn prepare(&self, _: u32, _: Duration) {}

    async fn compute(&self, _: Work, task: ComputeTask) -> Result<Duration> {
        self.0.compute(task).await
    }

    async fn invoke(&self, invocation: Invocation) -> Completion {
        let shared = Arc::clone(&self.0);
        if let Err(error) = shared.platform.check_memory(invocation.memory_mb)
            && !shared.has(Fault::AcceptsAnyMemory)
        {
            return Completion { billed: Some(Duration::ZERO), result: Err(error) };
        }
        shared.invocations.fetch_add(1, Ordering::Relaxed);
        let _turn = match shared.has(Fault::OneAfterAnother) {
            true => Some(self.0.turn.lock().await),
            false => None,
        };
        let (mut answer, answered) = oneshot::channel();
        spawn(move || {
            futures::executor::block_on(async {
                let running = Box::pin(shared.run(invocation));
                let completion =
                    if shared.has(Fault::IgnoresDrops) || shared.has(Fault::DropsKeepTheirTurn) {
                        running.await
                    } else {
                        match select(running, answer.cancellation()).await {
                            Either::Left((completion, _)) => completion,
                            // The caller was dropped.
                            Either::Right(_) => return,
                        }
                    };
                let _ = answer.send(completion);
            });
        });
        answered.await.expect("the thread answers")
    }
}

impl Shared {
    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// The worker until its deadline.
    async fn run(&self, mut invocation: Invocation) -> Completion {
        if self.has(Fault::RunsEveryShardAsTheFirst) {
            invocation.shard = 0;
        }
        let permits = [Fault::PermitsForWholeInvocations, Fault::DropsKeepTheirTurn];
        let _permit = match permits.iter().any(|&fault| self.has(fault)) {
            true => Some(self.turn.lock().await),
            false => None,
        };
        let start = self.clock.now();
        let mut deadline = start + invocation.timeout;
        if self.has(Fault::IgnoresDeadlines) {
            deadline = start + Duration::from_secs(1_000);
        }
        if self.has(Fault::StopsEarly) {
            deadline = start + invocation.timeout / 2;
        }
        let context = Machine {
            shared: self,
            own_clock: WallClock::new(),
            deadline: start + invocation.timeout,
        };
        let work = AssertUnwindSafe(self.worker.run(&invocation, &context)).catch_unwind();
        let ended = select(work, self.clock.sleep_until(deadline)).await;
        let mut result = match ended {
            Either::Left((Ok(result), _)) => result,
            Either::Left((Err(_), _)) => {
                self.broken.store(true, Ordering::Relaxed);
                self.panicked()
            }
            Either::Right(((), work)) => {
                if self.has(Fault::LeavesWorkersRunning) {
                    std::mem::forget(work);
                }
                Err(Error::new(ErrorKind::DeadlineExceeded, "time is up"))
            }
        };
        if self.has(Fault::RunsFailuresAgain) && result.is_err() {
            result = self.worker.run(&invocation, &context).await;
        }
        if self.has(Fault::ForgetsTheReport) {
            result = result.map(|_| WorkerReport::default());
        }
        if self.has(Fault::PanicsSpread) && self.broken.load(Ordering::Relaxed) {
            result = self.panicked();
        }
        if self.has(Fault::AllErrorsAreLost) {
            result = result.map_err(|error| Error::new(ErrorKind::Lost, error.chain()));
        }
        let took = self.clock.now().since(start).min(invocation.timeout);
        let billed = match self.fault {
            Some(Fault::BillsNothing) => Duration::ZERO,
            Some(Fault::BillsTwice) => self.platform.billed(took * 2),
            Some(Fault::BillsBrokenSteps) => took + Duration::from_nanos(1),
            _ => self.platform.billed(took),
        };
        Completion { billed: Some(billed), result }
    }

    /// Runs a task on a new thread.
    async fn compute(&self, task: ComputeTask) -> Result<Duration> {
        let start = self.clock.now();
        if !self.has(Fault::AnswersForTasks) {
            let (answer, answered) = oneshot::channel();
            spawn(move || {
                let _ = answer.send(catch_unwind(AssertUnwindSafe(task)).is_ok());
            });
            let fine = answered.await.expect("the thread answers");
            if !fine && !self.has(Fault::PanicsAreSuccess) {
                let kind = match self.has(Fault::TaskPanicsAreLost) {
                    true => ErrorKind::Lost,
                    false => ErrorKind::Worker,
                };
                return Err(Error::new(kind, "the task panicked"));
            }
        }
        Ok(self.clock.now().since(start))
    }

    fn panicked(&self) -> Result<WorkerReport> {
        match self.has(Fault::PanicsAreSuccess) {
            true => Ok(WorkerReport::default()),
            false => Err(Error::new(ErrorKind::Worker, "the worker panicked")),
        }
    }
}

/// The context of a worker.
struct Machine<'a> {
    shared: &'a Shared,
    own_clock: WallClock,
    deadline: Time,
}

#[async_trait]
impl Context for Machine<'_> {
    fn clock(&self) -> &dyn Clock {
        match self.shared.has(Fault::HasAClockForItself) {
            true => &self.own_clock,
            false => &self.shared.clock,
        }
    }

    fn store(&self) -> &dyn ParameterStore {
        &self.shared.store
    }

    fn data(&self) -> &dyn DataSource {
        &self.shared.data
    }

    fn time_left(&self) -> Duration {
        match self.shared.has(Fault::TimeStandsStill) {
            true => Duration::from_secs(600),
            false => self.deadline.since(self.shared.clock.now()),
        }
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }

    async fn compute(&self, _work: Work, task: ComputeTask) -> Result<Duration> {
        self.shared.compute(task).await
    }
}

/// Starts a thread with the name of the current one.
fn spawn(body: impl FnOnce() + Send + 'static) {
    let name = current().name().unwrap_or("thread").to_owned();
    Builder::new().name(name).spawn(body).unwrap();
}
