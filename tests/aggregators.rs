//! Training on a store over shared objects, with aggregators beside the workers.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use siren::backend::{
    Backend, BackendDecorator, Completion, Invocation, LocalBackend, Role, ShardWorker,
};
use siren::platform::Platform;
use siren::scheduler::Scheduler;
use siren::store::{MemoryObjects, MemoryStore, ObjectOptions, ObjectStore};
use siren::store::{Objects, ObjectsDecorator};
use siren::{
    Config, Error, ErrorKind, FixedScheduler, Result, StopReason, StopRules, SyncMode, Trainer,
    TrainerParts, Usd, async_trait,
};
use siren_backend_local::WallClock;
use support::{FEATURES, Linear, quick, rows};

/// A fault of an aggregator.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// It never starts.
    Throttled,
    /// It is lost, and so is its bill.
    Lost,
    /// It runs out of time at once.
    Cut,
}

/// A backend that counts invocations by role, and whose first aggregators fail.
struct Watched {
    inner: LocalBackend,
    fault: Option<Fault>,
    left: AtomicU64,
    fired: AtomicU64,
    aggregators: AtomicU64,
    /// The true cost, in 10^-12 dollars.
    billed: AtomicU64,
}

#[async_trait]
impl BackendDecorator for Watched {
    fn inner(&self) -> &dyn Backend {
        &self.inner
    }

    async fn invoke(&self, mut invocation: Invocation) -> Completion {
        let (memory, cap) = (invocation.memory_mb, invocation.request_cap);
        let mut fault = None;
        if invocation.role == Role::Aggregator {
            self.aggregators.fetch_add(1, Ordering::Relaxed);
            let take = |left: u64| left.checked_sub(1);
            if self.fault.is_some()
                && self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
            {
                self.fired.fetch_add(1, Ordering::Relaxed);
                fault = self.fault;
            }
        }
        let failed = |billed, kind| Completion { billed, result: Err(Error::new(kind, "a fault")) };
        match fault {
            Some(Fault::Throttled) => return failed(Some(Duration::ZERO), ErrorKind::Throttled),
            Some(Fault::Lost) => {
                let most = invocation.timeout + self.inner.platform().limits.init;
                self.pay(self.inner.platform().invocation_cost(memory, most, cap));
                return failed(None, ErrorKind::Lost);
            }
            Some(Fault::Cut) => invocation.timeout = Duration::from_millis(20),
            None => {}
        }
        let completion = self.inner.invoke(invocation).await;
        if let (Some(billed), Ok(report)) = (completion.billed, &completion.result) {
            self.pay(self.inner.platform().invocation_cost(memory, billed, report.requests));
            assert!(report.requests.within(cap), "{:?} of {cap:?}", report.requests);
        }
        completion
    }
}

impl Watched {
    fn pay(&self, usd: Usd) {
        self.billed.fetch_add((usd.dollars() * 1e12) as u64, Ordering::Relaxed);
    }
}

fn options(parts: u32) -> ObjectOptions {
    let poll_interval = Duration::from_millis(5);
    // So small that every part has its own aggregator.
    let bandwidth = 1;
    let cycle = Duration::from_millis(20);
    let aggregator_timeout = Duration::from_millis(200);
    let default = ObjectOptions::default();
    ObjectOptions {
        parts,
        poll_interval,
        wait_delay: poll_interval,
        cycle,
        bandwidth,
        aggregator_timeout,
        ..default
    }
}

async fn parts(
    parts: u32,
    scheduler: impl Scheduler + 'static,
    platform: Platform,
    fault: Option<(Fault, u64)>,
) -> (TrainerParts, Arc<Watched>) {
    parts_over(Arc::new(MemoryObjects::new()), parts, scheduler, platform, fault).await
}

/// As [`parts`], over these objects.
async fn parts_over(
    objects: Arc<dyn Objects>,
    parts: u32,
    scheduler: impl Scheduler + 'static,
    platform: Platform,
    fault: Option<(Fault, u64)>,
) -> (TrainerParts, Arc<Watched>) {
    let (workload, train) = (Linear::new(), rows(400));
    let store = ObjectStore::new(objects, Arc::new(WallClock::new()), "run", FEATURES).unwrap();
    let store = Arc::new(store.with_options(options(parts)));
    while let Err(error) = store.initialise(&*workload, 0).await {
        assert!(error.is_transient(), "{}", error.chain());
    }
    let worker = Arc::new(ShardWorker::new(workload.clone()));
    let local = LocalBackend::with_threads(worker, store.clone(), train.clone(), 2).unwrap();
    let backend = Arc::new(Watched {
        inner: local.with_platform(platform),
        fault: fault.map(|(fault, _)| fault),
        left: AtomicU64::new(fault.map_or(0, |(_, times)| times)),
        fired: AtomicU64::new(0),
        aggregators: AtomicU64::new(0),
        billed: AtomicU64::new(0),
    });
    let parts = TrainerParts {
        workload,
        held_out: Some(train.clone()),
        train,
        store,
        backend: backend.clone(),
        scheduler: Box::new(scheduler),
    };
    (parts, backend)
}

/// Objects that fail every seventh request, some before and some after their effect, until the
/// budget of faults is used up.
struct Flaky {
    inner: MemoryObjects,
    count: AtomicU64,
    budget: u64,
}

#[async_trait]
impl ObjectsDecorator for Flaky {
    fn inner(&self) -> &dyn Objects {
        &self.inner
    }

    async fn around<T, F>(&self, request: F) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
    {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let fault = number % 7 == 6 && number / 7 < self.budget;
        if fault && number.is_multiple_of(2) {
            return Err(Error::new(ErrorKind::Throttled, "a fault of the test"));
        }
        let answer = request.await;
        if fault {
            return Err(Error::new(ErrorKind::Lost, "a fault of the test"));
        }
        answer
    }
}

fn config(epochs: u64) -> Config {
    Config { batch_size: 10, stop: StopRules { epochs, ..StopRules::default() }, ..quick() }
}

/// Under bulk mode a run on objects gives the same bits as one in memory.
#[tokio::test]
async fn a_run_on_objects_equals_one_in_memory_to_the_last_bit() {
    let config = Config { sync_mode: SyncMode::Bulk, ..config(2) };
    let (on_objects, backend) =
        parts(3, FixedScheduler::new(4, 1_769), Platform::local(), None).await;
    let trained = Trainer::new(on_objects, config.clone()).unwrap().run().await.unwrap();
    let (workload, train) = (Linear::new(), rows(400));
    let store = Arc::new(MemoryStore::initialised(&*workload, 0).unwrap());
    let (in_memory, _, _) =
        support::parts_on(workload, store, train, FixedScheduler::new(4, 1_769), []);
    let expected = Trainer::new(in_memory, config).unwrap().run().await.unwrap();
    assert_eq!(trained.values, expected.values);
    assert_eq!(backend.aggregators.load(Ordering::Relaxed), 6, "three in each of two epochs");
    for (epoch, expected) in trained.record.epochs.iter().zip(&expected.record.epochs) {
        assert!(epoch.complete);
        assert_eq!((epoch.aggregators, epoch.aggregator_retries), (3, 0));
        assert!(epoch.aggregator_cost_usd > 0.0 && epoch.aggregator_cost_usd < epoch.cost_usd);
        assert_eq!((epoch.updates, epoch.train_loss), (expected.updates, expected.train_loss));
        assert_eq!(expected.aggregators, 0);
    }
}

/// Occasional failures of storage, for the driver, the workers and the aggregators, change nothing.
#[tokio::test]
async fn a_run_on_objects_that_fail_is_the_same_run() {
    let config = Config { sync_mode: SyncMode::Bulk, ..config(2) };
    let flaky = Flaky { inner: MemoryObjects::new(), count: AtomicU64::new(0), budget: 60 };
    let flaky = Arc::new(flaky);
    let fixed = || FixedScheduler::new(4, 1_769);
    let (faulty, _) = parts_over(flaky.clone(), 2, fixed(), Platform::local(), None).await;
    let trained = Trainer::new(faulty, config.clone()).unwrap().run().await.unwrap();
    assert!(flaky.count.load(Ordering::Relaxed) > 7 * 60, "every fault fired");
    let (sound, _) = parts(2, fixed(), Platform::local(), None).await;
    let expected = Trainer::new(sound, config).unwrap().run().await.unwrap();
    assert_eq!(trained.values, expected.values);
    assert!(trained.record.epochs.iter().all(|epoch| epoch.complete));
}

/// Aggregators that fail are launched again, and nothing is lost or counted twice.
#[tokio::test]
async fn an_aggregator_that_fails_is_launched_again() {
    for fault in [Fault::Throttled, Fault::Lost, Fault::Cut] {
        for sync_mode in [SyncMode::Hybrid, SyncMode::Bulk] {
            let config = Config { sync_mode, ..config(1) };
            let faults = Some((fault, 3));
            let (parts, backend) =
                parts(2, FixedScheduler::new(4, 1_769), Platform::local(), faults).await;
            let trained = Trainer::new(parts, config).unwrap().run().await.unwrap();
            assert_eq!(trained.outcome.reason, StopReason::Epochs, "{:?}", trained.outcome);
            let epoch = &trained.record.epochs[0];
            assert_eq!((epoch.batches, epoch.complete), (40, true), "{fault:?}, {sync_mode:?}");
            // An aggregator that was cut may have been in time for the seal.
            assert!(backend.fired.load(Ordering::Relaxed) >= 2, "{fault:?}");
            assert!(matches!(fault, Fault::Cut) || epoch.aggregator_retries >= 2, "{epoch:?}");
        }
    }
}

#[tokio::test]
async fn an_aggregator_that_always_fails_ends_the_run_with_its_error() {
    let faults = Some((Fault::Throttled, u64::MAX));
    let config = Config { sync_mode: SyncMode::Bulk, ..config(1) };
    let (parts, _) = parts(1, FixedScheduler::new(2, 1_769), Platform::local(), faults).await;
    let error = Trainer::new(parts, config).unwrap().run().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Throttled);
    assert!(error.message().contains("aggregator 0 of epoch 0 failed 10 times"), "{error}");
}

/// If requests and aggregators cost money, no run exceeds its budget.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_with_aggregators_overspend_nothing() {
    let platform = Platform { estimated: true, ..Platform::aws_lambda() };
    let mut platform = platform;
    platform.limits.init = Duration::from_millis(10);
    let mut reasons = Vec::new();
    for run in 0..40_u32 {
        // From less than the cost of a single update to more than the cost of the whole run.
        let budget = 10_f64.powf(-5.0 + 0.1 * f64::from(run));
        let stop = StopRules { epochs: 2, budget: Some(Usd::new(budget)), ..StopRules::default() };
        let sync_mode = [SyncMode::Hybrid, SyncMode::Bulk][run as usize % 2];
        let config = Config { stop, sync_mode, ..config(2) };
        let fault = [None, Some((Fault::Lost, 1)), Some((Fault::Cut, 2))][run as usize % 3];
        let workers = 1 + run % 5;
        let made =
            parts(1 + run % 2, FixedScheduler::new(workers, 512), platform.clone(), fault).await;
        let (parts, backend) = made;
        let trained = match Trainer::new(parts, config).unwrap().run().await {
            Ok(trained) => trained,
            Err(error) => panic!("run {run}: {}", error.chain()),
        };
        let booked = trained.outcome.cost.dollars();
        let truth = backend.billed.load(Ordering::Relaxed) as f64 / 1e12;
        assert!(booked <= budget + 1e-12, "run {run} books {booked} of {budget}");
        assert!(truth <= booked + 1e-9, "run {run} cost {truth} and books {booked}");
        reasons.push(trained.outcome.reason);
    }
    assert!(reasons.contains(&StopReason::Budget), "{reasons:?}");
    assert!(reasons.contains(&StopReason::Epochs), "{reasons:?}");
}

/// Fewer workers run when the platform's concurrency does not suffice for the workers and their
/// aggregators.
#[tokio::test]
async fn aggregators_count_among_the_invocations_that_run_at_once() {
    let mut platform = Platform::local();
    platform.limits.concurrency = 5;
    let (parts, _) = parts(2, FixedScheduler::new(5, 1_769), platform, None).await;
    let trained = Trainer::new(parts, config(1)).unwrap().run().await.unwrap();
    let epoch = &trained.record.epochs[0];
    assert_eq!((epoch.workers_asked, epoch.workers, epoch.aggregators), (5, 3, 2));
    assert!(epoch.complete);
}
