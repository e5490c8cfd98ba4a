//! The context of a worker in a function.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cpu_time::ProcessTime;
use siren_core::{
    Clock, ComputeTask, Context, DataSource, Error, ErrorKind, ParameterStore, Result, Time, Usage,
    Work,
};

use crate::machine::{Machine, peak_memory_bytes};

/// One invocation's view of its machine.
pub(crate) struct FunctionContext {
    pub(crate) machine: Machine,
    pub(crate) store: Arc<dyn ParameterStore>,
    pub(crate) data: Arc<dyn DataSource>,
    pub(crate) deadline: Time,
    /// The CPU time of the process when the invocation began.
    pub(crate) cpu: ProcessTime,
}

#[async_trait]
impl Context for FunctionContext {
    fn clock(&self) -> &dyn Clock {
        &self.machine.clock
    }

    fn store(&self) -> &dyn ParameterStore {
        &*self.store
    }

    fn data(&self) -> &dyn DataSource {
        &*self.data
    }

    fn time_left(&self) -> Duration {
        self.deadline.since(self.machine.clock.now())
    }

    fn usage(&self) -> Usage {
        Usage { cpu: self.cpu.elapsed(), peak_memory_bytes: peak_memory_bytes(), shared: false }
    }

    async fn compute(&self, _: Work, task: ComputeTask) -> Result<Duration> {
        if self.time_left().is_zero() {
            return Err(Error::new(
                ErrorKind::DeadlineExceeded,
                "the invocation's time is used up",
            ));
        }
        self.machine.run(task).await
    }
}

/// The training data of an aggregator, which reads none.
pub(crate) struct NoData;

#[async_trait]
impl DataSource for NoData {
    fn len(&self) -> u64 {
        0
    }

    async fn fetch(&self, _: Range<u64>) -> Result<Vec<u8>> {
        Err(Error::rejected("an aggregator has no training data"))
    }
}
