//! Deadlines and bills.

use std::time::Duration;

use super::probe::{Behaviour, SLEEPS};
use super::{Fixture, LONG, RemoteSubject};
use crate::{Completion, ErrorKind};

const SHORT: Duration = Duration::from_millis(50);

/// A worker that never ends is stopped at its deadline, not before, and the next invocation runs.
pub fn a_worker_that_never_ends_meets_its_deadline(subject: &RemoteSubject) {
    let fixture = subject.fixture();
    let start = fixture.backend.clock().now();
    let completion = fixture.invoke(fixture.probe(Behaviour::Hang, 0, SHORT));
    let took = fixture.backend.clock().now().since(start);
    assert!(took >= SHORT, "the invocation ended after {took:?}, before its deadline of {SHORT:?}");
    deadline_exceeded(&fixture, completion);
    let next = fixture.invoke(fixture.probe(Behaviour::Report, 1, LONG));
    next.result.expect("an invocation after the deadline");
}

/// A worker that computes step after step is stopped at its deadline, and the next invocation runs.
pub fn a_worker_that_computes_for_ever_meets_its_deadline(subject: &RemoteSubject) {
    let fixture = subject.fixture();
    let completion = fixture.invoke(fixture.probe(Behaviour::ComputeForEver, 0, SHORT));
    deadline_exceeded(&fixture, completion);
    let next = fixture.invoke(fixture.probe(Behaviour::Compute, 1, LONG));
    next.result.expect("an invocation after the deadline");
}

/// The billed time is at least the computing time, and a multiple of the platform's billing step.
pub fn what_is_computed_is_billed(subject: &RemoteSubject) {
    let fixture = subject.fixture();
    for shard in 0..3 {
        let completion = fixture.invoke(fixture.probe(Behaviour::Compute, shard, LONG));
        let billed = completion.billed.expect("an invocation that was answered");
        let report = completion.result.expect("three tasks");
        assert!(report.compute > Duration::ZERO, "computing takes no time at all");
        assert!(billed >= report.compute, "{billed:?} are billed for {:?}", report.compute);
        assert_eq!(billed, fixture.backend.platform().billed(billed), "whole steps are billed");
    }
}

/// The time left is at most the timeout, and decreases during a wait.
pub fn time_left_runs_down(subject: &RemoteSubject) {
    let fixture = subject.fixture();
    let completion = fixture.invoke(fixture.probe(Behaviour::TimeLeft, 0, LONG));
    let report = completion.result.expect("some short sleeps");
    let left = report.fetch;
    assert!(left <= LONG, "{left:?} are left of {LONG:?}");
    assert!(left > LONG / 2, "only {left:?} are left of {LONG:?} at the start");
    assert_eq!(report.updates, SLEEPS, "sleeps after which less time was left");
}

/// Panics unless the invocation ended at its deadline and its bill is at most the allowed time.
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
