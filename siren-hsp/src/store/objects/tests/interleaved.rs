//! Workers, aggregators and drivers in random order, with faults and deaths: in every case the
//! parameters contain exactly the updates that the seal reports.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use futures::executor::block_on;
use rand::Rng;
use siren_core::{EpochPlan, EpochSummary, Optimizer, ParameterStore, Seed, SyncMode};

use super::handles::expected_of;
use super::support::{World, plan, until_ok};

type Actor<'a, T = ()> = Pin<Box<dyn Future<Output = T> + 'a>>;

fn poll<T>(actor: &mut Actor<'_, T>) -> Option<T> {
    match actor.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// An aggregator that is launched again after every error.
fn aggregator<'a>(world: &'a World, plan: &'a EpochPlan, number: u32) -> Actor<'a> {
    Box::pin(async move { while world.aggregate(plan, number).await.is_err() {} })
}

fn sealer(world: &World) -> Actor<'_, EpochSummary> {
    Box::pin(async move {
        let driver = world.handle();
        until_ok(async || driver.seal(0).await).await
    })
}

#[test]
fn random_orders_give_exactly_what_the_seal_reports() {
    let (mut early, mut whole, mut fired) = (0, 0, 0);
    for run in 0..300 {
        let mut random = Seed::new(run).rng();
        let mut below = move |end: usize| random.next_u32() as usize % end;
        let sync_mode = [SyncMode::Hybrid, SyncMode::Bulk, SyncMode::Stale { bound: 1 }];
        let plan = plan(sync_mode[below(3)], Optimizer::Sgd);
        let world = World::new(1 + below(3) as u32);
        block_on(world.driver(&plan));
        world.objects.throttle.store(below(20) as u64, Ordering::Relaxed);
        world.objects.lose.store(below(20) as u64, Ordering::Relaxed);

        let mut workers: Vec<Option<Actor<'_>>> =
            (0..plan.shards).map(|shard| Some(Box::pin(world.work(&plan, shard)) as _)).collect();
        // Two for each number, so that they conflict.
        let number = |index: usize| index as u32 % world.options.parts;
        let mut aggregators: Vec<Option<Actor<'_>>> = (0..2 * world.options.parts as usize)
            .map(|index| Some(aggregator(&world, &plan, number(index))))
            .collect();
        let mut asleep: Vec<Actor<'_>> = Vec::new();
        let mut drivers: Vec<Actor<'_, EpochSummary>> = Vec::new();
        let seal_at = below(2_000);
        let mut steps = 0;
        let sealed = loop {
            steps += 1;
            if (steps > seal_at || workers.iter().all(Option::is_none)) && drivers.is_empty() {
                drivers.push(sealer(&world));
            }
            match below(100) {
                // One aggregator stops, for ever or for a while, and another one replaces it.
                0 => {
                    let index = below(aggregators.len());
                    if let Some(old) = aggregators[index].take() {
                        asleep.push(old);
                        aggregators[index] = Some(aggregator(&world, &plan, number(index)));
                    }
                }
                1 if !drivers.is_empty() && drivers.len() < 3 => drivers.push(sealer(&world)),
                2 if drivers.len() > 1 => drop(drivers.swap_remove(0)),
                3..50 => {
                    let index = below(workers.len());
                    if workers[index].as_mut().is_some_and(|worker| poll(worker).is_some()) {
                        workers[index] = None;
                    }
                }
                50..90 => {
                    let index = below(aggregators.len());
                    if aggregators[index].as_mut().is_some_and(|one| poll(one).is_some()) {
                        aggregators[index] = None;
                    }
                }
                _ => {
                    let count = drivers.len().max(1);
                    if let Some(driver) = drivers.get_mut(below(count))
                        && let Some(sealed) = poll(driver)
                    {
                        break sealed;
                    }
                }
            }
            assert!(steps < 10_000_000, "run {run} does not end");
        };
        drop(drivers);
        let marks: Vec<u64> = sealed.watermarks.iter().map(|mark| mark.batches).collect();
        let (expected, values) = expected_of(&plan, &marks);
        let driver = world.handle();
        let check = || {
            let found = block_on(until_ok(async || driver.snapshot().await));
            assert_eq!(found, values, "run {run}, {:?}", plan.sync_mode);
            assert_eq!(block_on(until_ok(async || driver.seal(0).await)), sealed);
        };
        assert_eq!(sealed.watermarks, expected.watermarks, "run {run}");
        assert_eq!(sealed.version, expected.version, "run {run}");
        check();
        // Actors that wake up afterwards change nothing.
        for mut actor in asleep.into_iter().chain(workers.into_iter().flatten()) {
            for _ in 0..1_000 {
                if poll(&mut actor).is_some() {
                    break;
                }
            }
        }
        check();
        fired += world.objects.fired.load(Ordering::Relaxed);
        match sealed.batches() == plan.batches() {
            true => whole += 1,
            false => early += 1,
        }
    }
    assert!(early > 50 && whole > 50, "{early} were sealed early, {whole} whole");
    assert!(fired > 1_000, "only {fired} faults fired");
}
