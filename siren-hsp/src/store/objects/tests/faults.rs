//! Faults, and that they do not change the result.

use std::sync::atomic::Ordering;
use std::task::Poll;

use futures::FutureExt;
use futures::executor::block_on;
use futures::future::{join, join_all, poll_fn};
use siren_core::{Optimizer, ParameterStore, SyncMode};

use super::handles::{expected, train};
use super::support::{World, plan, until_ok, yield_now};

/// Refused requests and lost answers of the driver, of workers and of aggregators.
#[test]
fn lost_requests_and_lost_answers_change_nothing() {
    for parts in [1, 3] {
        for (sync_mode, optimizer) in [
            (SyncMode::Hybrid, Optimizer::Sgd),
            (SyncMode::Bulk, Optimizer::Momentum { momentum: 0.9 }),
        ] {
            for (throttle, lose) in [(50, 0), (0, 25), (20, 20)] {
                let (world, plan) = (World::new(parts), plan(sync_mode, optimizer));
                world.objects.throttle.store(throttle, Ordering::Relaxed);
                world.objects.lose.store(lose, Ordering::Relaxed);
                let (sealed, snapshot) = block_on(train(&world, &plan));
                let fired = world.objects.fired.load(Ordering::Relaxed);
                assert_eq!(fired, throttle + lose, "every fault fired");
                let (expected, values) = expected(&plan);
                assert_eq!(snapshot, values, "{sync_mode:?}, {optimizer:?}");
                assert_eq!(sealed.watermarks, expected.watermarks);
            }
        }
    }
}

/// An aggregator is stopped at any point and another one takes over. The first one resumes after
/// the epoch is sealed, or never.
#[test]
fn an_aggregator_that_stops_is_replaced_and_fenced() {
    let plan = plan(SyncMode::Bulk, Optimizer::Momentum { momentum: 0.9 });
    let (expected, values) = expected(&plan);
    let mut stopped = 0;
    for polls in 1..120 {
        for wakes in [false, true] {
            block_on(async {
                let world = World::new(2);
                let driver = world.driver(&plan).await;
                let mut first = Box::pin(world.aggregate(&plan, 0));
                let mut ended = false;
                let takeover = async {
                    // The first one runs for this many polls; then another one starts.
                    for _ in 0..polls {
                        ended |= poll_fn(|cx| Poll::Ready(first.poll_unpin(cx).is_ready())).await;
                        if ended {
                            return;
                        }
                        yield_now().await;
                    }
                    stopped += 1;
                    world.aggregate(&plan, 0).await.unwrap();
                    if wakes {
                        // It may report any result, but must not change anything.
                        let _ = (&mut first).await;
                    }
                };
                let epoch = async {
                    join_all((0..plan.shards).map(|shard| world.work(&plan, shard))).await;
                    until_ok(async || driver.seal(0).await).await
                };
                let (_, (other, sealed)) =
                    join(takeover, join(world.aggregate(&plan, 1), epoch)).await;
                other.unwrap();
                assert_eq!(sealed.watermarks, expected.watermarks, "after {polls} polls");
                assert_eq!(driver.snapshot().await.unwrap(), values, "after {polls} polls");
            });
        }
    }
    assert!(stopped > 100, "only {stopped} aggregators were stopped in time");
}

/// Two concurrent aggregators for the same parts apply every update once.
#[test]
fn two_aggregators_for_one_part_do_everything_once() {
    for sync_mode in [SyncMode::Hybrid, SyncMode::Bulk] {
        let plan = plan(sync_mode, Optimizer::Sgd);
        let (expected, values) = expected(&plan);
        block_on(async {
            let world = World::new(2);
            let driver = world.driver(&plan).await;
            let aggregators = join_all([0, 0, 1, 1].map(|number| world.aggregate(&plan, number)));
            let epoch = async {
                join_all((0..plan.shards).map(|shard| world.work(&plan, shard))).await;
                driver.seal(0).await.unwrap()
            };
            let (reports, sealed) = join(aggregators, epoch).await;
            assert!(reports.iter().all(|report| report.as_ref().unwrap().finished));
            assert_eq!(sealed.watermarks, expected.watermarks);
            assert_eq!(driver.snapshot().await.unwrap(), values);
        });
    }
}

/// Without aggregators the seal applies the pushed updates, even if its driver is stopped at any
/// point and another one continues.
#[test]
fn another_driver_finishes_a_seal_that_was_stopped_anywhere() {
    let plan = plan(SyncMode::Hybrid, Optimizer::Sgd);
    let (expected, values) = expected(&plan);
    let mut stopped = 0;
    for polls in 1..400 {
        block_on(async {
            let world = World::with_unlimited_lead(2);
            let driver = world.driver(&plan).await;
            join_all((0..plan.shards).map(|shard| world.work(&plan, shard))).await;
            {
                let mut seal = driver.seal(0);
                let mut done = false;
                for _ in 0..polls {
                    done |= poll_fn(|cx| Poll::Ready(seal.poll_unpin(cx).is_ready())).await;
                    if done {
                        break;
                    }
                    yield_now().await;
                }
                stopped += u64::from(!done);
            }
            let another = world.handle();
            let sealed = another.seal(0).await.unwrap();
            assert_eq!(sealed.watermarks, expected.watermarks, "after {polls} polls");
            assert_eq!(another.snapshot().await.unwrap(), values, "after {polls} polls");
        });
    }
    assert!(stopped > 30, "only {stopped} seals were stopped in time");
}
