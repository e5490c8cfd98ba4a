//! What a trainer tells, and how it is told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use siren_core::{Allocation, Error, Evaluation, Job, Outcome, Usd};
use tokio::sync::Notify;

use crate::EpochRecord;

/// Something that happened in a run.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The run starts, or goes on.
    Started {
        /// The job.
        job: &'a Job,
        /// How the model was before the first epoch.
        initial: &'a Evaluation,
        /// The next epoch.
        epoch: u64,
    },
    /// The workers of an epoch are launched.
    Launched {
        /// The epoch.
        epoch: u64,
        /// What it runs with.
        allocation: Allocation,
        /// Batches of the epoch.
        batches: u64,
        /// The learning rate.
        learning_rate: f32,
    },
    /// An epoch goes on; told now and then.
    Progress {
        /// The epoch.
        epoch: u64,
        /// Batches that count so far.
        batches: u64,
        /// Examples that count so far.
        examples: u64,
        /// The mean training loss over them; NaN before the first.
        train_loss: f64,
        /// Time since the launch.
        elapsed: Duration,
        /// Money spent so far, with an estimate for what runs.
        cost: Usd,
    },
    /// An invocation failed, and its shard is tried again.
    Retried {
        /// The epoch.
        epoch: u64,
        /// The shard.
        shard: u32,
        /// How often it was tried before.
        attempt: u32,
        /// Why.
        error: &'a Error,
    },
    /// An aggregator ended before its epoch did, and is launched again.
    AggregatorRetried {
        /// The epoch.
        epoch: u64,
        /// The aggregator.
        aggregator: u32,
        /// How often it was launched before.
        attempt: u32,
        /// Why.
        error: &'a Error,
    },
    /// An epoch is sealed, and the model is measured.
    Evaluating {
        /// The epoch.
        epoch: u64,
    },
    /// An epoch is sealed, measured and saved.
    EpochFinished(&'a EpochRecord),
    /// The run ended.
    Finished(&'a Outcome),
}

/// Somebody who wants to know what happens in a run, such as a progress bar.
pub trait Observer: Send {
    /// Told of each event as it happens. Return quickly: the run waits.
    fn event(&mut self, event: &Event<'_>);

    /// How often to be told of progress within an epoch; never if none is given.
    fn interval(&self) -> Option<Duration> {
        None
    }
}

impl<T: Observer + ?Sized> Observer for Box<T> {
    fn event(&mut self, event: &Event<'_>) {
        (**self).event(event);
    }

    fn interval(&self) -> Option<Duration> {
        (**self).interval()
    }
}

/// Asks a run to stop, from anywhere. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct StopHandle(Arc<(AtomicBool, Notify)>);

impl StopHandle {
    /// Asks the run to stop: the epoch under way ends early, money is settled, and the last
    /// checkpoint stays.
    pub fn stop(&self) {
        self.0.0.store(true, Ordering::Release);
        self.0.1.notify_waiters();
    }

    /// Whether the run was asked to stop.
    pub fn is_stopped(&self) -> bool {
        self.0.0.load(Ordering::Acquire)
    }

    /// Waits until the run is asked to stop.
    pub(crate) async fn stopped(&self) {
        loop {
            let notified = self.0.1.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if self.is_stopped() {
                return;
            }
            notified.await;
        }
    }
}
