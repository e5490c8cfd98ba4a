//! Many simultaneous invocations, and dropped ones.

use std::time::Duration;

use futures::future::{Either, join_all, select};

use super::probe::Behaviour;
use super::{LONG, RemoteSubject};
use crate::DriverUsage;

/// The timeout of a dropped invocation, which its worker may use up.
const ABANDONED: Duration = Duration::from_secs(10);

/// Invocations run concurrently: many that sleep take much less time than one after the other.
pub fn many_invocations_run_at_the_same_time(subject: &RemoteSubject) {
    let fixture = subject.fixture();
    let nap = fixture.options.nap;
    let swarm = fixture.options.swarm.min(fixture.backend.platform().limits.concurrency);
    let invocations = (0..swarm).map(|shard| {
        let mut invocation = fixture.probe(Behaviour::Sleep, shard, LONG);
        invocation.position = u64::try_from(nap.as_millis()).unwrap_or(u64::MAX);
        fixture.backend.invoke(invocation)
    });
    let start = fixture.backend.clock().now();
    for completion in fixture.run(join_all(invocations)) {
        completion.result.expect("a worker that sleeps");
    }
    let took = fixture.backend.clock().now().since(start);
    let most = nap * swarm / 4;
    assert!(took >= nap, "{swarm} sleeps of {nap:?} end after {took:?}");
    assert!(took < most, "{swarm} sleeps of {nap:?} take {took:?}, not less than {most:?}");
}

/// An invocation after a dropped one does not wait for it, although the dropped one's worker may
/// still run.
pub fn a_dropped_invocation_leaves_room_for_the_next(subject: &RemoteSubject) {
    let fixture = subject.fixture();
    let clock = fixture.backend.clock();
    fixture.run(async {
        let abandoned = fixture.backend.invoke(fixture.probe(Behaviour::Hang, 0, ABANDONED));
        let moment = clock.sleep_until(clock.now() + Duration::from_millis(50));
        match select(abandoned, moment).await {
            Either::Left((completion, _)) => panic!("it ends by itself: {completion:?}"),
            Either::Right(((), abandoned)) => drop(abandoned),
        }
        let start = clock.now();
        let next = fixture.backend.invoke(fixture.probe(Behaviour::Report, 1, LONG)).await;
        next.result.expect("an invocation after the dropped one");
        let took = clock.now().since(start);
        assert!(took < ABANDONED / 2, "it took {took:?}: does it wait for the dropped one?");
    });
}

/// The number of workers that compute at once is at least one, and at most that of all workers.
pub fn parallelism_is_between_one_and_all(subject: &RemoteSubject) {
    let fixture = subject.fixture();
    for workers in [1, 2, 3, 64, 1_000, u32::MAX] {
        let parallelism = fixture.backend.parallelism(workers);
        assert!(
            (1..=workers).contains(&parallelism),
            "{parallelism} of {workers} workers compute at once"
        );
    }
}

/// The driver's usage never decreases.
pub fn the_drivers_usage_only_grows(subject: &RemoteSubject) {
    let fixture = subject.fixture();
    let mut before = fixture.backend.driver_usage();
    for shard in 0..3 {
        let completion = fixture.invoke(fixture.probe(Behaviour::Report, shard, LONG));
        completion.result.expect("the worker succeeds");
        let now = fixture.backend.driver_usage();
        let DriverUsage { requests, egress_bytes, computed_bills } = before;
        assert!(
            requests.within(now.requests)
                && egress_bytes <= now.egress_bytes
                && computed_bills <= now.computed_bills,
            "{before:?} became {now:?}"
        );
        before = now;
    }
}
