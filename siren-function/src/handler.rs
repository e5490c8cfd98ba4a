//! The requests of a function, one after the other.

mod log;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use cpu_time::ProcessTime;
use futures::FutureExt;
use log::{RequestLog, log_line, request_name};
use parking_lot::Mutex;
use serde_json::Value;
use siren_core::objects::Objects;
use siren_core::{
    Clock, DataSource, Error, ErrorKind, Layout, ParameterStore, Requests, Result, Role, Time,
    Worker, WorkerReport, Workload,
};
use siren_hsp::{ObjectStore, ShardWorker};

use crate::context::{FunctionContext, NoData};
use crate::machine::{Machine, forget_peak, peak_memory_bytes};
use crate::payload::{
    self, Description, Reply, Request, RequestKind, Response, RunRequest, Timing, VERSION,
};
use crate::{WallClock, stored};

/// The longest wait of a request for the last step of an earlier one.
const STEP_GRACE: Duration = Duration::from_secs(1);

/// The time before the platform's deadline at which a worker is stopped, so that the answer still
/// gets out.
const ANSWER_MARGIN: Duration = Duration::from_millis(500);

/// The object storage of a provider, as a function uses it.
#[async_trait]
pub trait Storage: Send + Sync {
    /// The objects of a bucket. A handler asks for them with each request: connections to the same
    /// bucket should last from one call to the next.
    fn objects(&self, bucket: &str) -> Arc<dyn Objects>;

    /// Opens the training data under a key of a bucket.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`] when there is no such data, [`ErrorKind::Corrupt`] when it
    /// cannot be read, and transient errors of the storage.
    async fn open_data(&self, bucket: &str, key: &str) -> Result<OpenedData>;
}

/// Training data that a function has opened.
#[derive(Clone)]
pub struct OpenedData {
    /// The data.
    pub source: Arc<dyn DataSource>,
    /// The requests that opening it took. A handler adds them to the report of its worker.
    pub requests: Requests,
}

/// Answers the requests of a function, one at a time.
///
/// Between requests it keeps the training data open. It writes a line for each request to the
/// standard output, which platforms collect as the function's log.
pub struct Handler {
    worker: Arc<dyn Worker>,
    description: Description,
    storage: Box<dyn Storage>,
    max_payload_bytes: usize,
    machine: Machine,
    data: Mutex<Option<OpenData>>,
    /// The time that the process took to start, until an answer reports it.
    init: Mutex<Option<Duration>>,
}

#[derive(Clone)]
struct OpenData {
    bucket: String,
    key: String,
    source: Arc<dyn DataSource>,
}

impl Handler {
    /// A handler that trains `workload`. The origin of `clock` is the start of the process. Answers
    /// of more than `max_payload_bytes` go through the bucket.
    pub fn new(
        workload: Arc<dyn Workload>,
        storage: impl Storage + 'static,
        clock: WallClock,
        max_payload_bytes: u64,
    ) -> Self {
        let worker = Arc::new(ShardWorker::new(Arc::clone(&workload)));
        Self::with_worker(worker, workload.layout(), storage, clock, max_payload_bytes)
    }

    /// As [`new`](Self::new), with another worker than [`ShardWorker`]. `layout` is that of the
    /// parameters; runs of another one are rejected.
    pub fn with_worker(
        worker: Arc<dyn Worker>,
        layout: &Layout,
        storage: impl Storage + 'static,
        clock: WallClock,
        max_payload_bytes: u64,
    ) -> Self {
        Self {
            worker,
            description: Description {
                version: VERSION.into(),
                layout: layout.hash(),
                dim: layout.dim() as u64,
            },
            storage: Box::new(storage),
            max_payload_bytes: usize::try_from(max_payload_bytes).unwrap_or(usize::MAX),
            machine: Machine::new(clock),
            data: Mutex::default(),
            init: Mutex::default(),
        }
    }

    /// The clock of the handler.
    pub fn clock(&self) -> WallClock {
        self.machine.clock
    }

    /// Opens a connection to a bucket, so that the first request finds it open.
    pub async fn connect(&self, bucket: &str) {
        // The connection is open whatever the answer is, a refusal included.
        let _ = self.storage.objects(bucket).get("siren-connect", None).await;
    }

    /// Marks the end of the process's start: it waits for its first request from now on.
    pub fn started(&self) {
        *self.init.lock() = Some(self.machine.clock.now().since_origin());
    }

    /// Answers a request, a [`Request`] as JSON, with a [`Response`] as JSON. A failure of the
    /// request or its worker is an answer too.
    ///
    /// `id` is the platform's unique name of the request. The platform ends the invocation at
    /// `deadline`, by the handler's clock; the worker is stopped half a second before.
    ///
    /// Ends the process when a step of an earlier request is still running one second after this
    /// one arrived, because a step cannot be stopped: the platform then starts a new process.
    ///
    /// # Errors
    ///
    /// When the answer is too large for a payload, and cannot be stored in the bucket.
    pub async fn answer(&self, message: Value, id: &str, deadline: Time) -> Result<Value> {
        let clock = self.machine.clock;
        let arrived = clock.now();
        let mut log = RequestLog {
            arrived,
            name: "request".into(),
            large: None,
            start: Duration::ZERO,
            requests: Requests::NONE,
        };
        let reply = match self.reply(message, deadline, &mut log).await {
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
        self.to_payload(Response::new(reply, timing), &log, id).await
    }

    async fn reply(&self, message: Value, deadline: Time, log: &mut RequestLog) -> Result<Reply> {
        let mut request: Request = payload::parse(message, "the request")?;
        if let RequestKind::Stored { bucket, key } = request.kind {
            let bytes = stored::get(&*self.storage.objects(&bucket), &key).await?;
            request = payload::read(&bytes, "the stored request")?;
        }
        match request.kind {
            RequestKind::Describe { bucket, store_prefix } => {
                log.name = "describe".into();
                // A function that may not list or read there fails here, before anything is paid
                // for.
                let objects = self.storage.objects(&bucket);
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
                Err(Error::rejected("a stored request names another one: store the task itself"))
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
            // A platform freezes the process between requests, so that a late step needs a moment
            // more.
            self.machine.clock.sleep_until(self.machine.clock.now() + STEP_GRACE / 20).await;
        }
        if self.machine.is_busy() {
            println!("a step of an earlier invocation still runs: this environment is given up");
            std::process::exit(1);
        }
        let invocation = &run_request.invocation;
        forget_peak();
        let cpu = ProcessTime::now();
        self.check_layout(run_request)?;
        let objects = self.storage.objects(&run_request.bucket);
        let data: Arc<dyn DataSource> = match invocation.role {
            Role::Aggregator => Arc::new(NoData),
            Role::Shard => self.data(run_request, log).await?,
        };
        let clock = Arc::new(self.machine.clock);
        let dim = usize::try_from(self.description.dim).unwrap_or(usize::MAX);
        let store = ObjectStore::new(objects, clock, &run_request.store_prefix, dim)?
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
            result = worker => result.unwrap_or_else(|panic| Err(Error::panicked("the worker", &*panic))),
            () = self.machine.clock.sleep_until(context.deadline) => Err(Error::new(
                ErrorKind::DeadlineExceeded,
                format!("the invocation took longer than {:?}", context.deadline - log.arrived),
            )),
        }
    }

    /// Refuses the workers and aggregators of another workload.
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

    /// The training data, opened unless the last request had the same.
    async fn data(
        &self,
        run_request: &RunRequest,
        log: &mut RequestLog,
    ) -> Result<Arc<dyn DataSource>> {
        let kept = self.data.lock().clone();
        let open = match kept {
            Some(open) if open.bucket == run_request.bucket && open.key == run_request.data_key => {
                open
            }
            _ => {
                let RunRequest { bucket, data_key, .. } = run_request;
                let opened = self.storage.open_data(bucket, data_key).await?;
                log.requests = opened.requests;
                let open = OpenData {
                    bucket: bucket.clone(),
                    key: data_key.clone(),
                    source: opened.source,
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

    /// The answer as a payload, or one that names its place in the bucket.
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
            Some((bucket, store_prefix)) if bytes.len() > self.max_payload_bytes => {
                let key = stored::key(store_prefix, &format!("answer-{request}"));
                stored::put(&*self.storage.objects(bucket), &key, &bytes).await?;
                value(Response { reply: Reply::Stored { key }, ..response })
            }
            _ => value(response),
        }
    }
}

#[cfg(test)]
mod tests;
