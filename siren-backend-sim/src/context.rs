//! The context of a simulated worker.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use siren_core::{
    Clock, ComputeTask, Context, DataSource, Error, ErrorKind, ParameterStore, Result, Time, Usage,
    Work,
};

use crate::clock::VirtualClock;
use crate::task_pool::TaskPool;

/// The context of one invocation.
pub(crate) struct SimContext {
    pub(crate) clock: VirtualClock,
    pub(crate) task_pool: Arc<TaskPool>,
    pub(crate) store: Arc<dyn ParameterStore>,
    pub(crate) data: Arc<dyn DataSource>,
    /// The times at which the handler began and at which it is stopped.
    pub(crate) started: Time,
    pub(crate) deadline: Time,
    pub(crate) speed: Speed,
    /// The memory that the worker holds, in bytes.
    pub(crate) memory: u64,
    pub(crate) cpu: Mutex<Duration>,
}

/// The speed of computations, and the CPUs that they share.
pub(crate) struct Speed {
    pub(crate) seconds: Box<dyn Fn(Work) -> f64 + Send + Sync>,
    /// Permits to compute, if several workers share a machine.
    pub(crate) permits: Option<Arc<tokio::sync::Semaphore>>,
    /// The time of handing a task to a computing thread, and its result back.
    pub(crate) handover: Duration,
}

#[async_trait]
impl Context for SimContext {
    fn clock(&self) -> &dyn Clock {
        &self.clock
    }

    fn store(&self) -> &dyn ParameterStore {
        &*self.store
    }

    fn data(&self) -> &dyn DataSource {
        &*self.data
    }

    fn time_left(&self) -> Duration {
        self.deadline.since(self.clock.now())
    }

    /// The CPU time is the time of computing. A function has a share of a CPU in proportion to its
    /// memory, and this is the time in which it used that share.
    fn usage(&self) -> Usage {
        Usage {
            cpu: *self.cpu.lock(),
            peak_memory_bytes: self.memory,
            shared: self.speed.permits.is_some(),
        }
    }

    async fn compute(&self, work: Work, task: ComputeTask) -> Result<Duration> {
        if self.time_left().is_zero() {
            return Err(Error::new(
                ErrorKind::DeadlineExceeded,
                "the invocation's time is used up",
            ));
        }
        let _permit = match &self.speed.permits {
            Some(permits) => Some(permits.acquire().await.map_err(|closed| {
                Error::new(ErrorKind::Lost, "the machine is gone").with_source(closed)
            })?),
            None => None,
        };
        let takes = crate::fault::seconds((self.speed.seconds)(work));
        let end = self.clock.now() + takes;
        let submitted = self.task_pool.submit(end, task);
        self.clock.until(end).await;
        submitted.finish()?;
        // The handover is work of the machine, too, on any of its threads.
        if !self.speed.handover.is_zero() {
            self.clock.sleep(self.speed.handover).await;
        }
        *self.cpu.lock() += takes;
        Ok(takes)
    }
}
