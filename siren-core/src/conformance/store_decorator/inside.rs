//! A store with unusual terms.

use std::ops::Range;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;

use super::plan;
use crate::{
    Aggregation, Clock, ComputeTask, Context, DataSource, EpochPlan, EpochSummary, Error,
    ErrorKind, Invocation, ParameterStore, PullOutcome, PushOutcome, Replica, RequestCosts,
    Requests, Result, Role, Snapshot, Status, Time, Update, Usage, Work, WorkerReport,
};

/// The time left of an aggregator.
pub(super) const TIME_LEFT: Duration = Duration::from_secs(61);

/// A store that has terms and runs aggregators. It refuses all other calls.
pub(super) struct Inside {
    requests: Mutex<Option<Requests>>,
    aggregated: Mutex<Vec<(Invocation, Duration)>>,
}

impl Inside {
    /// The part whose aggregator fails as lost.
    pub(super) const LOST_PART: u32 = 6;

    /// A store, which counts its requests if `counts` is `true`.
    pub(super) fn new(counts: bool) -> Self {
        let requests = counts.then_some(Requests { writes: 11, reads: 13 });
        Self { requests: Mutex::new(requests), aggregated: Mutex::default() }
    }

    /// Makes a few requests.
    pub(super) fn make_requests(&self) {
        if let Some(requests) = &mut *self.requests.lock().expect("no test panics in here") {
            *requests += Requests { writes: 2, reads: 5 };
        }
    }

    /// The invocations of aggregators so far, and the time left of each.
    pub(super) fn aggregated(&self) -> Vec<(Invocation, Duration)> {
        self.aggregated.lock().expect("no test panics in here").clone()
    }

    /// The report of an aggregator.
    pub(super) fn report(invocation: &Invocation) -> WorkerReport {
        WorkerReport {
            position: 17,
            finished: true,
            updates: 100 + u64::from(invocation.shard),
            requests: Requests { writes: 3, reads: 19 },
            ..WorkerReport::default()
        }
    }
}

/// The invocation of the aggregator of a part.
pub(super) fn invocation(part: u32) -> Invocation {
    Invocation {
        plan: plan(4, 7, 24),
        role: Role::Aggregator,
        shard: part,
        position: 0,
        attempt: 2,
        memory_mb: 1_769,
        timeout: Duration::from_secs(90),
        cycle: None,
        request_cap: Requests { writes: 1_000, reads: 2_000 },
    }
}

fn refused<T>() -> Result<T> {
    Err(Error::rejected("this store holds no parameters: it has terms only"))
}

#[async_trait]
impl ParameterStore for Inside {
    fn dim(&self) -> usize {
        37
    }

    fn request_costs(&self) -> RequestCosts {
        RequestCosts {
            push: Requests { writes: 2, reads: 3 },
            pull: Requests { writes: 1, reads: 4 },
            wait: Requests { writes: 5, reads: 6 },
            wait_own: Requests { writes: 9, reads: 10 },
            start: Requests { writes: 7, reads: 8 },
        }
    }

    fn aggregation(&self, plan: &EpochPlan) -> Aggregation {
        Aggregation {
            aggregators: 1 + plan.shards,
            memory_mb: 512 * plan.shards,
            requests_per_second: Requests { writes: 9, reads: 10 * u64::from(plan.shards) },
        }
    }

    async fn aggregate(
        &self,
        invocation: &Invocation,
        context: &dyn Context,
    ) -> Result<WorkerReport> {
        if invocation.shard == Self::LOST_PART {
            return Err(Error::new(ErrorKind::Lost, "the aggregator of this part is lost"));
        }
        let call = (invocation.clone(), context.time_left());
        self.aggregated.lock().expect("no test panics in here").push(call);
        Ok(Self::report(invocation))
    }

    fn requests(&self) -> Option<Requests> {
        *self.requests.lock().expect("no test panics in here")
    }

    async fn open(&self, _: &EpochPlan) -> Result<()> {
        refused()
    }

    async fn pull(&self, _: u64, _: &mut Replica, _: u64) -> Result<PullOutcome> {
        refused()
    }

    async fn push(&self, _: &Update<'_>) -> Result<PushOutcome> {
        refused()
    }

    async fn seal(&self, _: u64) -> Result<EpochSummary> {
        refused()
    }

    async fn status(&self) -> Result<Status> {
        refused()
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        refused()
    }

    async fn restore(&self, _: &Snapshot) -> Result<()> {
        refused()
    }
}

/// The context of an aggregator without data, whose clock stands at its origin.
pub(super) struct Idle<'a> {
    pub(super) store: &'a dyn ParameterStore,
}

#[async_trait]
impl Context for Idle<'_> {
    fn clock(&self) -> &dyn Clock {
        &AtOrigin
    }

    fn store(&self) -> &dyn ParameterStore {
        self.store
    }

    fn data(&self) -> &dyn DataSource {
        &NoExamples
    }

    fn time_left(&self) -> Duration {
        TIME_LEFT
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }

    async fn compute(&self, _: Work, task: ComputeTask) -> Result<Duration> {
        task();
        Ok(Duration::ZERO)
    }
}

/// A clock on which no time passes.
struct AtOrigin;

#[async_trait]
impl Clock for AtOrigin {
    fn now(&self) -> Time {
        Time::ORIGIN
    }

    async fn sleep_until(&self, _: Time) {}
}

struct NoExamples;

#[async_trait]
impl DataSource for NoExamples {
    fn len(&self) -> u64 {
        0
    }

    async fn fetch(&self, range: Range<u64>) -> Result<Vec<u8>> {
        match range == (0..0) {
            true => Ok(Vec::new()),
            false => Err(Error::rejected(format!("there are no examples, so not {range:?}"))),
        }
    }
}
