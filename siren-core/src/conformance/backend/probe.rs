//! A worker whose behaviour is selected by its invocation.

use std::future::pending;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use xxhash_rust::xxh3::xxh3_64;

use crate::{
    Context, Error, ErrorKind, Invocation, Requests, Result, Usage, Work, Worker, WorkerReport,
    compute,
};

/// The behaviour of the probe in an invocation, selected by the name of the plan's run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behaviour {
    /// Reports the [`digest`] of its invocation as the position.
    Digest,
    /// Reports [`report`].
    Report,
    /// Fails with one of [`KINDS`], selected by its shard, and the message [`SAYS`].
    Fail,
    /// Panics after a task if its shard is 1.
    Panic,
    /// Runs a task that panics. Shard 0 returns the error; the others run one more task.
    PanicInTask,
    /// Runs ten tasks, and reports the number of runs.
    Tasks,
    /// Never ends, and uses no CPU.
    Hang,
    /// Computes without end.
    ComputeForEver,
    /// Computes, and reports the time.
    Compute,
    /// Sleeps for a number of milliseconds equal to its position.
    Sleep,
    /// Sleeps four times. Reports the time left at the start as `fetch`, and the number of sleeps
    /// after which less time was left as `updates`.
    TimeLeft,
}

impl Behaviour {
    const ALL: [Self; 11] = [
        Self::Digest,
        Self::Report,
        Self::Fail,
        Self::Panic,
        Self::PanicInTask,
        Self::Tasks,
        Self::Hang,
        Self::ComputeForEver,
        Self::Compute,
        Self::Sleep,
        Self::TimeLeft,
    ];

    /// The name of a run in which the probe has this behaviour.
    pub(super) fn run(self) -> String {
        format!("conformance-{self:?}")
    }
}

/// The kinds of the probe's errors.
pub(super) const KINDS: [ErrorKind; 7] = [
    ErrorKind::Fenced,
    ErrorKind::Conflict,
    ErrorKind::Diverged,
    ErrorKind::Rejected,
    ErrorKind::Throttled,
    ErrorKind::OutOfMemory,
    ErrorKind::Worker,
];

/// The message of these errors.
pub(super) const SAYS: &str = "the worker says no";

/// The number of sleeps after which the probe reads the time left.
pub(super) const SLEEPS: u64 = 4;

/// The message of panics that facts expect.
const PANIC: &str = "a panic that the suite wants to see contained";

/// A hash of all fields of an invocation.
pub(super) fn digest(invocation: &Invocation) -> u64 {
    xxh3_64(format!("{invocation:?}").as_bytes())
}

/// A report in which no field has its default value.
pub(super) fn report() -> WorkerReport {
    WorkerReport {
        position: u64::MAX - 1,
        finished: true,
        updates: 5,
        fetch: Duration::from_nanos(1),
        compute: Duration::from_nanos(1_999_999_999),
        queue: Duration::from_micros(2),
        update: Duration::from_millis(3),
        wait: Duration::from_secs(4),
        waiting: true,
        cycle: Duration::from_nanos(5_000_000_001),
        requests: Requests { writes: 3, reads: 4 },
        usage: Usage { cpu: Duration::from_nanos(7), peak_memory_bytes: 1 << 40, shared: true },
    }
}

/// A task that takes a short time.
pub(super) fn a_moment() -> u64 {
    (0..200_000_u64).fold(0, |sum, i| std::hint::black_box(sum.wrapping_add(i)))
}

/// The worker of [remote facts](super::RemoteSubject). Each invocation selects its behaviour.
///
/// It uses neither the store nor the data. For a backend whose workers run elsewhere, deploy it
/// with the layout and the number of examples of
/// [`RemoteSubject::plan`](super::RemoteSubject::plan).
#[derive(Clone, Copy, Debug, Default)]
pub struct ProbeWorker;

#[async_trait]
impl Worker for ProbeWorker {
    async fn run(&self, invocation: &Invocation, context: &dyn Context) -> Result<WorkerReport> {
        let run = &invocation.plan.run;
        let behaviour = Behaviour::ALL.into_iter().find(|behaviour| behaviour.run() == *run);
        match behaviour {
            Some(behaviour) => behave(behaviour, invocation, context).await,
            None => Err(Error::rejected(format!("the probe has no behaviour named {run}"))),
        }
    }
}

async fn behave(
    behaviour: Behaviour,
    invocation: &Invocation,
    context: &dyn Context,
) -> Result<WorkerReport> {
    let one = Work::Parameters { count: 1 };
    let position = |position| WorkerReport { position, ..WorkerReport::default() };
    match behaviour {
        Behaviour::Digest => Ok(position(digest(invocation))),
        Behaviour::Report => Ok(report()),
        Behaviour::Fail => {
            let kind = KINDS.get(invocation.shard as usize).copied();
            Err(Error::new(kind.unwrap_or(ErrorKind::Other), SAYS))
        }
        Behaviour::Panic => {
            context.compute(one, Box::new(|| ())).await?;
            assert!(invocation.shard != 1, "{PANIC}");
            Ok(WorkerReport::default())
        }
        Behaviour::PanicInTask => {
            let failed = compute::<()>(context, one, || panic!("{PANIC}")).await;
            match failed {
                Err(error) if invocation.shard == 0 => Err(error),
                Err(_) => Ok(position(compute(context, one, || 7).await?.0)),
                Ok(_) => Ok(WorkerReport::default()),
            }
        }
        Behaviour::Tasks => tasks(context).await.map(position),
        Behaviour::Hang => pending().await,
        Behaviour::ComputeForEver => loop {
            compute(context, Work::Gradient { examples: 1_000 }, a_moment).await?;
        },
        Behaviour::Compute => {
            let mut report = WorkerReport::default();
            for _ in 0..3 {
                let work = Work::Gradient { examples: 100 };
                report.compute += compute(context, work, a_moment).await?.1;
            }
            Ok(report)
        }
        Behaviour::Sleep => {
            sleep(context, Duration::from_millis(invocation.position)).await;
            Ok(WorkerReport::default())
        }
        Behaviour::TimeLeft => {
            let mut left = context.time_left();
            let mut report = WorkerReport { fetch: left, ..WorkerReport::default() };
            for _ in 0..SLEEPS {
                sleep(context, Duration::from_millis(5)).await;
                report.updates += u64::from(context.time_left() < left);
                left = context.time_left();
            }
            Ok(report)
        }
    }
}

/// Runs ten tasks, each of which must see the effect of the previous one. Returns the number of
/// runs.
async fn tasks(context: &dyn Context) -> Result<u64> {
    let runs = Arc::new(Mutex::new(0));
    for expected in 1..=10 {
        let runs = Arc::clone(&runs);
        let task = move || {
            a_moment();
            let mut runs = runs.lock().expect("no panic");
            *runs += 1;
            *runs
        };
        let (value, _) = compute(context, Work::Gradient { examples: 1 }, task).await?;
        if value != expected {
            let why = format!("task {expected} returned {value}");
            return Err(Error::new(ErrorKind::Worker, why));
        }
    }
    let runs = *runs.lock().expect("no panic");
    Ok(runs)
}

async fn sleep(context: &dyn Context, duration: Duration) {
    let clock = context.clock();
    clock.sleep_until(clock.now() + duration).await;
}
