//! Bulk and stale mode, the references for HSP: the same worker, store and trainer.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use siren::backend::{
    Backend, BackendDecorator, Completion, Invocation, LocalBackend, ShardWorker,
};
use siren::data::{Batch, DataSource};
use siren::store::{MemoryStore, ParameterStore, PushOutcome, StoreDecorator, Update};
use siren::{
    Config, Error, ErrorKind, Event, FixedScheduler, Observer, Result, Retry, Seed, StopReason,
    StopRules, Stream, SyncMode, Trainer, TrainerParts, Usd, Workload, async_trait,
};
use support::{Fault, Linear, parts, parts_on, quick, rows};

/// The time limit: a run that takes longer hangs.
const LONG: Option<std::time::Duration> = Some(std::time::Duration::from_secs(30));

fn bulk() -> Config {
    Config { sync_mode: SyncMode::Bulk, ..quick() }
}

/// Bulk mode with four workers equals SGD on the mean of their gradients, to the last bit and in
/// every run, whichever thread is first.
#[tokio::test]
async fn bulk_equals_a_plain_loop_over_the_means_of_rounds_to_the_last_bit() {
    const WORKERS: u32 = 4;
    let config = Config { stop: StopRules { epochs: 2, ..StopRules::default() }, ..bulk() };
    let (workload, data) = (Linear::new(), rows(1_024));
    let (parts, _, _) = parts(data.clone(), FixedScheduler::new(WORKERS, 1_769), []);
    let trained = Trainer::new(parts, config.clone()).unwrap().run().await.unwrap();

    let mut params = workload.init(Seed::new(0).split(Stream::Init, &[])).unwrap();
    for epoch in 0..2 {
        let seed = Seed::new(config.seed);
        let plan = support::plan(&config, &*workload, data.len(), epoch, WORKERS);
        assert_eq!(plan.seed, seed);
        let order = plan.order();
        for round in 0..8 {
            let mut mean = vec![0.0; params.len()];
            for shard in 0..WORKERS {
                let index = order[(plan.shard(shard).start + round) as usize];
                let bytes = data.fetch(plan.batch(index)).await.unwrap();
                let mut gradient = vec![0.0; params.len()];
                let batch = Batch::new(32, &bytes);
                workload.gradient(&params, &batch, seed, &mut gradient).unwrap();
                mean.iter_mut().zip(gradient).for_each(|(mean, g)| *mean += 0.25 * g);
            }
            params.iter_mut().zip(mean).for_each(|(p, mean)| *p -= plan.learning_rate * mean);
        }
    }
    assert_eq!(trained.values, params);
    let epoch = &trained.record.epochs[1];
    assert_eq!((epoch.updates, epoch.staleness_max), (32, 0));
}

/// A worker that dies in the middle of a round delays the others only until its shard is retried,
/// and every batch counts once.
#[tokio::test]
async fn a_dead_worker_is_waited_for_and_nothing_is_lost() {
    for sync_mode in [SyncMode::Bulk, SyncMode::Stale { bound: 1 }] {
        for fault in [Fault::Throttled, Fault::AnswerLost, Fault::StopsEarly, Fault::Dies] {
            let config = Config { sync_mode, batch_size: 10, ..bulk() };
            let config = Config { stop: StopRules { epochs: 1, ..StopRules::default() }, ..config };
            let (parts, backend, _) = parts(
                rows(1_000),
                FixedScheduler::new(4, 1_769),
                [Fault::None, fault, fault, Fault::None],
            );
            let trained = Trainer::new(parts, config).unwrap().run().await.unwrap();
            let epoch = &trained.record.epochs[0];
            assert_eq!((epoch.batches, epoch.complete), (100, true), "{sync_mode:?}, {fault:?}");
            assert!(backend.fired() >= 2);
        }
    }
}

/// When the shard of a dead worker cannot be paid for, the epoch ends, since others would wait in
/// vain. Their reservations pay for more epochs, if there are any.
#[tokio::test]
async fn workers_do_not_wait_for_a_shard_that_nobody_pays_for() {
    for (sync_mode, epochs, reason) in [
        (SyncMode::Bulk, 3, StopReason::Epochs),
        (SyncMode::Stale { bound: 1 }, 3, StopReason::Epochs),
        (SyncMode::Bulk, 1, StopReason::Budget),
    ] {
        // The budget pays for a part of a second of each worker, so that all of it is reserved. An
        // unknown bill counts as the whole reservation.
        let budget = Some(Usd::new(4e-5));
        let stop = StopRules { epochs, budget, time_limit: LONG, ..StopRules::default() };
        let config = Config { sync_mode, batch_size: 10, stop, ..bulk() };
        // More workers than threads, so that no worker's own timeout ends a wait.
        let (parts, _, _) = parts(rows(1_000), FixedScheduler::new(4, 1_769), []);
        let backend = Arc::new(support::Forgetful::new(parts.backend, 1));
        let parts = TrainerParts { backend: backend.clone(), ..parts };
        let trained = Trainer::new(parts, config).unwrap().run().await.unwrap();
        assert!(backend.fired());
        assert_eq!(trained.outcome.reason, reason, "{sync_mode:?}: {:?}", trained.outcome);
        if let (StopReason::Epochs, Some(last)) = (reason, trained.record.epochs.last()) {
            assert!(last.complete && last.epoch == 2, "{last:?}");
        }
    }
}

/// If no worker waits for it, a shard that cannot be paid for now is paid for later.
#[tokio::test]
async fn a_shard_that_nobody_waits_for_is_paid_for_when_others_are_done() {
    let budget = Some(Usd::new(4e-5));
    let stop = StopRules { epochs: 1, budget, time_limit: LONG, ..StopRules::default() };
    let sync_mode = SyncMode::Stale { bound: 1_000 };
    let config = Config { sync_mode, batch_size: 10, stop, ..bulk() };
    let (parts, _, _) = parts(rows(1_000), FixedScheduler::new(2, 1_769), []);
    let backend = Arc::new(support::Forgetful::new(parts.backend, 1));
    let parts = TrainerParts { backend: backend.clone(), ..parts };
    let trained = Trainer::new(parts, config).unwrap().run().await.unwrap();
    assert!(backend.fired());
    assert!(trained.record.epochs[0].complete, "{:?}", trained.record.epochs[0]);
}

/// The first retry of a shard that others wait for is immediate, whatever the delay of retries.
#[tokio::test]
async fn a_shard_that_others_wait_for_is_tried_again_at_once() {
    let day = std::time::Duration::from_secs(86_400);
    let retry = Retry { delay: day, longest: day, ..Retry::default() };
    let stop = StopRules { epochs: 1, time_limit: LONG, ..StopRules::default() };
    let config = Config { retry, batch_size: 10, stop, ..bulk() };
    let (parts, _, _) = parts(rows(1_000), FixedScheduler::new(4, 1_769), [Fault::Throttled]);
    let trained = Trainer::new(parts, config).unwrap().run().await.unwrap();
    assert_eq!(trained.outcome.reason, StopReason::Epochs);
}

/// A worker that would wait until its time is up returns the rest of its shard before, and no
/// worker dies.
#[tokio::test]
async fn a_worker_that_waits_for_others_hands_back_its_shard_in_time() {
    let stop = StopRules { epochs: 1, time_limit: LONG, ..StopRules::default() };
    let config = Config { batch_size: 10, stop, ..bulk() };
    let (workload, train) = (Linear::new(), rows(1_000));
    let store = Arc::new(MemoryStore::initialised(&*workload, 0).unwrap());
    let worker = Arc::new(ShardWorker::new(workload.clone()));
    // One thread per worker, so that waits are billed.
    let local = LocalBackend::with_threads(worker, store.clone(), train.clone(), 4).unwrap();
    let failures = Failures::default();
    let seen = failures.clone();
    let parts = TrainerParts {
        workload,
        held_out: None,
        train,
        store,
        backend: Arc::new(Stalling(local)),
        scheduler: Box::new(FixedScheduler::new(4, 1_769)),
    };
    let trainer = Trainer::new(parts, config).unwrap().with_observer(failures);
    let trained = trainer.run().await.unwrap();
    let epoch = &trained.record.epochs[0];
    assert!(epoch.complete && epoch.retries > 1, "no worker returned its shard early: {epoch:?}");
    assert_eq!(*seen.0.lock().unwrap(), [(0, ErrorKind::Throttled)]);
}

/// A backend that refuses the first attempt at the first shard, after a longer time than the
/// timeout of the others: one second.
struct Stalling(LocalBackend);

#[async_trait]
impl BackendDecorator for Stalling {
    fn inner(&self) -> &dyn Backend {
        &self.0
    }

    async fn invoke(&self, invocation: Invocation) -> Completion {
        if invocation.shard == 0 && invocation.attempt == 0 {
            let stall = std::time::Duration::from_millis(1_500);
            self.0.clock().sleep_until(self.0.clock().now() + stall).await;
            let refused = Error::new(ErrorKind::Throttled, "a fault of the test");
            return Completion { billed: Some(std::time::Duration::ZERO), result: Err(refused) };
        }
        self.0.invoke(invocation).await
    }
}

/// The retried shards, and the kinds of their errors.
#[derive(Clone, Default)]
struct Failures(Arc<std::sync::Mutex<Vec<(u32, ErrorKind)>>>);

impl Observer for Failures {
    fn event(&mut self, event: &Event<'_>) {
        if let Event::Retried { shard, error, .. } = event {
            self.0.lock().unwrap().push((*shard, error.kind()));
        }
    }
}

/// A store that records the lead of each pushing shard.
struct Watched {
    inner: MemoryStore,
    /// The largest number of updates by which a pushing shard was ahead of the slowest one.
    lead: AtomicU64,
}

#[async_trait]
impl StoreDecorator for Watched {
    fn inner(&self) -> &dyn ParameterStore {
        &self.inner
    }

    async fn push(&self, update: &Update<'_>) -> Result<PushOutcome> {
        let status = self.inner.status().await?;
        let marks = status.open.ok_or_else(|| Error::new(ErrorKind::Fenced, "sealed"))?;
        let slowest = marks.iter().map(|mark| mark.batches).min().unwrap();
        let lead = update.id.position.saturating_sub(slowest);
        self.lead.fetch_max(lead, Ordering::Relaxed);
        self.inner.push(update).await
    }
}

/// The largest lead of a run in which one worker of four starts late.
async fn lead(sync_mode: SyncMode) -> u64 {
    let workload = Linear::new();
    let store = Arc::new(Watched {
        inner: MemoryStore::initialised(&*workload, 0).unwrap(),
        lead: AtomicU64::new(0),
    });
    // The throttled worker starts after this delay.
    let delay = std::time::Duration::from_millis(50);
    let retry = Retry { delay, longest: delay, ..Retry::default() };
    let stop = StopRules { epochs: 1, ..StopRules::default() };
    let config = Config { sync_mode, batch_size: 5, stop, retry, ..quick() };
    let faults = [Fault::Throttled, Fault::None, Fault::None, Fault::None, Fault::Throttled];
    let (parts, _, store) =
        parts_on(workload, store, rows(2_000), FixedScheduler::new(4, 1_769), faults);
    let trained = Trainer::new(parts, config).unwrap().run().await.unwrap();
    assert_eq!(trained.record.epochs[0].batches, 400);
    store.lead.load(Ordering::Relaxed)
}

#[tokio::test]
async fn no_worker_is_further_ahead_than_its_synchrony_allows() {
    assert!(lead(SyncMode::Hybrid).await > 3, "no shard was ahead, so the test shows nothing");
    assert_eq!(lead(SyncMode::Bulk).await, 0);
    assert_eq!(lead(SyncMode::Stale { bound: 0 }).await, 0);
    assert!((1..=3).contains(&lead(SyncMode::Stale { bound: 3 }).await));
}

/// Waits for other workers are recorded separately from pulls and pushes.
#[tokio::test]
async fn waits_for_rounds_are_in_the_record() {
    for (sync_mode, waits) in [(SyncMode::Hybrid, false), (SyncMode::Bulk, true)] {
        let (parts, _, _) = parts(rows(4_000), FixedScheduler::new(8, 1_769), []);
        let stop = StopRules { epochs: 1, ..StopRules::default() };
        let config = Config { sync_mode, stop, ..quick() };
        let trained = Trainer::new(parts, config).unwrap().run().await.unwrap();
        let epoch = &trained.record.epochs[0];
        assert_eq!(epoch.round_wait_s > 0.0, waits, "{sync_mode:?}: {epoch:?}");
    }
}
