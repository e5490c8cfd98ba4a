//! Facts of workers in this process.

use std::future::pending;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::{Either, join_all, select};

use super::in_process::{Barrier, Flag, worker};
use super::probe::a_moment;
use super::{Fixture, LONG, Subject};
use crate::{ErrorKind, Work, WorkerReport, compute};

/// All invocations of an epoch run at the same time, even if fewer may compute at once: workers
/// that wait for each other all finish.
pub fn all_invocations_live_at_once(subject: &Subject) {
    let swarm = subject.options.swarm;
    let (first, second) = (Barrier::of(swarm), Barrier::of(swarm));
    let fixture = subject.fixture(worker(move |_, context| {
        let barriers = [first.clone(), second.clone()];
        Box::pin(async move {
            for barrier in &barriers {
                compute(context, Work::Gradient { examples: 1 }, a_moment).await?;
                barrier.wait().await;
            }
            Ok(WorkerReport { finished: true, ..WorkerReport::default() })
        })
    }));
    let invocations =
        (0..swarm).map(|shard| fixture.backend.invoke(fixture.invocation(shard, LONG)));
    for completion in fixture.run(join_all(invocations)) {
        let report = completion.result.expect("a worker that met all others");
        assert!(report.finished);
    }
}

/// The worker runs once for each invocation, also if it fails. Retries are the trainer's task.
pub fn each_invocation_runs_its_worker_once(subject: &Subject) {
    let runs = Arc::new(AtomicU32::new(0));
    let counts = Arc::clone(&runs);
    let fixture = subject.fixture(worker(move |invocation, _| {
        counts.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            match invocation.shard {
                0 => Ok(WorkerReport::default()),
                1 => Err(crate::Error::new(ErrorKind::Lost, "the store does not answer")),
                _ => panic!("a panic that the suite wants to see contained"),
            }
        })
    }));
    for shard in 0..3 {
        let completion = fixture.invoke(fixture.invocation(shard, LONG));
        assert_eq!(completion.result.is_ok(), shard == 0, "shard {shard}");
        assert_eq!(runs.swap(0, Ordering::Relaxed), 1, "runs of the worker of shard {shard}");
    }
}

/// The worker of a dropped invocation is soon dropped, too, and the next invocation runs.
pub fn a_dropped_invocation_stops_its_worker(subject: &Subject) {
    let (started, stopped) = (Flag::default(), Flag::default());
    let flags = (started.clone(), stopped.clone());
    let fixture = subject.fixture(worker(move |invocation, _| {
        let (started, stopped) = flags.clone();
        Box::pin(async move {
            if invocation.shard == 0 {
                let _stopped = stopped.on_drop();
                started.raise();
                pending::<()>().await;
            }
            Ok(WorkerReport::default())
        })
    }));
    fixture.run(async {
        let abandoned = fixture.backend.invoke(fixture.invocation(0, LONG));
        let start = Box::pin(wait_for(&fixture, &started, "the worker starts"));
        match select(abandoned, start).await {
            Either::Left((completion, _)) => panic!("it ends by itself: {completion:?}"),
            Either::Right(((), abandoned)) => drop(abandoned),
        }
        wait_for(&fixture, &stopped, "the worker of a dropped invocation stops").await;
        let next = fixture.backend.invoke(fixture.invocation(1, LONG)).await;
        next.result.expect("an invocation after the dropped one");
    });
}

/// A worker that has not ended at its deadline is soon dropped.
pub fn a_worker_is_dropped_at_its_deadline(subject: &Subject) {
    let stopped = Flag::default();
    let flag = stopped.clone();
    let fixture = subject.fixture(worker(move |_, _| {
        let flag = flag.clone();
        Box::pin(async move {
            let _stopped = flag.on_drop();
            pending().await
        })
    }));
    let completion = fixture.invoke(fixture.invocation(0, Duration::from_millis(50)));
    let error = completion.result.expect_err("the worker never ends");
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
    fixture.run(wait_for(&fixture, &stopped, "the worker is dropped"));
}

/// A worker's clock is that of its backend.
pub fn workers_read_the_clock_of_their_backend(subject: &Subject) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sees = Arc::clone(&seen);
    let fixture = subject.fixture(worker(move |_, context| {
        sees.lock().expect("no panic").push(context.clock().now());
        Box::pin(async { Ok(WorkerReport::default()) })
    }));
    for _ in 0..3 {
        let before = fixture.backend.clock().now();
        let completion = fixture.invoke(fixture.invocation(0, LONG));
        completion.result.expect("a worker that does nothing");
        let after = fixture.backend.clock().now();
        let now = seen.lock().expect("no panic").pop();
        let now = now.expect("the worker ran");
        assert!(
            before <= now && now <= after,
            "the worker reads {now} between {before} and {after}"
        );
    }
}

/// Panics unless `flag` is raised within ten seconds.
async fn wait_for(fixture: &Fixture, flag: &Flag, what: &str) {
    let clock = fixture.backend.clock();
    for _ in 0..1_000 {
        if flag.is_raised() {
            return;
        }
        clock.sleep_until(clock.now() + Duration::from_millis(10)).await;
    }
    panic!("not within ten seconds: {what}");
}
