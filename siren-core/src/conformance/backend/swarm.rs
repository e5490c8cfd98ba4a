//! Many invocations, and abandoned ones.

use std::future::pending;

use futures::future::{Either, join_all, select};

use super::Subject;
use super::probe::{Flag, LONG, Meeting, a_moment, invocation, worker};
use super::time::happens;
use crate::{Work, WorkerReport, compute};

/// All invocations of an epoch run at the same time, however many may compute at once: workers that
/// wait for each other all come to their end.
pub fn all_invocations_live_at_once(subject: &Subject) {
    let swarm = subject.swarm;
    let (first, second) = (Meeting::of(swarm), Meeting::of(swarm));
    let place = subject.place(worker(move |_, context| {
        let meetings = [first.clone(), second.clone()];
        Box::pin(async move {
            for meeting in &meetings {
                compute(context, Work::Gradient { examples: 1 }, a_moment).await?;
                meeting.wait().await;
            }
            Ok(WorkerReport { finished: true, ..WorkerReport::default() })
        })
    }));
    let invocations = (0..swarm).map(|shard| place.backend.invoke(invocation(shard, LONG)));
    for completion in place.run(join_all(invocations)) {
        let report = completion.result.expect("a worker that met all others");
        assert!(report.finished);
    }
}

/// A worker whose invocation is dropped is dropped too, before long, and the backend goes on.
pub fn a_dropped_invocation_stops_its_worker(subject: &Subject) {
    let (started, stopped) = (Flag::default(), Flag::default());
    let flags = (started.clone(), stopped.clone());
    let place = subject.place(worker(move |invocation, _| {
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
    place.run(async {
        let abandoned = place.backend.invoke(invocation(0, LONG));
        let start = Box::pin(happens(&place, &started, "the worker starts"));
        match select(abandoned, start).await {
            Either::Left((completion, _)) => panic!("it ends by itself: {completion:?}"),
            Either::Right(((), abandoned)) => drop(abandoned),
        }
        happens(&place, &stopped, "the worker of a dropped invocation stops").await;
        let next = place.backend.invoke(invocation(1, LONG)).await;
        next.result.expect("an invocation after the dropped one");
    });
}

/// At least one worker computes at a time, and never more than there are.
pub fn parallelism_is_between_one_and_all(subject: &Subject) {
    let place = subject.place(worker(|_, _| Box::pin(pending())));
    for workers in [1, 2, 3, 64, 1_000, u32::MAX] {
        let parallelism = place.backend.parallelism(workers);
        assert!(
            (1..=workers).contains(&parallelism),
            "{parallelism} of {workers} workers compute at once"
        );
    }
}
