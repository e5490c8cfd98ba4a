//! Many invocations, and abandoned ones.

use std::future::pending;

use futures::future::{Either, join_all, select};

use super::Subject;
use super::probe::{Barrier, Flag, LONG, a_moment, invocation, worker};
use super::time::wait_for;
use crate::{Work, WorkerReport, compute};

/// All invocations of an epoch run at the same time, however many may compute at once: workers that
/// wait for each other all come to their end.
pub fn all_invocations_live_at_once(subject: &Subject) {
    let swarm = subject.swarm;
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
    let invocations = (0..swarm).map(|shard| fixture.backend.invoke(invocation(shard, LONG)));
    for completion in fixture.run(join_all(invocations)) {
        let report = completion.result.expect("a worker that met all others");
        assert!(report.finished);
    }
}

/// A worker whose invocation is dropped is dropped too, before long, and the backend goes on.
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
        let abandoned = fixture.backend.invoke(invocation(0, LONG));
        let start = Box::pin(wait_for(&fixture, &started, "the worker starts"));
        match select(abandoned, start).await {
            Either::Left((completion, _)) => panic!("it ends by itself: {completion:?}"),
            Either::Right(((), abandoned)) => drop(abandoned),
        }
        wait_for(&fixture, &stopped, "the worker of a dropped invocation stops").await;
        let next = fixture.backend.invoke(invocation(1, LONG)).await;
        next.result.expect("an invocation after the dropped one");
    });
}

/// At least one worker computes at a time, and never more than there are.
pub fn parallelism_is_between_one_and_all(subject: &Subject) {
    let fixture = subject.fixture(worker(|_, _| Box::pin(pending())));
    for workers in [1, 2, 3, 64, 1_000, u32::MAX] {
        let parallelism = fixture.backend.parallelism(workers);
        assert!(
            (1..=workers).contains(&parallelism),
            "{parallelism} of {workers} workers compute at once"
        );
    }
}
