//! The fingerprint of the training data.

mod support;

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use siren::backend::{Backend, BackendDecorator, DriverUsage, LocalBackend, ShardWorker};
use siren::data::{DataSource, MemorySource, fingerprint};
use siren::platform::Platform;
use siren::scheduler::{Allocation, Job, Observation, Scheduler};
use siren::store::{EpochPlan, MemoryStore, Requests};
use siren::{
    Checkpoint, Config, Error, ErrorKind, FixedScheduler, Outcome, Result, RunRecord, StopReason,
    StopRules, Trainer, TrainerParts, TrainingResult, Usd, async_trait,
};
use support::{Linear, parts, quick, rows};

/// Numbered examples, with a mark on one of them.
fn numbered(examples: u16, marked: Option<u16>) -> MemorySource {
    let bytes = (0..examples).flat_map(|i| [i.to_le_bytes(), [u8::from(marked == Some(i)), 0]]);
    MemorySource::new(bytes.flatten().collect::<Vec<u8>>(), 4).unwrap()
}

#[tokio::test]
async fn equal_data_have_equal_fingerprints_and_each_example_in_a_range_counts() {
    for examples in [1, 2, 63, 64, 65, 100, 128, 129, 192, 193, 1_000] {
        let of = async |marked| fingerprint(&numbered(examples, marked)).await.unwrap();
        let plain = of(None).await;
        assert_eq!(plain, of(None).await);
        let middle = (examples.max(64) - 64) / 2;
        let read = |i| i < 64 || i + 64 >= examples || (middle..middle + 64).contains(&i);
        for marked in 0..examples {
            // Only a few examples are read.
            assert_eq!(of(Some(marked)).await != plain, read(marked), "{marked} of {examples}");
        }
        let longer = fingerprint(&numbered(examples + 1, None)).await.unwrap();
        assert_ne!(longer, plain, "{examples} examples");
    }
}

#[tokio::test]
async fn data_of_another_length_differ_although_their_ranges_are_the_same() {
    let zeros = async |examples: usize| {
        fingerprint(&MemorySource::new(vec![0; examples], 1).unwrap()).await.unwrap()
    };
    assert_ne!(zeros(1_000).await, zeros(1_001).await);
}

/// A source that counts its fetches, of which the first few fail.
struct Counted {
    inner: Arc<MemorySource>,
    fetches: AtomicU64,
    failing: u64,
    kind: ErrorKind,
}

impl Counted {
    fn new(failing: u64, kind: ErrorKind) -> Arc<Self> {
        Arc::new(Self { inner: rows(400), fetches: AtomicU64::new(0), failing, kind })
    }

    fn fetches(&self) -> u64 {
        self.fetches.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl DataSource for Counted {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    async fn fetch(&self, range: Range<u64>) -> Result<Vec<u8>> {
        if self.fetches.fetch_add(1, Ordering::Relaxed) < self.failing {
            return Err(Error::new(self.kind, "a fault of the test"));
        }
        self.inner.fetch(range).await
    }
}

/// Passes the job on, with one worker in every epoch.
struct Jobs(Arc<Mutex<Vec<Job>>>);

impl Scheduler for Jobs {
    fn allocate(&mut self, job: &Job, _: &Observation) -> Result<Allocation> {
        self.0.lock().push(job.clone());
        Ok(Allocation::new(1, 1_769))
    }

    fn predict_allocation(&self, _: &Job, _: u64) -> Option<Allocation> {
        None
    }

    fn finish(&mut self, _: &Outcome) {}
}

/// A run whose driver reads from this source. Returns the job of the first epoch too.
async fn run(train: &Arc<Counted>, config: Config) -> Result<(TrainingResult, Job)> {
    let jobs = Arc::new(Mutex::new(Vec::new()));
    let (mut parts, _, _) = parts(rows(400), Jobs(Arc::clone(&jobs)), []);
    parts.train = train.clone();
    let trained = Trainer::new(parts, config)?.run().await?;
    let job = jobs.lock()[0].clone();
    Ok((trained, job))
}

#[tokio::test]
async fn a_scheduler_receives_what_identifies_the_job() {
    let config = Config {
        batch_size: 20,
        local_steps: 3,
        optimizer: siren::Optimizer::ADAM,
        stop: StopRules {
            time_limit: Some(std::time::Duration::from_secs(60)),
            epochs: 1,
            ..StopRules::default()
        },
        ..quick()
    };
    let (trained, job) = run(&Counted::new(0, ErrorKind::Lost), config.clone()).await.unwrap();
    assert_eq!(job.data, fingerprint(&*rows(400)).await.unwrap());
    assert_eq!(job.layout, siren::Workload::layout(&*Linear::new()).hash());
    assert_eq!((job.batch_size, job.local_steps, job.batches), (20, 3, 20));
    assert_eq!((job.optimizer, job.deadline), (config.optimizer, config.stop.time_limit));
    assert_eq!(trained.record.info.data_fingerprint, format!("{:016x}", job.data));
    assert_eq!(trained.record.info.layout, format!("{:016x}", job.layout));
}

#[tokio::test]
async fn a_given_fingerprint_is_used_and_no_data_is_read_for_it() {
    let computed = Counted::new(0, ErrorKind::Lost);
    run(&computed, quick()).await.unwrap();
    let given = Counted::new(0, ErrorKind::Lost);
    let config = Config { data_fingerprint: Some(0xabc), ..quick() };
    let (trained, job) = run(&given, config).await.unwrap();
    assert_eq!(job.data, 0xabc);
    assert_eq!(trained.record.info.data_fingerprint, "0000000000000abc");
    assert_eq!(given.fetches() + 3, computed.fetches());
}

#[tokio::test]
async fn transient_errors_of_the_data_are_retried_and_others_say_what_to_do() {
    let flaky = Counted::new(5, ErrorKind::Throttled);
    let (_, job) = run(&flaky, quick()).await.unwrap();
    assert_eq!(job.data, fingerprint(&*rows(400)).await.unwrap());
    let error = run(&Counted::new(1, ErrorKind::Rejected), quick()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected);
    for part in ["set data_fingerprint", "a fault of the test"] {
        assert!(error.chain().contains(part), "{part} is missing: {}", error.chain());
    }
}

async fn resume(folder: &Path, train: Arc<MemorySource>, given: Option<u64>) -> Result<RunRecord> {
    let checkpoint = Checkpoint::load(folder)?;
    let mut config = checkpoint.config().clone();
    config.stop.epochs += 1;
    config.out = Some(folder.into());
    config.data_fingerprint = given.or(config.data_fingerprint);
    let (parts, _, _) = parts(train, FixedScheduler::new(1, 1_769), []);
    Ok(Trainer::resume(parts, config, checkpoint)?.run().await?.record)
}

#[tokio::test]
async fn a_run_is_not_resumed_with_other_data() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        stop: StopRules { epochs: 1, ..StopRules::default() },
        out: Some(folder.path().into()),
        ..quick()
    };
    let (parts, _, _) = parts(rows(400), FixedScheduler::new(1, 1_769), []);
    Trainer::new(parts, config).unwrap().run().await.unwrap();
    let first = Checkpoint::load(folder.path()).unwrap().data_fingerprint().unwrap();
    assert_eq!(first, fingerprint(&*rows(400)).await.unwrap());

    let other = fingerprint(&*rows(401)).await.unwrap();
    for (train, given, names) in [(rows(401), None, other), (rows(400), Some(7), 7)] {
        let error = resume(folder.path(), train, given).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected);
        for part in [&format!("{first:016x}"), &format!("{names:016x}"), "or start again"] {
            assert!(error.message().contains(part), "{part} is missing: {error}");
        }
    }
    // With the same data it continues.
    let record = resume(folder.path(), rows(400), None).await.unwrap();
    assert_eq!(record.epochs.len(), 2);
    assert_eq!(record.info.data_fingerprint, format!("{first:016x}"));
}

#[tokio::test]
async fn a_given_fingerprint_stays_with_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        stop: StopRules { epochs: 1, ..StopRules::default() },
        out: Some(folder.path().into()),
        data_fingerprint: Some(42),
        ..quick()
    };
    let (parts, _, _) = parts(rows(400), FixedScheduler::new(1, 1_769), []);
    Trainer::new(parts, config).unwrap().run().await.unwrap();
    let record = resume(folder.path(), rows(400), None).await.unwrap();
    assert_eq!(record.info.data_fingerprint, format!("{:016x}", 42));
}

/// A backend that counts the driver's fetches as requests.
struct Paid {
    inner: LocalBackend,
    train: Arc<Counted>,
}

#[async_trait]
impl BackendDecorator for Paid {
    fn inner(&self) -> &dyn Backend {
        &self.inner
    }

    fn driver_usage(&self) -> DriverUsage {
        let requests = Requests { reads: self.train.fetches(), writes: 0 };
        DriverUsage { requests, ..DriverUsage::NONE }
    }

    fn max_driver_usage(&self, _: &EpochPlan, _: u64) -> DriverUsage {
        DriverUsage { requests: Requests { reads: 1, writes: 0 }, ..DriverUsage::NONE }
    }
}

#[tokio::test]
async fn what_the_driver_reads_before_the_first_launch_is_paid_from_the_budget() {
    // A dollar for each invocation and each read of the driver.
    let mut platform = Platform::local();
    platform.prices.invocation = Usd::new(1.0);
    platform.prices.storage_read = Usd::new(1.0);
    let budget = Usd::new(20.5);
    let (workload, train) = (Linear::new(), Counted::new(0, ErrorKind::Lost));
    let store = Arc::new(MemoryStore::initialised(&*workload, 0).unwrap());
    let worker = Arc::new(ShardWorker::new(workload.clone()));
    let inner = LocalBackend::new(worker, store.clone(), rows(400)).unwrap();
    let inner = inner.with_platform(platform);
    let parts = TrainerParts {
        workload,
        held_out: Some(rows(10)),
        train: train.clone(),
        store,
        backend: Arc::new(Paid { inner, train: train.clone() }),
        scheduler: Box::new(FixedScheduler::new(100, 1_769)),
    };
    let stop = StopRules { budget: Some(budget), epochs: 1, ..StopRules::default() };
    let config = Config { batch_size: 4, stop, ..quick() };
    let trained = Trainer::new(parts, config).unwrap().run().await.unwrap();
    // Three ranges and one batch are read, and an epoch may read one more before and after its end.
    assert_eq!(train.fetches(), 4);
    assert_eq!(trained.record.epochs[0].workers, 14);
    assert_eq!(trained.record.epochs[0].driver_cost_usd, 4.0);
    assert_eq!(trained.outcome.reason, StopReason::Epochs);
    assert!(trained.outcome.cost <= budget);
}
