//! Requirements of cloud platforms on the trainer: too little memory, timeouts in steps, and a
//! driver that pays for its own part.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use siren::backend::{
    Backend, BackendDecorator, Completion, DriverUsage, Invocation, LocalBackend, ShardWorker,
};
use siren::platform::Platform;
use siren::scheduler::{Allocation, Scheduler};
use siren::store::{EpochPlan, MemoryStore, Requests};
use siren::{
    Config, Error, ErrorKind, FixedScheduler, HistoryEvent, PhasedScheduler, StopReason, StopRules,
    Trainer, TrainerParts, TrainingResult, Usd, async_trait, read_history,
};
use support::{Linear, quick, rows};

/// The bytes that a barrier moves out of the region.
const EGRESS: u64 = 40_000_000;

/// Functions with a minimum memory, on a platform whose timeouts are 30 and 900 s.
struct Swarm {
    inner: LocalBackend,
    needs_mb: u32,
    invoked: Mutex<Vec<(u64, u32)>>,
    prepared: Mutex<Vec<u32>>,
    barriers: AtomicU64,
    hangs: bool,
}

#[async_trait]
impl BackendDecorator for Swarm {
    fn inner(&self) -> &dyn Backend {
        &self.inner
    }

    fn driver_usage(&self) -> DriverUsage {
        let barriers = self.barriers.load(Ordering::Relaxed);
        let requests = Requests { reads: 10 * barriers, writes: barriers };
        DriverUsage { egress_bytes: EGRESS * barriers, requests, computed_bills: 0 }
    }

    fn max_driver_usage(&self, _: &EpochPlan, _: u64) -> DriverUsage {
        let requests = Requests { reads: 10, writes: 1 };
        DriverUsage { egress_bytes: EGRESS, requests, computed_bills: 0 }
    }

    async fn prepare(&self, memory_mb: u32, _: Duration) {
        self.prepared.lock().push(memory_mb);
    }

    async fn invoke(&self, invocation: Invocation) -> Completion {
        let Invocation { memory_mb, shard, plan: EpochPlan { epoch, .. }, .. } = invocation;
        self.invoked.lock().push((epoch, memory_mb));
        if shard == 0 {
            self.barriers.fetch_add(1, Ordering::Relaxed);
        }
        let died = |kind, billed| Completion {
            billed: Some(billed),
            result: Err(Error::new(kind, "a fault of the test")),
        };
        if memory_mb < self.needs_mb {
            return died(ErrorKind::OutOfMemory, Duration::from_millis(3));
        }
        if self.hangs {
            // Only the platform stops it.
            let enforced = self.inner.platform().enforced(invocation.timeout);
            return died(ErrorKind::DeadlineExceeded, enforced + self.inner.platform().limits.init);
        }
        self.inner.invoke(invocation).await
    }
}

async fn train(
    needs_mb: u32,
    hangs: bool,
    scheduler: impl Scheduler + 'static,
    config: Config,
) -> (siren::Result<TrainingResult>, Arc<Swarm>) {
    let (workload, train) = (Linear::new(), rows(400));
    let store = Arc::new(MemoryStore::initialised(&*workload, 0).unwrap());
    let worker = Arc::new(ShardWorker::new(workload.clone()));
    let mut platform = Platform::aws_lambda();
    platform.limits.timeouts_s = vec![30, 900];
    platform.limits.memory_step_mb = 64;
    let inner = LocalBackend::with_threads(worker, store.clone(), train.clone(), 2).unwrap();
    let swarm = Arc::new(Swarm {
        inner: inner.with_platform(platform),
        needs_mb,
        invoked: Mutex::default(),
        prepared: Mutex::default(),
        barriers: AtomicU64::new(0),
        hangs,
    });
    let parts = TrainerParts {
        workload,
        held_out: Some(train.clone()),
        train,
        store,
        backend: swarm.clone(),
        scheduler: Box::new(scheduler),
    };
    (Trainer::new(parts, config).unwrap().run().await, swarm)
}

fn epochs(epochs: u64, budget: Option<f64>) -> Config {
    let stop = StopRules { epochs, budget: budget.map(Usd::new), ..StopRules::default() };
    Config { batch_size: 20, stop, ..quick() }
}

#[tokio::test]
async fn a_function_out_of_memory_gets_twice_as_much_and_later_epochs_begin_there() {
    let (trained, swarm) = train(900, false, FixedScheduler::new(2, 256), epochs(2, None)).await;
    let record = trained.unwrap().record;
    assert!(record.epochs.iter().all(|epoch| epoch.complete));
    assert!(record.epochs[0].retries >= 2, "{:?}", record.epochs[0]);
    let invoked = swarm.invoked.lock().clone();
    let sizes = |epoch| {
        let mut of: Vec<u32> = invoked.iter().filter(|i| i.0 == epoch).map(|i| i.1).collect();
        of.sort_unstable();
        of.dedup();
        of
    };
    assert_eq!(sizes(0), [256, 512, 1_024]);
    assert_eq!(sizes(1), [1_024]);
    assert_eq!(record.epochs[1].memory_mb, 1_024);
}

#[tokio::test]
async fn a_function_out_of_memory_at_the_largest_size_ends_the_run_and_says_what_to_do() {
    let (trained, _) = train(u32::MAX, false, FixedScheduler::new(1, 6_016), epochs(1, None)).await;
    let error = trained.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    assert!(error.message().contains("make the batches or the model smaller"), "{error}");
}

#[tokio::test]
async fn what_leaves_the_region_and_what_the_driver_asks_is_in_the_bill() {
    let (trained, _) = train(0, false, FixedScheduler::new(1, 256), epochs(3, None)).await;
    let record = trained.unwrap().record;
    // 40 MB at $0.09 per GB, and the requests.
    let each = 0.0036 + 10.0 * 0.4e-6 + 5e-6;
    for epoch in &record.epochs {
        assert!((epoch.driver_cost_usd - each).abs() < 1e-12, "{}", epoch.driver_cost_usd);
        assert_eq!(epoch.egress_bytes, EGRESS);
        assert!(epoch.cost_usd > each);
    }
    let sum: f64 = record.epochs.iter().map(|epoch| epoch.cost_usd).sum();
    assert!((record.outcome.cost_usd - sum).abs() < 1e-12);
}

#[tokio::test]
async fn a_run_that_has_to_pay_for_its_driver_never_overspends() {
    let mut ended = [0; 2];
    for step in 2..20 {
        let budget = 0.002 * f64::from(step);
        let (trained, _) =
            train(0, false, FixedScheduler::new(2, 256), epochs(4, Some(budget))).await;
        let outcome = trained.unwrap().outcome;
        assert!(outcome.cost.dollars() <= budget, "{} of {budget}", outcome.cost);
        ended[usize::from(outcome.reason == StopReason::Budget)] += 1;
    }
    assert!(ended.iter().all(|&runs| runs > 2), "{ended:?}");
}

#[tokio::test]
async fn a_budget_below_what_the_driver_reads_is_refused_before_anything_is_read() {
    let (trained, swarm) =
        train(0, false, FixedScheduler::new(2, 256), epochs(4, Some(0.003))).await;
    let error = trained.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Budget);
    assert!(error.message().contains("give more"), "{error}");
    assert!(swarm.invoked.lock().is_empty());
}

#[tokio::test]
async fn what_hangs_is_reserved_for_as_long_as_the_platform_lets_it() {
    let folder = tempfile::tempdir().unwrap();
    // The cost of a function of 1,024 MB for 40 s, and of the driver at two barriers.
    let budget = 0.000_016_67 * 41.0 + 0.0075 + 0.001;
    let config = Config { out: Some(folder.path().into()), ..epochs(1, Some(budget)) };
    let (trained, swarm) = train(0, true, FixedScheduler::new(1, 1_024), config).await;
    let cost = match trained {
        Ok(trained) => trained.outcome.cost.dollars(),
        Err(_) => 0.0,
    };
    assert!(!swarm.invoked.lock().is_empty());
    assert!(cost <= budget, "{cost} of {budget}");
    let lines = read_history(folder.path().join("history.jsonl")).unwrap();
    let reserved: Vec<f64> = lines
        .iter()
        .filter_map(|line| match line {
            HistoryEvent::Reserved { usd, .. } => Some(*usd),
            _ => None,
        })
        .collect();
    // 30 s and an INIT of 10 s, although the worker's timeout was about a second.
    assert!(reserved[0] > 0.000_016_66 * 40.0, "{reserved:?}");
}

#[tokio::test]
async fn what_comes_next_is_made_ready_while_an_epoch_runs() {
    let sizes = [256, 512, 1_024].map(|memory_mb| Allocation::new(2, memory_mb));
    let schedule = PhasedScheduler { first: sizes[0], between: sizes[1], last: sizes[2] };
    let (trained, swarm) = train(0, false, schedule, epochs(3, None)).await;
    trained.unwrap();
    assert_eq!(*swarm.prepared.lock(), [512, 1_024]);
}
