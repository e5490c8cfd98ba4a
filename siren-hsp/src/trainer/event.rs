//! The events of a trainer, and the handle that stops it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use siren_core::{Allocation, Error, Evaluation, Job, Outcome, Usd};
use tokio::sync::Notify;

use crate::EpochRecord;

/// An event of a run.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// The run starts or continues.
    Started {
        /// The job.
        job: &'a Job,
        /// The evaluation of the model before the first epoch.
        initial: &'a Evaluation,
        /// The next epoch.
        epoch: u64,
    },
    /// The workers of an epoch are launched.
    Launched {
        /// The epoch.
        epoch: u64,
        /// Its allocation.
        allocation: Allocation,
        /// The number of batches of the epoch.
        batches: u64,
        /// The learning rate.
        learning_rate: f32,
    },
    /// The progress of an epoch, reported at the observer's interval.
    Progress {
        /// The epoch.
        epoch: u64,
        /// The number of batches that count so far.
        batches: u64,
        /// The number of examples that count so far.
        examples: u64,
        /// The mean training loss over these examples; NaN before the first.
        train_loss: f64,
        /// The time since the launch.
        elapsed: Duration,
        /// The money spent so far, including an estimate for running invocations.
        cost: Usd,
    },
    /// An invocation failed and its shard is retried.
    Retried {
        /// The epoch.
        epoch: u64,
        /// The shard.
        shard: u32,
        /// The number of earlier attempts.
        attempt: u32,
        /// The error.
        error: &'a Error,
    },
    /// An aggregator ended before its epoch and is launched again.
    AggregatorRetried {
        /// The epoch.
        epoch: u64,
        /// The aggregator.
        aggregator: u32,
        /// The number of earlier launches.
        attempt: u32,
        /// The error.
        error: &'a Error,
    },
    /// An epoch is sealed, and the model is being evaluated.
    Evaluating {
        /// The epoch.
        epoch: u64,
    },
    /// An epoch is sealed, evaluated and saved.
    EpochFinished(&'a EpochRecord),
    /// The run ended.
    Finished(&'a Outcome),
}

/// An observer of a run's events, such as a progress bar.
///
/// ```
/// # use siren_hsp::Trainer;
/// use siren_hsp::{Event, Observer};
///
/// struct Log;
///
/// impl Observer for Log {
///     fn event(&mut self, event: &Event<'_>) {
///         match event {
///             Event::EpochFinished(record) => {
///                 println!("epoch {}: loss {}", record.epoch, record.evaluation.loss);
///             }
///             Event::Finished(outcome) => println!("{}, {}", outcome.reason, outcome.cost),
///             _ => {}
///         }
///     }
/// }
///
/// # fn example(trainer: Trainer) -> Trainer {
/// trainer.with_observer(Log)
/// # }
/// ```
pub trait Observer: Send {
    /// Called for each event as it happens. Return quickly: the run waits.
    fn event(&mut self, event: &Event<'_>);

    /// The interval of [`Event::Progress`]; `None` (the default) for no progress events.
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

/// A handle that requests a run to stop, from any thread. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct StopHandle(Arc<(AtomicBool, Notify)>);

impl StopHandle {
    /// Requests the run to stop: the running epoch ends early, money is settled, and the last
    /// checkpoint stays.
    pub fn stop(&self) {
        self.0.0.store(true, Ordering::Release);
        self.0.1.notify_waiters();
    }

    /// `true` if the run was requested to stop.
    pub fn is_stopped(&self) -> bool {
        self.0.0.load(Ordering::Acquire)
    }

    /// Waits until the run is requested to stop.
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
