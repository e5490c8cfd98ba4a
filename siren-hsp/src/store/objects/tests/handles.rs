//! Several handles of one store. To the store they look like several processes.

use futures::executor::block_on;
use futures::future::{join, join_all};
use std::sync::Arc;
use std::time::Duration;

use siren_core::{
    Batch, Clock, EpochSummary, ErrorKind, Invocation, Layout, Metrics, Optimizer, ParameterStore,
    PushOutcome, Replica, Requests, Result, Role, Seed, Snapshot, SyncMode, Time, Update, Worker,
    Workload,
};

use super::super::keys::Keys;
use super::super::payload;
use super::support::{
    DIM, TestContext, World, gradient, invocation, plan, until_ok, update, yield_now,
};
use crate::{MemoryStore, ShardWorker};
use siren_core::objects::Objects;

/// Trains an epoch with separate handles for the driver, the workers and the aggregators.
pub(super) async fn train(world: &World, plan: &siren_core::EpochPlan) -> (EpochSummary, Snapshot) {
    let driver = world.handle();
    let values = (0..DIM).map(|i| i as f32).collect();
    let initial = Snapshot::initial(values);
    until_ok(async || driver.restore(&initial).await).await;
    until_ok(async || driver.open(plan).await).await;
    let aggregators =
        join_all((0..world.options.parts).map(|number| world.aggregate(plan, number)));
    let epoch = async {
        join_all((0..plan.shards).map(|shard| world.work(plan, shard))).await;
        until_ok(async || driver.seal(plan.epoch).await).await
    };
    let (reports, sealed) = join(aggregators, epoch).await;
    for report in reports {
        let report = report.unwrap();
        assert!(report.finished, "an aggregator ends with its epoch");
        assert!(report.requests.writes > 0 && report.requests.reads > 0);
    }
    let snapshot = until_ok(async || driver.snapshot().await).await;
    (sealed, snapshot)
}

/// The same epoch in memory, with the shards taking turns.
pub(super) fn expected(plan: &siren_core::EpochPlan) -> (EpochSummary, Snapshot) {
    let all: Vec<u64> = (0..plan.shards).map(|shard| plan.shard_len(shard)).collect();
    expected_of(plan, &all)
}

/// As [`expected`], with the given numbers of batches per shard.
pub(super) fn expected_of(
    plan: &siren_core::EpochPlan,
    batches: &[u64],
) -> (EpochSummary, Snapshot) {
    block_on(async {
        let store = MemoryStore::new((0..DIM).map(|i| i as f32).collect()).unwrap();
        store.open(plan).await.unwrap();
        for position in 0..plan.shard_len(0) {
            for (shard, &batches) in (0..).zip(batches) {
                if position < batches {
                    let gradient = gradient(shard, position);
                    store.push(&update(plan, shard, position, &gradient)).await.unwrap();
                }
            }
        }
        (store.seal(plan.epoch).await.unwrap(), store.snapshot().await.unwrap())
    })
}

#[test]
fn an_epoch_of_many_handles_is_that_of_one_store() {
    for parts in [1, 3] {
        // Cases in which sums are exact in every order, or the order is that of rounds.
        for (sync_mode, optimizer) in [
            (SyncMode::Hybrid, Optimizer::Sgd),
            (SyncMode::Stale { bound: 1 }, Optimizer::Sgd),
            (SyncMode::Bulk, Optimizer::Sgd),
            (SyncMode::Bulk, Optimizer::Momentum { momentum: 0.9 }),
            (SyncMode::Bulk, Optimizer::ADAM),
        ] {
            let plan = plan(sync_mode, optimizer);
            let (sealed, snapshot) = block_on(train(&World::new(parts), &plan));
            let (expected, values) = expected(&plan);
            assert_eq!(snapshot, values, "{sync_mode:?}, {optimizer:?}");
            assert_eq!(
                (sealed.version, &sealed.watermarks),
                (expected.version, &expected.watermarks)
            );
        }
    }
}

#[test]
fn nothing_is_left_lying_after_an_epoch() {
    block_on(async {
        let world = World::new(3);
        train(&world, &plan(SyncMode::Hybrid, Optimizer::Sgd)).await;
        assert_eq!(world.objects.inner.len(), 1 + 3, "the state and the parts");
    });
}

/// A worker that has not seen the seal may get the answer that its push is accepted; the push
/// changes nothing.
#[test]
fn a_push_after_the_seal_of_another_handle_changes_nothing() {
    block_on(async {
        let (world, plan) = (World::new(2), plan(SyncMode::Hybrid, Optimizer::Sgd));
        let driver = world.driver(&plan).await;
        let worker = world.handle();
        let gradient = gradient(0, 0);
        worker.push(&update(&plan, 0, 0, &gradient)).await.unwrap();
        let sealed = driver.seal(0).await.unwrap();
        let before = driver.snapshot().await.unwrap();
        assert_eq!((sealed.version, before.version), (1, 1));
        match worker.push(&update(&plan, 0, 1, &gradient)).await {
            Ok(push_outcome) => assert_eq!(push_outcome, PushOutcome::Accepted),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Fenced),
        }
        let late = worker.pull(0, &mut Replica::new(), 0).await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Fenced);
        let late = worker.push(&update(&plan, 0, 2, &gradient)).await.unwrap_err();
        assert_eq!(late.kind(), ErrorKind::Fenced);
        assert_eq!(driver.snapshot().await.unwrap(), before);
        assert_eq!(driver.seal(0).await.unwrap(), sealed);
        let next = siren_core::EpochPlan { epoch: 1, ..plan };
        driver.open(&next).await.unwrap();
        assert_eq!(driver.seal(1).await.unwrap().batches(), 0);
        assert_eq!(driver.snapshot().await.unwrap().values, before.values);
    });
}

/// A worker of an epoch that a restore dropped changes nothing in the same epoch, opened again.
#[test]
fn a_push_to_an_epoch_before_a_restore_changes_nothing() {
    block_on(async {
        let (world, plan) = (World::new(2), plan(SyncMode::Hybrid, Optimizer::Sgd));
        let driver = world.driver(&plan).await;
        let worker = world.handle();
        let gradient = gradient(0, 0);
        worker.push(&update(&plan, 0, 0, &gradient)).await.unwrap();
        let again = world.driver(&plan).await;
        // The push may be reported as accepted.
        let _ = worker.push(&update(&plan, 0, 1, &gradient)).await;
        assert_eq!(again.seal(0).await.unwrap().batches(), 0);
        let old = driver.seal(0).await.unwrap();
        assert_eq!(old.batches(), 0, "another handle sees the same epoch");
    });
}

/// The watermarks of a status are those of all handles, with examples and losses.
#[test]
fn a_status_counts_what_other_handles_pushed_and_nobody_applied() {
    block_on(async {
        let (world, plan) = (World::new(2), plan(SyncMode::Bulk, Optimizer::Sgd));
        let driver = world.driver(&plan).await;
        world.handle().push(&update(&plan, 1, 0, &gradient(1, 0))).await.unwrap();
        let status = driver.status().await.unwrap();
        let marks = status.open.unwrap();
        assert_eq!((marks[1].batches, marks[1].examples, marks[1].loss), (1, 1, 1.0));
        assert_eq!((marks[0].batches, status.version), (0, 0));
        // A new attempt at the shard, which starts from its beginning.
        let pushed = world.handle().push(&update(&plan, 1, 0, &gradient(1, 0))).await;
        assert_eq!(pushed.unwrap(), PushOutcome::Duplicate);
        let early = world.handle().push(&update(&plan, 1, 2, &gradient(1, 2))).await;
        assert_eq!(early.unwrap_err().kind(), ErrorKind::Conflict);
    });
}

/// There are more updates than fit into one page of a listing.
#[test]
fn a_long_list_is_read_to_its_end() {
    block_on(async {
        let plan = plan(SyncMode::Hybrid, Optimizer::Sgd);
        let plan = siren_core::EpochPlan { examples: 2_300, shards: 1, ..plan };
        let world = World::new(1);
        let driver = world.driver(&plan).await;
        let worker = world.handle();
        for position in 0..2_300 {
            let zero = [0.0; DIM];
            worker.push(&update(&plan, 0, position, &zero)).await.unwrap();
        }
        assert_eq!(driver.status().await.unwrap().open.unwrap()[0].batches, 2_300);
        assert_eq!(driver.seal(0).await.unwrap().version, 2_300);
        assert_eq!(world.objects.inner.len(), 2, "the state and the part");
    });
}

/// The object of an update that was applied and deleted is written once more and must be ignored.
#[test]
fn an_update_that_appears_again_is_ignored() {
    block_on(async {
        let (world, plan) = (World::new(1), plan(SyncMode::Hybrid, Optimizer::Sgd));
        let driver = world.driver(&plan).await;
        let worker = world.handle();
        let updates = [gradient(0, 0), gradient(0, 1)];
        let mut replica = Replica::new();
        let aggregating = world.aggregate(&plan, 0);
        let going_on = async {
            worker.push(&update(&plan, 0, 0, &updates[0])).await.unwrap();
            while worker.pull(0, &mut replica, 0).await.unwrap().version < 1 {}
            // The update is deleted, and pushed again by a process that does not know this.
            let view = driver.read(&driver.retrying_client).await.unwrap().unwrap();
            let open = view.state.open.as_ref().unwrap();
            let key = Keys::new("run").unwrap().update(open.generation, 0, 0);
            world.objects.delete(std::slice::from_ref(&key)).await.unwrap();
            let bytes = payload::encode(&update(&plan, 0, 0, &updates[0]), view.state.cuts());
            world.objects.put_if_absent(&key, &bytes.unwrap()).await.unwrap();
            worker.push(&update(&plan, 0, 1, &updates[1])).await.unwrap();
            while worker.pull(0, &mut replica, 0).await.unwrap().version < 2 {}
            driver.seal(0).await.unwrap()
        };
        let (_, sealed) = join(aggregating, going_on).await;
        assert_eq!((sealed.version, sealed.batches()), (2, 2));
    });
}

/// An aggregator respects its request cap, and reports that it is not finished.
#[test]
fn an_aggregator_stops_when_its_requests_are_used_up() {
    block_on(async {
        let (world, plan) = (World::new(2), plan(SyncMode::Hybrid, Optimizer::Sgd));
        let driver = world.driver(&plan).await;
        let handle = world.handle();
        let context = TestContext::new(&world, &handle);
        for number in [0, 1] {
            let cap = Requests { writes: 40, reads: 40 };
            let report = handle.aggregate(&invocation(&plan, number, cap), &context).await.unwrap();
            assert!(!report.finished && report.requests.within(cap), "{report:?}");
        }
        let cap = Requests { writes: 40, reads: 40 };
        let error = handle.aggregate(&invocation(&plan, 2, cap), &context).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected);
        driver.seal(0).await.unwrap();
        let report = handle.aggregate(&invocation(&plan, 0, cap), &context).await.unwrap();
        assert!(report.finished, "the epoch is sealed");
    });
}

/// A workload that learns nothing.
struct Idle(Layout);

impl Workload for Idle {
    fn layout(&self) -> &Layout {
        &self.0
    }

    fn init(&self, _: Seed) -> Result<Vec<f32>> {
        Ok(vec![0.0; DIM])
    }

    fn gradient(&self, _: &[f32], _: &Batch<'_>, _: Seed, gradient: &mut [f32]) -> Result<f64> {
        gradient.fill(1.0);
        Ok(1.0)
    }

    fn evaluate(&self, _: &[f32], _: &Batch<'_>, _: &mut Metrics) -> Result<()> {
        Ok(())
    }
}

/// A worker with its own handle is billed for the requests that it made, and never for more than
/// was reserved. A worker with a shared handle is billed for the upper bound.
#[test]
fn a_worker_reports_the_requests_that_it_made() {
    block_on(async {
        let workload = Idle(Layout::flat("w", DIM).unwrap());
        let plan = plan(SyncMode::Hybrid, Optimizer::Sgd);
        let plan = siren_core::EpochPlan { layout: workload.0.hash(), ..plan };
        let world = World::with_unlimited_lead(2);
        let _driver = world.driver(&plan).await;
        let worker = ShardWorker::new(Arc::new(workload));
        let most = Requests { writes: u64::MAX, reads: u64::MAX };
        let shard = |shard| Invocation { role: Role::Shard, ..invocation(&plan, shard, most) };
        let (own, shared) = (world.handle().exclusive(), world.handle());
        let made = world.objects.count();
        let exact = worker.run(&shard(0), &TestContext::new(&world, &own)).await.unwrap().requests;
        assert_eq!(exact.writes + exact.reads, world.objects.count() - made);
        // One listing, and ten pushes.
        assert_eq!(exact.writes, 11);
        let most =
            worker.run(&shard(1), &TestContext::new(&world, &shared)).await.unwrap().requests;
        assert!(exact.within(most), "{exact:?}, at most {most:?}");
    });
}

/// A pull requests only the state and the parts that change.
#[test]
fn a_pull_asks_only_for_parts_that_change() {
    block_on(async {
        let (parts, plan) = (3, plan(SyncMode::Hybrid, Optimizer::Sgd));
        let world = World::new(parts);
        let _driver = world.driver(&plan).await;
        let (worker, other) = (world.handle(), world.handle());
        let pull = async |replica: &mut Replica| {
            let before = world.objects.count();
            let pulled = worker.pull(0, replica, 0).await.unwrap();
            (world.objects.count() - before, pulled.copied)
        };
        // The aggregators' request cap suffices for one update.
        let handle = world.handle();
        let context = TestContext::new(&world, &handle);
        let aggregate = async |number: u32| {
            let cap = Requests { writes: 12, reads: 14 };
            handle.aggregate(&invocation(&plan, number, cap), &context).await.unwrap();
        };
        let mut replica = Replica::new();
        let session = 2;
        assert_eq!(pull(&mut replica).await, (session + 1 + 3, DIM));
        assert_eq!(pull(&mut replica).await, (1, 0), "nothing has happened");
        other.push(&update(&plan, 1, 0, &gradient(1, 0))).await.unwrap();
        assert_eq!(pull(&mut replica).await, (1, 0), "it is not counted yet");
        aggregate(0).await;
        assert_eq!(pull(&mut replica).await, (1 + 3, 3), "one part has it, the others will");
        aggregate(1).await;
        assert_eq!(pull(&mut replica).await, (1 + 2, 3), "two parts do not have it");
        aggregate(2).await;
        assert_eq!(pull(&mut replica).await, (1 + 1, 4), "one does not");
        assert_eq!(pull(&mut replica).await, (1, 0), "all of it is here");

        // An update pushed by this handle will change all parts, so they are requested at once.
        worker.push(&update(&plan, 0, 0, &gradient(0, 0))).await.unwrap();
        assert_eq!(pull(&mut replica).await, (1 + 3, 0));
        // Another replica of the same handle is empty, and takes nothing from the first.
        let mut second = Replica::new();
        assert_eq!(pull(&mut second).await, (1 + 3, DIM));
        for number in 0..parts {
            aggregate(number).await;
        }
        assert_eq!(pull(&mut second).await, (1 + 3, DIM));
        assert_eq!(pull(&mut replica).await, (1 + 3, DIM), "seen by the handle, not by this one");
        assert_eq!(replica.values, second.values);
        let sum = |i: usize| i as f32 - 0.5 * (gradient(0, 0)[i] + gradient(1, 0)[i]);
        assert_eq!(replica.values, (0..DIM).map(sum).collect::<Vec<_>>());
    });
}

/// A pull waits while the parameters lack more of the handle's own updates than allowed. Updates of
/// other handles do not count.
#[test]
fn a_worker_is_never_further_ahead_than_allowed() {
    block_on(async {
        let plan = plan(SyncMode::Hybrid, Optimizer::Sgd);
        let world = World::new(2);
        let driver = world.driver(&plan).await;
        let (worker, other) = (world.handle(), world.handle());
        let mut replica = Replica::new();
        let ahead = world.options.max_ahead;
        for position in 0..=ahead {
            let pulled = worker.pull(0, &mut replica, 0).await.unwrap();
            assert_eq!((pulled.version, pulled.waited), (0, Duration::ZERO), "{position} ahead");
            worker.push(&update(&plan, 0, position, &gradient(0, position))).await.unwrap();
        }
        let mut fresh = Replica::new();
        let pulled = other.pull(0, &mut fresh, 0).await.unwrap();
        assert_eq!(pulled.waited, Duration::ZERO, "another handle is not ahead");
        let waiting = async {
            let pulled = worker.pull(0, &mut replica, 0).await.unwrap();
            assert!(pulled.version > 0 && pulled.waited > Duration::ZERO, "{pulled:?}");
            driver.seal(0).await.unwrap();
        };
        let aggregators = join_all((0..2).map(|number| world.aggregate(&plan, number)));
        join(waiting, aggregators).await;
    });
}

/// A pull that waits for the handle's own updates ends with the epoch, in every mode without rounds.
#[test]
fn a_seal_ends_a_pull_that_waits_for_own_updates() {
    for sync_mode in [SyncMode::Hybrid, SyncMode::Stale { bound: 9 }] {
        block_on(async {
            let plan = siren_core::EpochPlan { local_steps: 2, ..plan(sync_mode, Optimizer::Sgd) };
            let world = World::new(2);
            let driver = world.driver(&plan).await;
            let worker = world.handle();
            for position in (0..=world.options.max_ahead).map(|update| 2 * update) {
                let gradient = gradient(0, position);
                let update = Update { batches: 2, ..update(&plan, 0, position, &gradient) };
                worker.push(&update).await.unwrap();
            }
            let waiting = async {
                let pulled = worker.pull(0, &mut Replica::new(), 0).await;
                assert_eq!(pulled.unwrap_err().kind(), ErrorKind::Fenced, "{sync_mode:?}");
            };
            join(waiting, async { driver.seal(0).await.unwrap() }).await;
        });
    }
}

/// A worker that waits for aggregators returns the rest of its shard before its time is up.
#[test]
fn a_worker_without_an_aggregator_stops_in_time() {
    block_on(async {
        let workload = Idle(Layout::flat("w", DIM).unwrap());
        let plan = plan(SyncMode::Hybrid, Optimizer::Sgd);
        let plan = siren_core::EpochPlan { layout: workload.0.hash(), ..plan };
        let world = World::new(2);
        let _driver = world.driver(&plan).await;
        let most = Requests { writes: u64::MAX, reads: u64::MAX };
        let shard = Invocation { role: Role::Shard, ..invocation(&plan, 0, most) };
        let handle = world.handle().exclusive();
        let ends = Some(Time::ORIGIN + shard.timeout);
        let context = TestContext { ends, ..TestContext::new(&world, &handle) };
        let report = ShardWorker::new(Arc::new(workload)).run(&shard, &context).await.unwrap();
        assert!(report.waiting && !report.finished, "{report:?}");
        assert_eq!(report.position, world.options.max_ahead + 1);
        assert!(world.clock.now() < Time::ORIGIN + shard.timeout, "{:?}", world.clock.now());
        assert!(report.wait > Duration::ZERO && report.wait > report.update, "{report:?}");
    });
}

/// A pull that waits for one part does not read the others again, nor the state twice in one poll.
#[test]
fn a_pull_that_waits_reads_what_is_short() {
    block_on(async {
        let plan = plan(SyncMode::Bulk, Optimizer::Sgd);
        let world = World::new(2);
        let driver = world.driver(&plan).await;
        let (worker, handle) = (world.handle(), world.handle());
        let context = TestContext::new(&world, &handle);
        let aggregate = async |number: u32| {
            let cap = Requests { writes: 14, reads: 20 };
            handle.aggregate(&invocation(&plan, number, cap), &context).await.unwrap();
        };
        let mut replica = Replica::new();
        worker.pull(0, &mut replica, 0).await.unwrap();
        for shard in 0..plan.shards {
            world.handle().push(&update(&plan, shard, 0, &gradient(shard, 0))).await.unwrap();
        }
        aggregate(0).await;
        let keys = Keys::new("run").unwrap();
        let lineage = driver.read(&driver.client).await.unwrap().unwrap().state.lineage.unwrap();
        let (first, second) = (keys.part(lineage, 0), keys.part(lineage, 1));
        world.objects.read.lock().clear();
        let times =
            |key: &str| world.objects.read.lock().iter().filter(|read| *read == key).count();
        let waiting = async {
            let pulled = worker.pull(0, &mut replica, 1).await.unwrap();
            assert_eq!((pulled.copied, pulled.version), (DIM, 1));
        };
        let helping = async {
            while times(&second) < 4 {
                yield_now().await;
            }
            let (state, short) = (times(&keys.state()), times(&second));
            // One more request may be in flight.
            assert!(state == short || state == short + 1, "{state} and {short}");
            aggregate(1).await;
        };
        join(waiting, helping).await;
        assert_eq!(times(&first), 1, "it has what is waited for");
    });
}
