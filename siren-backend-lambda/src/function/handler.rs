//! One request after the other.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use cpu_time::ProcessTime;
use futures::FutureExt;
use lambda_runtime::LambdaEvent;
use parking_lot::Mutex;
use serde_json::Value;
use siren_core::objects::Objects;
use siren_core::{
    Clock, DataSource, Error, ErrorKind, ParameterStore, Requests, Result, Role, Time, Worker,
    WorkerReport, Workload,
};
use siren_data::PackedData;
use siren_hsp::{ObjectStore, ShardWorker};

use super::context::{FunctionContext, NoData};
use super::machine::{Machine, forget_peak, panicked, peak_memory_bytes};
use crate::S3Objects;
use crate::clock::WallClock;
use crate::payload::{
    self, Description, Reply, Request, RequestKind, Response, RunRequest, Timing,
};
use crate::stored;

/// How long a request waits for the last step of an earlier one.
const STEP_GRACE: Duration = Duration::from_secs(1);

/// How long before the platform ends an invocation its worker is stopped, so that the answer still
/// gets out.
const ANSWER_MARGIN: Duration = Duration::from_millis(500);

/// Answers requests, and keeps between them what the next one needs as well.
pub(super) struct Handler {
    worker: ShardWorker,
    description: Description,
    config: SdkConfig,
    machine: Machine,
    /// The bucket of the last request.
    bucket: Mutex<Option<S3Objects>>,
    data: Mutex<Option<OpenData>>,
    /// How long the process took to start, until that is told.
    init: Mutex<Option<Duration>>,
}

#[derive(Clone)]
struct OpenData {
    bucket: String,
    key: String,
    source: Arc<dyn DataSource>,
}

impl Handler {
    pub(super) fn new(workload: Arc<dyn Workload>, config: SdkConfig, clock: WallClock) -> Self {
        let layout = workload.layout();
        Self {
            description: Description {
                version: env!("CARGO_PKG_VERSION").into(),
                layout: layout.hash(),
                dim: layout.dim() as u64,
            },
            worker: ShardWorker::new(workload),
            config,
            machine: Machine::new(clock),
            bucket: Mutex::default(),
            data: Mutex::default(),
            init: Mutex::default(),
        }
    }

    /// Opens a connection to a bucket.
    pub(super) async fn connect(&self, bucket: &str) {
        // Whatever it answers, that it may not be asked included, the connection stands.
        let _ = self.objects(bucket).get("siren-connect", None).await;
    }

    /// Says that the process waits for its first request from now on.
    pub(super) fn started(&self) {
        *self.init.lock() = Some(self.machine.clock.now().since_origin());
    }

    /// Answers a request. What a worker fails with is an answer too.
    ///
    /// # Errors
    ///
    /// When the answer is too large for a payload, and cannot be left in the bucket.
    pub(super) async fn answer(&self, event: LambdaEvent<Value>) -> Result<Value> {
        let clock = self.machine.clock;
        let arrived = clock.now();
        let deadline = clock.at_unix_ms(event.context.deadline);
        let mut log = RequestLog {
            arrived,
            name: "request".into(),
            large: None,
            start: Duration::ZERO,
            requests: Requests::NONE,
        };
        let reply = match self.reply(event.payload, deadline, &mut log).await {
            Ok(reply) => reply,
            Err(error) => Reply::Failed((&error).into()),
        };
        let timing = Timing {
            init_s: self.init.lock().take().map(|init| init.as_secs_f64()),
            start_s: log.start.as_secs_f64(),
            handler_s: (clock.now() - arrived).as_secs_f64(),
            peak_memory_bytes: peak_memory_bytes(),
        };
        println!("{}", log_line(&log.name, &reply, &timing));
        self.to_payload(Response::new(reply, timing), &log, &event.context.request_id).await
    }

    async fn reply(&self, message: Value, deadline: Time, log: &mut RequestLog) -> Result<Reply> {
        let mut request: Request = payload::parse(message, "the request")?;
        if let RequestKind::Stored { bucket, key } = request.kind {
            let bytes = stored::get(&self.objects(&bucket), &key).await?;
            request = payload::read(&bytes, "the stored request")?;
        }
        match request.kind {
            RequestKind::Describe { bucket, store_prefix } => {
                log.name = "describe".into();
                // Before anything is paid for: it may list and read there, or says what is missing.
                let objects = self.objects(&bucket);
                objects.list(&format!("{store_prefix}/"), None).await?;
                objects.get_range(&format!("{store_prefix}/state"), 0..1).await?;
                Ok(Reply::Description(self.description.clone()))
            }
            RequestKind::Run(run_request) => {
                log.name = request_name(&run_request);
                log.large = Some((run_request.bucket.clone(), run_request.store_prefix.clone()));
                let mut report = self.run(&run_request, deadline, log).await?;
                report.requests += log.requests;
                Ok(Reply::Report(Box::new(report)))
            }
            RequestKind::Stored { .. } => {
                Err(Error::rejected("a stored request names another one: store what is asked"))
            }
        }
    }

    /// Runs the worker, until its time is nearly up.
    async fn run(
        &self,
        run_request: &RunRequest,
        deadline: Time,
        log: &mut RequestLog,
    ) -> Result<WorkerReport> {
        let give_up_at = self.machine.clock.now() + STEP_GRACE;
        while self.machine.is_busy() && self.machine.clock.now() < give_up_at {
            // An environment is frozen between requests, and a step that was late needs a moment more.
            self.machine.clock.sleep_until(self.machine.clock.now() + STEP_GRACE / 20).await;
        }
        if self.machine.is_busy() {
            // A step of an earlier invocation never ended, and cannot be ended by anything else.
            println!("a step of an earlier invocation still runs: this environment is given up");
            std::process::exit(1);
        }
        let invocation = &run_request.invocation;
        forget_peak();
        let cpu = ProcessTime::now();
        self.check_layout(run_request)?;
        let objects = self.objects(&run_request.bucket);
        let data: Arc<dyn DataSource> = match invocation.role {
            Role::Aggregator => Arc::new(NoData),
            Role::Shard => self.data(run_request, &objects, log).await?,
        };
        let clock = Arc::new(self.machine.clock);
        let dim = usize::try_from(self.description.dim).unwrap_or(usize::MAX);
        let store = ObjectStore::new(Arc::new(objects), clock, &run_request.store_prefix, dim)?
            .with_options(run_request.options.clone())
            .exclusive();
        let store: Arc<dyn ParameterStore> = Arc::new(store);
        let enforced = deadline.since_origin().saturating_sub(ANSWER_MARGIN);
        let context = FunctionContext {
            machine: self.machine.clone(),
            store,
            data,
            deadline: Time::new(enforced).min(log.arrived + invocation.timeout),
            cpu,
        };
        log.start = self.machine.clock.now() - log.arrived;
        let worker = AssertUnwindSafe(self.worker.run(invocation, &context)).catch_unwind();
        tokio::select! {
            biased;
            result = worker => result.unwrap_or_else(|panic| Err(panicked(&*panic))),
            () = self.machine.clock.sleep_until(context.deadline) => Err(Error::new(
                ErrorKind::DeadlineExceeded,
                format!("the invocation took longer than {:?}", context.deadline - log.arrived),
            )),
        }
    }

    /// Refuses a run of another workload, its aggregators too.
    fn check_layout(&self, run_request: &RunRequest) -> Result<()> {
        let Description { layout, dim, .. } = self.description;
        let asked = run_request.invocation.plan.layout;
        if asked == layout {
            return Ok(());
        }
        Err(Error::rejected(format!(
            "the function is built from a workload of {dim} parameters with layout {layout:016x}, the \
             run is of one with layout {asked:016x}: deploy the run's workload again"
        )))
    }

    /// The objects of a bucket, over connections that last from one request to the next.
    fn objects(&self, bucket: &str) -> S3Objects {
        let kept = &mut *self.bucket.lock();
        match kept {
            Some(objects) if objects.bucket() == bucket => objects.clone(),
            _ => kept.insert(S3Objects::new(&self.config, bucket, "")).clone(),
        }
    }

    /// The training data, opened again only when it is another's.
    async fn data(
        &self,
        run_request: &RunRequest,
        objects: &S3Objects,
        log: &mut RequestLog,
    ) -> Result<Arc<dyn DataSource>> {
        let kept = self.data.lock().clone();
        let open = match kept {
            Some(open) if open.bucket == run_request.bucket && open.key == run_request.data_key => {
                open
            }
            _ => {
                // By itself, so that what this takes is known: the worker counts from here.
                let objects = Arc::new(objects.below(""));
                let source =
                    PackedData::open_object(objects.clone(), &run_request.data_key).await?;
                log.requests = objects.traffic().requests;
                let source = Arc::new(source);
                let open = OpenData {
                    bucket: run_request.bucket.clone(),
                    key: run_request.data_key.clone(),
                    source,
                };
                *self.data.lock() = Some(open.clone());
                open
            }
        };
        let (has, asked) = (open.source.len(), run_request.invocation.plan.examples);
        if has != asked {
            return Err(Error::rejected(format!(
                "the data under {} has {has} examples, the run has {asked}: upload the run's data again",
                run_request.data_key
            )));
        }
        Ok(open.source)
    }

    /// The answer as a payload, or as one that says where it stands.
    async fn to_payload(
        &self,
        response: Response,
        log: &RequestLog,
        request: &str,
    ) -> Result<Value> {
        let bytes = payload::write(&response, "the answer")?;
        let value = |response| {
            serde_json::to_value(response).map_err(|error| {
                Error::new(ErrorKind::Corrupt, "the answer cannot be written").with_source(error)
            })
        };
        match &log.large {
            Some((bucket, store_prefix)) if bytes.len() > payload::MAX_BYTES => {
                let key = stored::key(store_prefix, &format!("answer-{request}"));
                stored::put(&self.objects(bucket), &key, &bytes).await?;
                value(Response { reply: Reply::Stored { key }, ..response })
            }
            _ => value(response),
        }
    }
}

/// What is known of a request beside its answer.
struct RequestLog {
    arrived: Time,
    /// What it is, for the log.
    name: String,
    /// Bucket and store, where a large answer may be left.
    large: Option<(String, String)>,
    /// From the request until the worker began.
    start: Duration,
    /// What was asked of the bucket before it did.
    requests: Requests,
}

fn request_name(run_request: &RunRequest) -> String {
    let invocation = &run_request.invocation;
    let role = match invocation.role {
        Role::Shard => "shard",
        Role::Aggregator => "aggregator",
    };
    let (epoch, attempt) = (invocation.plan.epoch, invocation.attempt);
    format!("epoch {epoch} {role} {} attempt {attempt}", invocation.shard)
}

/// A line for the log.
fn log_line(name: &str, reply: &Reply, timing: &Timing) -> String {
    let ended = match reply {
        Reply::Description(_) => "described".into(),
        Reply::Stored { .. } => "stored".into(),
        Reply::Failed(failure) => format!("{}: {}", failure.kind, failure.message),
        Reply::Report(report) => format!(
            "{} at {}, {} updates, compute {:.3} s, fetch {:.3} s, update {:.3} s, wait {:.3} s",
            if report.finished { "finished" } else { "stopped" },
            report.position,
            report.updates,
            report.compute.as_secs_f64(),
            report.fetch.as_secs_f64(),
            report.update.as_secs_f64(),
            report.wait.as_secs_f64(),
        ),
    };
    let init = timing.init_s.map_or_else(String::new, |init| format!(", init {init:.3} s"));
    let Timing { start_s, handler_s, peak_memory_bytes, .. } = timing;
    let mib = peak_memory_bytes >> 20;
    format!("{name}: {ended}{init}, start {start_s:.4} s, in all {handler_s:.3} s, {mib} MiB")
}
