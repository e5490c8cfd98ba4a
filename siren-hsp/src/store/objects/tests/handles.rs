//! Several handles of one store. To the store they look like several processes.

use futures::executor::block_on;
use futures::future::{join, join_all};

use siren_core::{
    EpochSummary, ErrorKind, Optimizer, ParameterStore, PushOutcome, Replica, Requests, Snapshot,
    SyncMode,
};

use super::super::keys::Keys;
use super::super::payload;
use super::support::{DIM, TestContext, World, gradient, invocation, plan, until_ok, update};
use crate::MemoryStore;
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
