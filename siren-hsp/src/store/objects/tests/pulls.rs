//! Requests and waits of pulls.

use std::time::Duration;

use futures::executor::block_on;
use futures::future::{join, join_all};
use siren_core::{
    EpochPlan, ErrorKind, Optimizer, ParameterStore, Replica, Requests, SyncMode, Update,
};

use super::super::keys::Keys;
use super::support::{DIM, TestContext, World, gradient, invocation, plan, update, yield_now};

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
            let plan = EpochPlan { local_steps: 2, ..plan(sync_mode, Optimizer::Sgd) };
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
