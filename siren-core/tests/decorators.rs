//! Decorators of backends and schedulers pass on every method that they do not override.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use siren_core::{
    Allocation, Backend, BackendDecorator, Clock, Completion, Compression, ComputeTask,
    DriverUsage, EpochPlan, Error, ErrorKind, Evaluation, Invocation, Job, Noise, Observation,
    Optimizer, Outcome, Platform, Requests, Result, Role, Scheduler, SchedulerDecorator, Seed,
    StopReason, SyncMode, Time, Usd, Work,
};

/// A backend with unusual answers, which records its calls.
struct Telling {
    platform: Platform,
    prepared: Mutex<Vec<(u32, Duration)>>,
    invoked: Mutex<Vec<Invocation>>,
}

#[async_trait]
impl Clock for Telling {
    fn now(&self) -> Time {
        Time::new(Duration::from_secs(17))
    }

    async fn sleep_until(&self, _: Time) {}
}

#[async_trait]
impl Backend for Telling {
    fn clock(&self) -> &dyn Clock {
        self
    }

    fn platform(&self) -> &Platform {
        &self.platform
    }

    fn parallelism(&self, workers: u32) -> u32 {
        workers / 3
    }

    fn expected_exchange_time(&self) -> Duration {
        Duration::from_millis(23)
    }

    fn driver_usage(&self) -> DriverUsage {
        DriverUsage { egress_bytes: 29, ..DriverUsage::NONE }
    }

    fn max_driver_usage(&self, plan: &EpochPlan, parameters: u64) -> DriverUsage {
        DriverUsage { egress_bytes: parameters * u64::from(plan.shards), ..DriverUsage::NONE }
    }

    async fn prepare(&self, memory_mb: u32, timeout: Duration) {
        self.prepared.lock().unwrap().push((memory_mb, timeout));
    }

    async fn compute(&self, _: Work, task: ComputeTask) -> Result<Duration> {
        task();
        Ok(Duration::from_secs(31))
    }

    async fn invoke(&self, invocation: Invocation) -> Completion {
        self.invoked.lock().unwrap().push(invocation);
        let result = Err(Error::new(ErrorKind::Throttled, "the first one is refused"));
        Completion { billed: Some(Duration::from_secs(37)), result }
    }
}

/// A backend that overrides nothing.
struct Around(Arc<dyn Backend>);

impl BackendDecorator for Around {
    fn inner(&self) -> &dyn Backend {
        &*self.0
    }
}

fn plan() -> EpochPlan {
    EpochPlan {
        run: "decorated".into(),
        epoch: 2,
        seed: Seed::new(7),
        layout: 0,
        examples: 100,
        batch_size: 2,
        shards: 5,
        local_steps: 1,
        optimizer: Optimizer::Sgd,
        learning_rate: 1.0,
        weight_decay: 0.0,
        clip_norm: None,
        sync_mode: SyncMode::Hybrid,
        compression: Compression::None,
        noise: Noise::Off,
    }
}

#[test]
fn a_backend_decorator_passes_on_what_it_does_not_override() {
    let telling = Arc::new(Telling {
        platform: Platform { name: "telling".into(), ..Platform::local() },
        prepared: Mutex::default(),
        invoked: Mutex::default(),
    });
    let around: Arc<dyn Backend> = Arc::new(Around(telling.clone()));
    assert_eq!(around.clock().now(), Clock::now(&*telling));
    assert_eq!(around.platform().name, "telling");
    assert_eq!(around.parallelism(9), 3);
    assert_eq!(around.expected_exchange_time(), Duration::from_millis(23));
    assert_eq!(around.driver_usage().egress_bytes, 29);
    assert_eq!(around.max_driver_usage(&plan(), 11).egress_bytes, 55);
    let invocation = Invocation {
        plan: plan(),
        role: Role::Shard,
        shard: 3,
        position: 1,
        attempt: 0,
        memory_mb: 512,
        timeout: Duration::from_secs(60),
        cycle: None,
        request_cap: Requests { writes: 1, reads: 2 },
    };
    futures::executor::block_on(async {
        around.prepare(512, Duration::from_secs(60)).await;
        let (sender, ran) = std::sync::mpsc::channel();
        let task = Box::new(move || sender.send(true).unwrap());
        let work = Work::Parameters { count: 1 };
        assert_eq!(around.compute(work, task).await.unwrap(), Duration::from_secs(31));
        assert!(ran.recv().unwrap());
        let completion = around.invoke(invocation.clone()).await;
        assert_eq!(completion.billed, Some(Duration::from_secs(37)));
        assert_eq!(completion.result.unwrap_err().kind(), ErrorKind::Throttled);
    });
    assert_eq!(*telling.prepared.lock().unwrap(), [(512, Duration::from_secs(60))]);
    assert_eq!(*telling.invoked.lock().unwrap(), [invocation]);
}

/// A scheduler that records the outcomes of its runs.
struct Counting(Arc<Mutex<Vec<Outcome>>>);

impl Scheduler for Counting {
    fn allocate(&mut self, _: &Job, observation: &Observation) -> Result<Allocation> {
        Ok(Allocation::new(1 + observation.epoch as u32, 512))
    }

    fn predict_allocation(&self, _: &Job, epoch: u64) -> Option<Allocation> {
        Some(Allocation::new(1 + epoch as u32, 512))
    }

    fn finish(&mut self, outcome: &Outcome) {
        self.0.lock().unwrap().push(outcome.clone());
    }
}

/// A scheduler that overrides nothing.
struct Following(Box<dyn Scheduler>);

impl SchedulerDecorator for Following {
    fn inner(&self) -> &dyn Scheduler {
        &*self.0
    }

    fn inner_mut(&mut self) -> &mut dyn Scheduler {
        &mut *self.0
    }
}

/// Runs a scheduler for an epoch. Returns its allocation and its prediction.
fn run(mut scheduler: impl Scheduler, outcome: &Outcome) -> (Allocation, Option<Allocation>) {
    let job = Job::new(10, 100, Platform::local());
    let observation = Observation { epoch: 4, ..Observation::first(1.0) };
    let allocation = scheduler.allocate(&job, &observation).unwrap();
    let predicted = scheduler.predict_allocation(&job, 6);
    scheduler.finish(outcome);
    (allocation, predicted)
}

#[test]
fn a_scheduler_in_a_decorator_or_a_box_is_the_same_scheduler() {
    let outcome = Outcome {
        reason: StopReason::Epochs,
        epochs: 5,
        evaluation: Evaluation::new(0.5).with("accuracy", 0.75),
        elapsed: Duration::from_secs(1),
        cost: Usd::new(0.25),
        detail: None,
    };
    let outcomes = Arc::new(Mutex::new(Vec::new()));
    let boxed = || -> Box<dyn Scheduler> { Box::new(Counting(Arc::clone(&outcomes))) };
    let allocation = |workers| Allocation::new(workers, 512);
    let expected = (allocation(5), Some(allocation(7)));
    assert_eq!(run(boxed(), &outcome), expected);
    assert_eq!(run(Following(boxed()), &outcome), expected);
    assert_eq!(*outcomes.lock().unwrap(), [outcome.clone(), outcome]);
}
