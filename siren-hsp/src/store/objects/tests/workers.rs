//! The worker's loop over a store without aggregators.

use std::sync::Arc;
use std::time::Duration;

use futures::executor::block_on;
use siren_core::{
    Batch, Clock, EpochPlan, Invocation, Layout, Metrics, Optimizer, Requests, Result, Role, Seed,
    SyncMode, Time, Worker, Workload,
};

use super::support::{DIM, TestContext, World, invocation, plan};
use crate::ShardWorker;

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

/// A worker that learns nothing, and a plan for it.
fn idle() -> (ShardWorker, EpochPlan) {
    let workload = Idle(Layout::flat("w", DIM).unwrap());
    let plan = plan(SyncMode::Hybrid, Optimizer::Sgd);
    let plan = EpochPlan { layout: workload.0.hash(), ..plan };
    (ShardWorker::new(Arc::new(workload)), plan)
}

/// A worker with its own handle is billed for the requests that it made, and never for more than
/// was reserved. A worker with a shared handle is billed for the upper bound.
#[test]
fn a_worker_reports_the_requests_that_it_made() {
    block_on(async {
        let (worker, plan) = idle();
        let world = World::with_unlimited_lead(2);
        let _driver = world.driver(&plan).await;
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

/// A worker that waits for aggregators returns the rest of its shard before its time is up.
#[test]
fn a_worker_without_an_aggregator_stops_in_time() {
    block_on(async {
        let (worker, plan) = idle();
        let world = World::new(2);
        let _driver = world.driver(&plan).await;
        let most = Requests { writes: u64::MAX, reads: u64::MAX };
        let shard = Invocation { role: Role::Shard, ..invocation(&plan, 0, most) };
        let handle = world.handle().exclusive();
        let ends = Some(Time::ORIGIN + shard.timeout);
        let context = TestContext { ends, ..TestContext::new(&world, &handle) };
        let report = worker.run(&shard, &context).await.unwrap();
        assert!(report.waiting && !report.finished, "{report:?}");
        assert_eq!(report.position, world.options.max_ahead + 1);
        assert!(world.clock.now() < Time::ORIGIN + shard.timeout, "{:?}", world.clock.now());
        assert!(report.wait > Duration::ZERO && report.wait > report.update, "{report:?}");
    });
}
