//! The outcomes of invocations.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::join_all;

use super::probe::{Behaviour, KINDS, SAYS, a_moment, digest, report};
use super::{LONG, RemoteSubject};
use crate::{ErrorKind, Invocation, Role, Work};

/// The worker gets all fields of the invocation unchanged.
pub fn a_worker_gets_its_invocation(subject: &RemoteSubject) {
    let fixture = subject.fixture();
    let first = fixture.probe(Behaviour::Digest, 3, LONG);
    let mut of_another_epoch = first.clone();
    of_another_epoch.plan.epoch = u64::MAX;
    of_another_epoch.plan.learning_rate = 0.1;
    of_another_epoch.plan.clip_norm = Some(1.0 / 3.0);
    for asked in [
        Invocation { role: Role::Aggregator, cycle: None, ..first.clone() },
        Invocation { position: u64::MAX, attempt: 9, ..first.clone() },
        Invocation { timeout: LONG / 3 + Duration::from_nanos(1), ..first.clone() },
        of_another_epoch,
        first,
    ] {
        let completion = fixture.invoke(asked.clone());
        let report = completion.result.expect("the worker succeeds");
        assert_eq!(report.position, digest(&asked), "the worker got other fields than {asked:?}");
    }
}

/// The worker's report comes back unchanged, except that it may have more requests: those that a
/// function makes before its worker begins are added.
pub fn a_report_comes_back_as_it_was_made(subject: &RemoteSubject) {
    let fixture = subject.fixture();
    let completion = fixture.invoke(fixture.probe(Behaviour::Report, 0, LONG));
    let mut found = completion.result.expect("the worker succeeds");
    let made = report();
    assert!(made.requests.within(found.requests), "requests are lost: {:?}", found.requests);
    found.requests = made.requests;
    assert_eq!(found, made);
}

/// The invocation fails with the kind and message of its worker's error.
pub fn an_error_keeps_its_kind_and_message(subject: &RemoteSubject) {
    let fixture = subject.fixture();
    for (shard, kind) in (0..).zip(KINDS) {
        let completion = fixture.invoke(fixture.probe(Behaviour::Fail, shard, LONG));
        let error = completion.result.expect_err("the worker fails");
        assert_eq!(error.kind(), kind, "{}", error.chain());
        let said = error.chain();
        assert!(said.contains(SAYS), "{said}");
    }
}

/// A panic of a worker fails its invocation with the kind worker. It fails no other invocation,
/// neither a simultaneous nor a later one.
pub fn a_panic_fails_only_its_invocation(subject: &RemoteSubject) {
    let fixture = subject.fixture();
    for _ in 0..2 {
        let invocation = |shard| fixture.probe(Behaviour::Panic, shard, LONG);
        let invocations = (0..3).map(|shard| fixture.backend.invoke(invocation(shard)));
        let completions = fixture.run(join_all(invocations));
        for (shard, completion) in completions.into_iter().enumerate() {
            match completion.result {
                Err(error) if shard == 1 => assert_eq!(error.kind(), ErrorKind::Worker),
                Err(error) => panic!("shard {shard} fails too: {}", error.chain()),
                Ok(_) => assert!(shard != 1, "a panic counts as success"),
            }
        }
    }
}

/// A worker gets an error of the kind worker for a task that panics, and may continue.
pub fn a_panic_in_a_task_is_an_error_for_its_worker(subject: &RemoteSubject) {
    let fixture = subject.fixture();
    let completion = fixture.invoke(fixture.probe(Behaviour::PanicInTask, 0, LONG));
    let error = completion.result.expect_err("the task panics");
    assert_eq!(error.kind(), ErrorKind::Worker, "{}", error.chain());
    let completion = fixture.invoke(fixture.probe(Behaviour::PanicInTask, 1, LONG));
    let report = completion.result.expect("the worker continues");
    assert_eq!(report.position, 7, "the task after the panic");
}

/// A task runs once and returns its value, and later tasks see the effects of earlier ones.
pub fn a_task_runs_once_and_returns_its_value(subject: &RemoteSubject) {
    let fixture = subject.fixture();
    let completion = fixture.invoke(fixture.probe(Behaviour::Tasks, 0, LONG));
    assert_eq!(completion.result.expect("ten tasks, one by one").position, 10);
}

/// A task of the driver runs once, in this process, and takes time. A panic is an error of the kind
/// worker.
pub fn the_driver_computes_too(subject: &RemoteSubject) {
    let fixture = subject.fixture();
    let runs = Arc::new(Mutex::new(0));
    let counts = Arc::clone(&runs);
    let task = Box::new(move || {
        a_moment();
        *counts.lock().expect("no panic") += 1;
    });
    let work = Work::Gradient { examples: 1_000 };
    let took = fixture.run(fixture.backend.compute(work, task)).expect("the task succeeds");
    assert_eq!(*runs.lock().expect("no panic"), 1, "runs of the task");
    assert!(!took.is_zero(), "a task that takes no time at all");
    let task = Box::new(|| panic!("a panic that the suite wants to see contained"));
    let failed = fixture.run(fixture.backend.compute(work, task));
    let error = failed.expect_err("the task panics");
    assert_eq!(error.kind(), ErrorKind::Worker, "{}", error.chain());
}

/// An invocation with a memory size that the platform does not have is rejected, and billed
/// nothing.
pub fn a_memory_size_that_does_not_exist_is_refused_and_free(subject: &RemoteSubject) {
    let fixture = subject.fixture();
    let limits = &fixture.backend.platform().limits;
    for memory_mb in [limits.memory_min_mb - 1, limits.memory_max_mb + 1] {
        let invocation = fixture.probe(Behaviour::Report, 0, LONG);
        let completion = fixture.invoke(Invocation { memory_mb, ..invocation });
        let error = completion.result.expect_err("a function of no such size");
        assert_eq!(error.kind(), ErrorKind::Rejected, "{}", error.chain());
        assert_eq!(completion.billed, Some(Duration::ZERO), "the bill of {memory_mb} MB");
    }
}
