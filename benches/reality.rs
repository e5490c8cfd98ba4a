//! The simulator against reality: predicted times of the local backend's epochs, against measured ones.
//!
//! `cargo bench --bench reality` prints a table, and writes it to
//! `target/siren/bench/reality.json`. Each round measures the step on as many threads as will be busy,
//! simulates an epoch on a machine with as many vCPUs, and runs it; the medians of the rounds' ratios
//! count, since machines are shared and noisy.

mod aggregation {
    pub(crate) mod results;
}

use std::sync::Arc;
use std::time::Duration;

use aggregation::results::{is_measuring, median, write};
use serde::Serialize;
use siren::data::MemorySource;
use siren::{
    Backend, Batch, Config, Fixed, Layout, Local, Machine, MemoryStore, Metrics, Parts, Result,
    Seed, ShardWorker, StepTime, Stop, Trainer, Usd, Workload,
};
use siren_backend_sim::{Measuring, SimBackend, measure};

/// Linear regression of dense features, in a plain loop.
struct Dense {
    layout: Layout,
    features: usize,
}

impl Dense {
    fn new(features: usize) -> Arc<Self> {
        Arc::new(Self { layout: Layout::flat("weights", features).unwrap(), features })
    }
}

impl Workload for Dense {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn init(&self, _: Seed) -> Result<Vec<f32>> {
        Ok(vec![0.0; self.features])
    }

    fn gradient(&self, w: &[f32], batch: &Batch<'_>, _: Seed, gradient: &mut [f32]) -> Result<f64> {
        gradient.fill(0.0);
        let mut loss = 0.0;
        let scale = 1.0 / batch.examples as f32;
        for row in batch.floats(self.features)?.chunks_exact(self.features) {
            let mut lanes = [0.0_f32; 16];
            for (x, w) in row.chunks_exact(16).zip(w.chunks_exact(16)) {
                for lane in 0..16 {
                    lanes[lane] += x[lane] * w[lane];
                }
            }
            let error = lanes.iter().sum::<f32>() - 1.0;
            loss += f64::from(error * error) / 2.0;
            for (g, x) in gradient.iter_mut().zip(row) {
                *g += scale * error * x;
            }
        }
        Ok(loss / batch.examples as f64)
    }

    fn evaluate(&self, _: &[f32], batch: &Batch<'_>, metrics: &mut Metrics) -> Result<()> {
        metrics.add_loss(batch.examples as u64, 0.0);
        Ok(())
    }
}

/// What is trained: about a millisecond for a batch.
#[derive(Clone, Copy)]
struct Job {
    what: &'static str,
    features: usize,
    batch_size: u64,
}

const JOBS: [Job; 2] = [
    Job { what: "small model", features: 64, batch_size: 8_192 },
    Job { what: "large model", features: 262_144, batch_size: 2 },
];

/// Workers, and threads that they share.
const PLACES: [(u32, u32); 3] = [(1, 1), (2, 2), (8, 2)];

impl Job {
    fn data(self) -> Arc<MemorySource> {
        let numbers =
            (0..self.features * self.batch_size as usize * 8).map(|i| (i % 97) as f32 / 97.0);
        let numbers: Vec<f32> = numbers.collect();
        Arc::new(MemorySource::from_floats(&numbers, self.features).unwrap())
    }

    /// An epoch visits the data many times over, so that data is small and epochs are not.
    fn config(self) -> Config {
        Config {
            batch_size: self.batch_size,
            rate: 1e-6.into(),
            stop: Stop { epochs: 2, ..Stop::default() },
            evaluate_threads: Some(1),
            ..Config::default()
        }
    }
}

/// The same examples again and again.
struct Repeated {
    data: Arc<MemorySource>,
    times: u64,
}

#[siren::async_trait]
impl siren::DataSource for Repeated {
    fn len(&self) -> u64 {
        self.data.len() * self.times
    }

    async fn fetch(&self, range: std::ops::Range<u64>) -> Result<Vec<u8>> {
        let start = range.start % self.data.len();
        self.data.fetch(start..start + (range.end - range.start)).await
    }
}

/// The last epoch's time, in seconds, of a job on a backend.
fn parts(
    workload: Arc<dyn Workload>,
    train: Arc<dyn siren::DataSource>,
    store: Arc<dyn siren::ParameterStore>,
    backend: Arc<dyn Backend>,
    workers: u32,
) -> Parts {
    let memory_mb = backend.platform().limits.memory_min_mb.max(1_769);
    let scheduler = Box::new(Fixed::new(workers, memory_mb));
    Parts { workload, train, held_out: None, store, backend, scheduler }
}

fn last(trained: Result<siren::Trained>) -> f64 {
    trained.unwrap().record.epochs.last().unwrap().elapsed_s
}

fn predicted(job: Job, data: &Arc<Repeated>, workers: u32, threads: u32, step: StepTime) -> f64 {
    let workload = Dense::new(job.features);
    let store = Arc::new(MemoryStore::initialised(&*workload, 1).unwrap());
    let worker = Arc::new(ShardWorker::new(workload.clone()));
    let machine = Machine {
        name: "this machine".into(),
        vcpus: threads,
        memory_mb: 1_769 * threads,
        per_hour: Usd::ZERO,
        minimum_s: 0.0,
    };
    let sim = SimBackend::machine(worker, store.clone(), data.clone(), machine, step);
    let sim = Arc::new(sim.unwrap());
    let parts = parts(workload, data.clone(), store, sim.clone(), workers);
    last(sim.run(Trainer::new(parts, job.config()).unwrap().run()).unwrap())
}

async fn measured(job: Job, data: &Arc<Repeated>, workers: u32, threads: u32) -> f64 {
    let workload = Dense::new(job.features);
    let store = Arc::new(MemoryStore::initialised(&*workload, 1).unwrap());
    let worker = Arc::new(ShardWorker::new(workload.clone()));
    let local = Local::with_threads(worker, store.clone(), data.clone(), threads as usize).unwrap();
    let parts = parts(workload, data.clone(), store, Arc::new(local), workers);
    last(Trainer::new(parts, job.config()).unwrap().run().await)
}

/// Medians over the rounds.
#[derive(Serialize)]
struct Row {
    what: &'static str,
    workers: u32,
    threads: u32,
    batches: u64,
    step_ms: f64,
    update_us: f64,
    handover_us: f64,
    predicted_s: f64,
    measured_s: f64,
    /// Predicted over measured.
    ratio: f64,
    ratios: Vec<f64>,
}

fn main() {
    let (rounds, batches, block) = match is_measuring() {
        true => (9, 320, Duration::from_millis(25)),
        // As a test it runs once, which measures nothing.
        false => (1, 16, Duration::from_micros(100)),
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut rows = Vec::new();
    for job in JOBS {
        let times = batches / 8;
        let data = Arc::new(Repeated { data: job.data(), times });
        for (workers, threads) in PLACES {
            let mut all: [Vec<f64>; 6] = Default::default();
            for _ in 0..rounds {
                let how = Measuring {
                    batch_size: job.batch_size,
                    threads: threads as usize,
                    repeats: 5,
                    block,
                };
                let step =
                    runtime.block_on(measure(Dense::new(job.features), &*data, &how)).unwrap();
                let measured = runtime.block_on(measured(job, &data, workers, threads));
                let predicted = predicted(job, &data, workers, threads, step);
                let batch =
                    step.seconds_per_batch + job.batch_size as f64 * step.seconds_per_example;
                let update = 2.0 * job.features as f64 * step.seconds_per_parameter;
                let ratio = predicted / measured;
                let handover = step.seconds_per_handover;
                let round = [batch, update, handover, predicted, measured, ratio];
                all.iter_mut().zip(round).for_each(|(all, one)| all.push(one));
            }
            let ratios = all[5].clone();
            let [step, update, handover, predicted_s, measured_s, ratio] = all.map(median);
            rows.push(Row {
                what: job.what,
                workers,
                threads,
                batches,
                step_ms: step * 1e3,
                update_us: update * 1e6,
                handover_us: handover * 1e6,
                predicted_s,
                measured_s,
                ratio,
                ratios,
            });
        }
    }
    if !is_measuring() {
        return;
    }
    println!(
        "{:<12} {:>8} {:>8} {:>8} {:>10} {:>12} {:>12} {:>10} {:>6}",
        "",
        "workers",
        "threads",
        "ms step",
        "us update",
        "us handover",
        "predicted s",
        "measured s",
        "ratio"
    );
    for row in &rows {
        println!(
            "{:<12} {:>8} {:>8} {:>8.3} {:>10.1} {:>12.1} {:>12.4} {:>10.4} {:>6.3}",
            row.what,
            row.workers,
            row.threads,
            row.step_ms,
            row.update_us,
            row.handover_us,
            row.predicted_s,
            row.measured_s,
            row.ratio,
        );
    }
    write(&rows, "reality.json");
}
