use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use siren_core::{
    Compression, Context, EpochPlan, Invocation, Noise, Optimizer, Seed, SyncMode, WorkerReport,
};
use siren_data::MemorySource;
use siren_hsp::MemoryObjects;
use siren_hsp::ObjectOptions;

use super::*;

const EXAMPLES: u64 = 10;
const DIM: usize = 3;
const MAX_PAYLOAD: u64 = 4_096;

/// Buckets in memory; the training data under each key are [`EXAMPLES`] bytes.
#[derive(Clone, Default)]
struct Buckets {
    objects: Arc<Mutex<HashMap<String, Arc<MemoryObjects>>>>,
    opened: Arc<AtomicU64>,
}

impl Buckets {
    fn bucket(&self, name: &str) -> Arc<MemoryObjects> {
        self.objects.lock().entry(name.into()).or_default().clone()
    }
}

#[async_trait]
impl Storage for Buckets {
    fn objects(&self, bucket: &str) -> Arc<dyn Objects> {
        self.bucket(bucket)
    }

    async fn open_data(&self, _: &str, _: &str) -> Result<OpenedData> {
        self.opened.fetch_add(1, Ordering::Relaxed);
        let source = MemorySource::new(vec![0; EXAMPLES as usize], 1)?;
        Ok(OpenedData { source: Arc::new(source), requests: Requests { reads: 2, writes: 0 } })
    }
}

/// Does what the name of its run says, and counts one request.
struct Named;

#[async_trait]
impl Worker for Named {
    async fn run(&self, invocation: &Invocation, context: &dyn Context) -> Result<WorkerReport> {
        match invocation.plan.run.as_str() {
            "sleeps" => std::future::pending().await,
            "panics" => panic!("no good"),
            "fails" => Err(Error::new(ErrorKind::Fenced, "no! ".repeat(MAX_PAYLOAD as usize))),
            _ => Ok(WorkerReport {
                position: context.data().len(),
                finished: true,
                requests: Requests { reads: 1, writes: 0 },
                ..WorkerReport::default()
            }),
        }
    }
}

fn layout() -> Layout {
    Layout::flat("weights", DIM).unwrap()
}

fn handler(buckets: &Buckets) -> Handler {
    let clock = WallClock::new();
    Handler::with_worker(Arc::new(Named), &layout(), buckets.clone(), clock, MAX_PAYLOAD)
}

fn run_request(run: &str) -> RunRequest {
    RunRequest {
        bucket: "bucket".into(),
        store_prefix: "runs/first".into(),
        options: ObjectOptions::default(),
        data_key: "data/digits".into(),
        invocation: Invocation {
            plan: EpochPlan {
                run: run.into(),
                epoch: 0,
                seed: Seed::new(1),
                layout: layout().hash(),
                examples: EXAMPLES,
                batch_size: 1,
                shards: 1,
                local_steps: 1,
                optimizer: Optimizer::Sgd,
                learning_rate: 0.1,
                weight_decay: 0.0,
                clip_norm: None,
                sync_mode: SyncMode::Hybrid,
                compression: Compression::None,
                noise: Noise::Off,
            },
            role: Role::Shard,
            shard: 0,
            position: 0,
            attempt: 0,
            memory_mb: 128,
            timeout: Duration::from_secs(60),
            cycle: None,
            request_cap: Requests::NONE,
        },
    }
}

async fn answer(handler: &Handler, kind: RequestKind, time: Duration) -> Response {
    let request = serde_json::to_value(Request::new(kind)).unwrap();
    let deadline = handler.machine.clock.now() + time;
    let answer = handler.answer(request, "id", deadline).await.unwrap();
    payload::parse(answer, "the answer").unwrap()
}

/// The reply to a run, on a platform that gives a minute.
async fn run(handler: &Handler, request: RunRequest) -> Reply {
    answer(handler, RequestKind::Run(Box::new(request)), Duration::from_secs(60)).await.reply
}

#[track_caller]
fn report(reply: Reply) -> WorkerReport {
    let Reply::Report(report) = reply else { panic!("no report but {reply:?}") };
    *report
}

#[track_caller]
fn failure(reply: Reply) -> Error {
    let Reply::Failed(failure) = reply else { panic!("no failure but {reply:?}") };
    failure.into()
}

#[tokio::test]
async fn it_describes_itself_and_reports_its_start_once() {
    let handler = handler(&Buckets::default());
    handler.started();
    let describe = || RequestKind::Describe { bucket: "b".into(), store_prefix: "p".into() };
    let first = answer(&handler, describe(), Duration::from_secs(1)).await;
    let Reply::Description(found) = first.reply else { panic!("{:?}", first.reply) };
    let (layout, dim) = (layout().hash(), DIM as u64);
    assert_eq!(found, Description { version: VERSION.into(), layout, dim });
    assert!(first.timing.init_s.is_some());
    let second = answer(&handler, describe(), Duration::from_secs(1)).await;
    assert_eq!(second.timing.init_s, None);
}

#[tokio::test]
async fn data_is_opened_once_and_paid_for_by_its_first_worker() {
    let buckets = Buckets::default();
    let handler = handler(&buckets);
    for requests in [3, 1] {
        let report = report(run(&handler, run_request("runs")).await);
        assert_eq!((report.position, report.requests.reads), (EXAMPLES, requests));
    }
    let other = RunRequest { data_key: "data/others".into(), ..run_request("runs") };
    assert_eq!(report(run(&handler, other).await).requests.reads, 3);
    let mut aggregator = RunRequest { data_key: "data/none".into(), ..run_request("runs") };
    aggregator.invocation.role = Role::Aggregator;
    assert_eq!(report(run(&handler, aggregator).await).position, 0);
    assert_eq!(buckets.opened.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn another_workload_and_other_data_are_refused_with_a_remedy() {
    let handler = handler(&Buckets::default());
    for role in [Role::Shard, Role::Aggregator] {
        let mut request = run_request("runs");
        request.invocation.plan.layout ^= 1;
        request.invocation.role = role;
        let error = failure(run(&handler, request).await);
        assert_eq!(error.kind(), ErrorKind::Rejected);
        assert!(error.message().contains("deploy the run's workload again"), "{error}");
    }
    let mut request = run_request("runs");
    request.invocation.plan.examples += 1;
    let error = failure(run(&handler, request).await);
    assert!(error.message().contains("upload the run's data again"), "{error}");
}

#[tokio::test]
async fn a_worker_stops_at_its_timeout_or_before_the_platform_ends_it() {
    let handler = handler(&Buckets::default());
    let mut request = run_request("sleeps");
    request.invocation.timeout = Duration::from_millis(20);
    let error = failure(run(&handler, request).await);
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");

    let began = handler.machine.clock.now();
    let time = ANSWER_MARGIN + Duration::from_millis(20);
    let kind = RequestKind::Run(Box::new(run_request("sleeps")));
    let error = failure(answer(&handler, kind, time).await.reply);
    let took = handler.machine.clock.now() - began;
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded, "{error}");
    assert!(took < time, "the answer took {took:?} of {time:?}");
}

#[tokio::test]
async fn a_panic_is_the_workers_failure_and_the_next_request_runs() {
    let handler = handler(&Buckets::default());
    let error = failure(run(&handler, run_request("panics")).await);
    assert_eq!(error.kind(), ErrorKind::Worker);
    assert_eq!(error.message(), "the worker panicked: no good");
    assert!(report(run(&handler, run_request("runs")).await).finished);
}

#[tokio::test]
async fn a_large_answer_and_a_large_request_go_through_the_bucket() {
    let buckets = Buckets::default();
    let handler = handler(&buckets);
    let objects = buckets.bucket("bucket");
    let reply = run(&handler, run_request("fails")).await;
    let Reply::Stored { key } = reply else { panic!("{reply:?}") };
    let bytes = stored::get(&*objects, &key).await.unwrap();
    let stored: Response = payload::read(&bytes, "the stored answer").unwrap();
    let error = failure(stored.reply);
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert!(error.message().len() as u64 > MAX_PAYLOAD);

    let request = Request::new(RequestKind::Run(Box::new(run_request("runs"))));
    let key = stored::key("runs/first", "request-1");
    stored::put(&*objects, &key, &payload::write(&request, "it").unwrap()).await.unwrap();
    let stored = || RequestKind::Stored { bucket: "bucket".into(), key: key.clone() };
    let reply = answer(&handler, stored(), Duration::from_secs(60)).await.reply;
    assert!(report(reply).finished);

    objects.delete(std::slice::from_ref(&key)).await.unwrap();
    let reply = answer(&handler, stored(), Duration::from_secs(60)).await.reply;
    assert_eq!(failure(reply).kind(), ErrorKind::Lost);
}
