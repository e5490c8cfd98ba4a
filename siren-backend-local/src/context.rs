//! The context of a worker in this process.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use siren_core::{
    Clock, ComputeTask, Context, DataSource, Error, ErrorKind, ParameterStore, Result, Usage, Work,
};
use siren_function::WallClock;

use crate::meter::{Meter, peak_memory_bytes};
use crate::pool::Pool;

/// The state that all invocations of a backend share.
pub(crate) struct Machine {
    pub(crate) clock: WallClock,
    pub(crate) pool: Pool,
    pub(crate) store: Arc<dyn ParameterStore>,
    pub(crate) data: Arc<dyn DataSource>,
}

/// One invocation's view of the machine.
pub(crate) struct LocalContext {
    pub(crate) machine: Arc<Machine>,
    pub(crate) meter: Arc<Meter>,
    /// The machine's store, metered in modes in which workers wait for each other.
    pub(crate) store: Arc<dyn ParameterStore>,
    /// The slowdown of a function with the invocation's memory, relative to a local thread.
    pub(crate) slowdown: f64,
    pub(crate) timeout: Duration,
    /// The number of workers of the epoch, which share the process's memory.
    pub(crate) workers: u32,
}

impl LocalContext {
    /// The billed time so far, before rounding.
    pub(crate) fn billed(&self) -> Duration {
        let now = self.machine.clock.now();
        self.meter.executed(now).mul_f64(self.slowdown)
    }
}

#[async_trait]
impl Context for LocalContext {
    fn clock(&self) -> &dyn Clock {
        &self.machine.clock
    }

    fn store(&self) -> &dyn ParameterStore {
        &*self.store
    }

    fn data(&self) -> &dyn DataSource {
        &*self.machine.data
    }

    fn time_left(&self) -> Duration {
        self.timeout.saturating_sub(self.billed())
    }

    fn usage(&self) -> Usage {
        Usage {
            cpu: self.meter.cpu(),
            peak_memory_bytes: peak_memory_bytes() / u64::from(self.workers.max(1)),
            shared: true,
        }
    }

    async fn compute(&self, _: Work, task: ComputeTask) -> Result<Duration> {
        if self.time_left().is_zero() {
            return Err(Error::new(
                ErrorKind::DeadlineExceeded,
                "the invocation's time is used up",
            ));
        }
        let ran = self.machine.pool.run(task, Arc::clone(&self.meter)).await?;
        Ok(ran.elapsed)
    }
}
