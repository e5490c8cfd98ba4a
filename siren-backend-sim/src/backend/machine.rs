//! A rented machine that all workers share.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use siren_core::platform::Cpu;
use siren_core::{
    Clock, Completion, DataSource, Error, ErrorKind, Invocation, Machine, ParameterStore,
    PullOutcome, PushOutcome, Replica, Requests, Result, StepTime, StoreDecorator, Time, Update,
    Work,
};
use tokio::sync::Semaphore;

use super::Shared;
use crate::clock::VirtualClock;
use crate::context::{SimContext, Speed};
use crate::fault::seconds;

pub(super) struct RentedMachine {
    pub(super) machine: Machine,
    store: Arc<dyn ParameterStore>,
    data: Arc<dyn DataSource>,
    /// One permit for each vCPU.
    permits: Arc<Semaphore>,
    /// The time until which the machine is paid for.
    paid: Mutex<Time>,
}

impl RentedMachine {
    pub(super) fn new(
        machine: Machine,
        store: Arc<dyn ParameterStore>,
        data: Arc<dyn DataSource>,
        clock: &VirtualClock,
    ) -> Self {
        let permits = Arc::new(Semaphore::new(machine.vcpus as usize));
        Self { machine, store, data, permits, paid: Mutex::new(clock.now()) }
    }

    pub(super) async fn run(
        &self,
        shared: &Shared,
        clock: VirtualClock,
        invocation: &Invocation,
    ) -> Completion {
        let started = clock.now();
        let step = shared.step;
        let cpu = Cpu::default();
        let context = SimContext {
            store: Arc::new(LocalStore {
                inner: Arc::clone(&self.store),
                clock: clock.clone(),
                permits: Arc::clone(&self.permits),
                step,
            }),
            data: Arc::clone(&self.data),
            task_pool: Arc::clone(&shared.task_pool),
            started,
            deadline: started + invocation.timeout,
            speed: Speed {
                seconds: Box::new(move |work| step.seconds(work, 1.0, &cpu)),
                permits: Some(Arc::clone(&self.permits)),
                handover: seconds(step.seconds_per_handover),
            },
            memory: (cpu.memory_mb(self.store.dim() as u64, 2, 0) * 1024.0 * 1024.0) as u64,
            cpu: Mutex::default(),
            clock: clock.clone(),
        };
        let result = shared.work(invocation, &context, None).await;
        let now = clock.now();
        let since = std::mem::replace(&mut *self.paid.lock(), now);
        let billed = shared.platform.billed(now - since);
        shared.book(invocation.memory_mb, billed, Requests::NONE, false);
        Completion { billed: Some(billed), result }
    }
}

/// A store in the machine's memory. A pull and a push take the time of a pass over the copied or
/// pushed entries, and use a vCPU meanwhile.
struct LocalStore {
    inner: Arc<dyn ParameterStore>,
    clock: VirtualClock,
    permits: Arc<Semaphore>,
    step: StepTime,
}

impl LocalStore {
    async fn pass(&self, entries: usize) -> Result<()> {
        let takes =
            self.step.seconds(Work::Parameters { count: entries as u64 }, 1.0, &Cpu::default());
        // Whole microseconds, so that shorter times do not become separate events.
        let takes = Duration::from_micros(seconds(takes).as_micros() as u64);
        if takes.is_zero() {
            return Ok(());
        }
        let _permit = self.permits.acquire().await.map_err(|closed| {
            Error::new(ErrorKind::Lost, "the machine is gone").with_source(closed)
        })?;
        self.clock.sleep(takes).await;
        Ok(())
    }
}

#[async_trait]
impl StoreDecorator for LocalStore {
    fn inner(&self) -> &dyn ParameterStore {
        &*self.inner
    }

    async fn pull(&self, epoch: u64, replica: &mut Replica, progress: u64) -> Result<PullOutcome> {
        let asked = self.clock.now();
        let mut pulled = self.inner.pull(epoch, replica, progress).await?;
        if progress > 0 {
            pulled.waited = self.clock.now() - asked;
        }
        self.pass(pulled.copied).await?;
        Ok(pulled)
    }

    async fn push(&self, update: &Update<'_>) -> Result<PushOutcome> {
        self.pass(update.gradient.stored()).await?;
        self.inner.push(update).await
    }
}

#[cfg(test)]
mod tests {
    use siren_core::conformance::store_decorator::Subject;
    use siren_core::store_decorator_tests;

    use super::*;

    store_decorator_tests!(
        terms,
        Subject::new(|inner| LocalStore {
            inner,
            clock: VirtualClock::new(),
            permits: Arc::new(Semaphore::new(1)),
            step: StepTime::per_example(0.0),
        })
    );
}
