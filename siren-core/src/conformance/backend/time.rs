//! Deadlines, bills and clocks.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::probe::{Flag, LONG, a_moment, invocation, worker};
use super::{Fixture, Subject};
use crate::{Completion, ErrorKind, Work, WorkerReport, compute};

const SHORT: Duration = Duration::from_millis(50);

/// A worker that never ends is stopped at its deadline, not before, and the backend goes on.
pub fn a_worker_that_never_ends_meets_its_deadline(subject: &Subject) {
    let stopped = Flag::default();
    let flag = stopped.clone();
    let fixture = subject.fixture(worker(move |invocation, _| {
        let flag = flag.clone();
        Box::pin(async move {
            if invocation.shard == 0 {
                let _stopped = flag.on_drop();
                std::future::pending::<()>().await;
            }
            Ok(WorkerReport::default())
        })
    }));
    let start = fixture.backend.clock().now();
    let completion = fixture.invoke(invocation(0, SHORT));
    let took = fixture.backend.clock().now().since(start);
    assert!(took >= SHORT, "the deadline of {SHORT:?} came after {took:?}");
    deadline_exceeded(&fixture, completion);
    fixture.run(wait_for(&fixture, &stopped, "the worker is stopped"));
    let next = fixture.invoke(invocation(1, LONG));
    next.result.expect("an invocation after the deadline");
}

/// A worker that computes step after step is stopped at its deadline.
pub fn a_worker_that_computes_for_ever_meets_its_deadline(subject: &Subject) {
    let fixture = subject.fixture(worker(|_, context| {
        Box::pin(async move {
            loop {
                compute(context, Work::Gradient { examples: 1_000 }, a_moment).await?;
            }
        })
    }));
    let completion = fixture.invoke(invocation(0, SHORT));
    deadline_exceeded(&fixture, completion);
}

/// What is billed is at least what was computed, in whole steps of the platform's.
pub fn what_is_computed_is_billed(subject: &Subject) {
    let fixture = subject.fixture(worker(|_, context| {
        Box::pin(async move {
            let mut report = WorkerReport::default();
            for _ in 0..3 {
                let work = Work::Gradient { examples: 100 };
                report.compute += compute(context, work, a_moment).await?.1;
            }
            Ok(report)
        })
    }));
    for shard in 0..3 {
        let completion = fixture.invoke(invocation(shard, LONG));
        let billed = completion.billed.expect("an invocation that was answered");
        let report = completion.result.expect("three tasks");
        assert!(report.compute > Duration::ZERO, "computing takes no time at all");
        assert!(billed >= report.compute, "{billed:?} are billed for {:?}", report.compute);
        assert_eq!(billed, fixture.backend.platform().billed(billed), "whole steps are billed");
    }
}

/// The time left is at most the timeout, and less after a wait.
pub fn time_left_runs_down(subject: &Subject) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sees = Arc::clone(&seen);
    let fixture = subject.fixture(worker(move |_, context| {
        let sees = Arc::clone(&sees);
        Box::pin(async move {
            for _ in 0..4 {
                let left = context.time_left();
                sees.lock().expect("no panic").push(left);
                let clock = context.clock();
                clock.sleep_until(clock.now() + Duration::from_millis(5)).await;
            }
            Ok(WorkerReport::default())
        })
    }));
    let completion = fixture.invoke(invocation(0, LONG));
    completion.result.expect("four short sleeps");
    let seen = seen.lock().expect("no panic");
    assert!(seen[0] <= LONG, "{:?} are left of {LONG:?}", seen[0]);
    assert!(seen[0] > LONG / 2, "only {:?} are left of {LONG:?} at the start", seen[0]);
    let runs_down = seen.windows(2).all(|pair| pair[1] < pair[0]);
    assert!(runs_down, "the times left are {seen:?}");
}

/// The clock that a worker reads is its backend's.
pub fn workers_read_the_clock_of_their_backend(subject: &Subject) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sees = Arc::clone(&seen);
    let fixture = subject.fixture(worker(move |_, context| {
        sees.lock().expect("no panic").push(context.clock().now());
        Box::pin(async { Ok(WorkerReport::default()) })
    }));
    for _ in 0..3 {
        let before = fixture.backend.clock().now();
        let completion = fixture.invoke(invocation(0, LONG));
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

/// Panics unless `flag` is raised before long.
pub(super) async fn wait_for(fixture: &Fixture, flag: &Flag, what: &str) {
    let clock = fixture.backend.clock();
    for _ in 0..1_000 {
        if flag.is_raised() {
            return;
        }
        clock.sleep_until(clock.now() + Duration::from_millis(10)).await;
    }
    panic!("not within ten seconds: {what}");
}

/// Panics unless the completion is that of a deadline, and bills no more than the time allowed.
#[track_caller]
fn deadline_exceeded(fixture: &Fixture, completion: Completion) {
    let error = completion.result.expect_err("the worker never ends");
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
    let platform = fixture.backend.platform();
    if let Some(billed) = completion.billed {
        let most = platform.billed(SHORT + platform.limits.init);
        assert!(billed <= most, "{billed:?} are billed, more than {most:?}");
    }
}
