//! How invocations end.

use std::sync::{Arc, Mutex};

use futures::future::join_all;

use super::Subject;
use super::probe::{LONG, a_moment, invocation, worker};
use crate::{Error, ErrorKind, Requests, Usage, Work, WorkerReport, compute};

/// The worker sees the invocation as it was given, and its report comes back as it was made.
pub fn a_worker_gets_its_invocation_and_its_report_comes_back(subject: &Subject) {
    let report = WorkerReport {
        position: 17,
        finished: true,
        updates: 5,
        requests: Requests { writes: 3, reads: 4 },
        usage: Usage { peak_memory_bytes: 1 << 40, ..Usage::default() },
        ..WorkerReport::default()
    };
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (sees, makes) = (Arc::clone(&seen), report.clone());
    let fixture = subject.fixture(worker(move |invocation, _| {
        sees.lock().expect("no panic").push(invocation.clone());
        let report = makes.clone();
        Box::pin(async move { Ok(report) })
    }));
    let asked = invocation(3, LONG);
    let completion = fixture.invoke(asked.clone());
    assert_eq!(completion.result.expect("the worker succeeds"), report);
    assert_eq!(*seen.lock().expect("no panic"), [asked]);
}

/// What the worker failed of is what the invocation failed of.
pub fn an_error_keeps_its_kind(subject: &Subject) {
    let kinds = [
        ErrorKind::Fenced,
        ErrorKind::Conflict,
        ErrorKind::Diverged,
        ErrorKind::Rejected,
        ErrorKind::Throttled,
        ErrorKind::Worker,
    ];
    let fixture = subject.fixture(worker(move |invocation, _| {
        let kind = kinds[invocation.shard as usize];
        Box::pin(async move { Err(Error::new(kind, "the worker says no")) })
    }));
    for (shard, kind) in (0..).zip(kinds) {
        let completion = fixture.invoke(invocation(shard, LONG));
        let error = completion.result.expect_err("the worker fails");
        assert_eq!(error.kind(), kind, "{}", error.chain());
        let said = error.chain();
        assert!(said.contains("the worker says no"), "{said}");
    }
}

/// A worker that panics fails its invocation, with the kind worker, and no other: neither those that
/// run beside it nor later ones.
pub fn a_panic_fails_only_its_invocation(subject: &Subject) {
    let fixture = subject.fixture(worker(|invocation, context| {
        Box::pin(async move {
            context.compute(Work::Parameters { count: 1 }, Box::new(|| ())).await?;
            assert!(invocation.shard != 1, "a panic that the suite wants to see contained");
            Ok(WorkerReport::default())
        })
    }));
    for _ in 0..2 {
        let invocations = (0..3).map(|shard| fixture.backend.invoke(invocation(shard, LONG)));
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

/// A task that panics is an error of the kind worker for the worker that asked for it, which may go
/// on.
pub fn a_panic_in_a_task_is_an_error_for_its_worker(subject: &Subject) {
    let fixture = subject.fixture(worker(|invocation, context| {
        Box::pin(async move {
            let work = Work::Parameters { count: 1 };
            let task = || panic!("a panic that the suite wants to see contained");
            let failed = compute::<()>(context, work, task).await;
            let Err(error) = failed else {
                return Ok(WorkerReport::default());
            };
            if invocation.shard == 0 {
                return Err(error);
            }
            let (value, _) = compute(context, work, || 7).await?;
            Ok(WorkerReport { position: value, ..WorkerReport::default() })
        })
    }));
    let completion = fixture.invoke(invocation(0, LONG));
    let error = completion.result.expect_err("the task panics");
    assert_eq!(error.kind(), ErrorKind::Worker, "{}", error.chain());
    let completion = fixture.invoke(invocation(1, LONG));
    let report = completion.result.expect("the worker goes on");
    assert_eq!(report.position, 7, "the task after the panic");
}

/// A task runs once, its value comes back, and one after the other they see each other's effects.
pub fn a_task_runs_once_and_returns_its_value(subject: &Subject) {
    let fixture = subject.fixture(worker(|_, context| {
        Box::pin(async move {
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
                assert_eq!(value, expected);
            }
            let position = *runs.lock().expect("no panic");
            Ok(WorkerReport { position, ..WorkerReport::default() })
        })
    }));
    let completion = fixture.invoke(invocation(0, LONG));
    assert_eq!(completion.result.expect("ten tasks, one by one").position, 10);
}

/// What the driver computes runs once, off the epoch, and takes some time; a panic is an error of the
/// kind worker.
pub fn the_driver_computes_too(subject: &Subject) {
    let fixture = subject.fixture(worker(|_, _| Box::pin(async { Ok(WorkerReport::default()) })));
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
