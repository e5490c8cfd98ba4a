//! The simulator against reality: predicted times of the local backend's epochs, against measured
//! ones.
//!
//! `cargo bench --bench reality` prints a table, and writes it to
//! `target/siren/bench/reality.json`. Each round measures the step with the job's workers and
//! threads, runs the job and measures the step again. It then simulates the job on a machine with
//! one vCPU per thread, with the mean of both steps. The simulated time is compared with the
//! measured time. Since machines are shared and noisy, it is also compared with the CPU time of the
//! whole process divided by the threads: the time that the job would take on an idle machine.

mod aggregation {
    pub(crate) mod results;
}

use std::sync::Arc;
use std::time::Duration;

use aggregation::results::{is_measuring, median, write};
use cpu_time::ProcessTime;
use serde::Serialize;
use siren::backend::{Backend, LocalBackend, ShardWorker};
use siren::data::Batch;
use siren::data::MemorySource;
use siren::metrics::Metrics;
use siren::platform::{Machine, StepTime};
use siren::store::MemoryStore;
use siren::{
    Config, FixedScheduler, Layout, Result, Seed, StopRules, Trainer, TrainerParts, Usd, Workload,
};
use siren_backend_sim::{Measuring, SimBackend, measure};

/// Linear regression with as many outputs as features. All targets are 1. The weights are a matrix,
/// multiplied in a plain loop.
struct Dense {
    layout: Layout,
    features: usize,
}

impl Dense {
    fn new(features: usize) -> Arc<Self> {
        Arc::new(Self { layout: Layout::flat("weights", features * features).unwrap(), features })
    }
}

impl Workload for Dense {
    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn init(&self, _: Seed) -> Result<Vec<f32>> {
        Ok(vec![0.0; self.layout.dim()])
    }

    fn gradient(&self, w: &[f32], batch: &Batch<'_>, _: Seed, gradient: &mut [f32]) -> Result<f64> {
        gradient.fill(0.0);
        let mut loss = 0.0;
        let scale = 1.0 / batch.examples as f32;
        for x in batch.floats(self.features)?.chunks_exact(self.features) {
            let rows = gradient.chunks_exact_mut(self.features);
            for (g, w) in rows.zip(w.chunks_exact(self.features)) {
                let mut lanes = [0.0_f32; 16];
                for (x, w) in x.as_chunks::<16>().0.iter().zip(w.as_chunks::<16>().0) {
                    for lane in 0..16 {
                        lanes[lane] += x[lane] * w[lane];
                    }
                }
                let error = lanes.iter().sum::<f32>() - 1.0;
                loss += f64::from(error * error) / 2.0;
                for (g, x) in g.iter_mut().zip(x) {
                    *g += scale * error * x;
                }
            }
        }
        Ok(loss / batch.examples as f64)
    }

    fn evaluate(&self, _: &[f32], batch: &Batch<'_>, metrics: &mut Metrics) -> Result<()> {
        metrics.add_loss(batch.examples as u64, 0.0);
        Ok(())
    }
}

/// A training job whose batches take about a millisecond each.
#[derive(Clone, Copy)]
struct Job {
    what: &'static str,
    features: usize,
    batch_size: u64,
}

const JOBS: [Job; 2] = [
    Job { what: "small model", features: 64, batch_size: 512 },
    Job { what: "large model", features: 512, batch_size: 8 },
];

/// Numbers of workers, and of threads that they share.
const PLACES: [(u32, u32); 3] = [(1, 1), (2, 2), (8, 2)];

impl Job {
    fn data(self) -> Arc<MemorySource> {
        let numbers =
            (0..self.features * self.batch_size as usize * 8).map(|i| (i % 97) as f32 / 97.0);
        let numbers: Vec<f32> = numbers.collect();
        Arc::new(MemorySource::from_floats(&numbers, self.features).unwrap())
    }

    /// An epoch repeats the data many times: the data stays small, and the epoch is long.
    fn config(self) -> Config {
        Config {
            batch_size: self.batch_size,
            learning_rate: 1e-6.into(),
            stop: StopRules { epochs: 2, ..StopRules::default() },
            evaluate_threads: Some(1),
            // The data cannot be read across the end of a repetition.
            data_fingerprint: Some(0),
            ..Config::default()
        }
    }
}

/// The same examples, repeated.
struct Repeated {
    data: Arc<MemorySource>,
    times: u64,
}

#[siren::async_trait]
impl siren::data::DataSource for Repeated {
    fn len(&self) -> u64 {
        self.data.len() * self.times
    }

    async fn fetch(&self, range: std::ops::Range<u64>) -> Result<Vec<u8>> {
        let start = range.start % self.data.len();
        self.data.fetch(start..start + (range.end - range.start)).await
    }
}

/// A job on a backend.
fn parts(
    workload: Arc<dyn Workload>,
    train: Arc<dyn siren::data::DataSource>,
    store: Arc<dyn siren::store::ParameterStore>,
    backend: Arc<dyn Backend>,
    workers: u32,
) -> TrainerParts {
    let memory_mb = backend.platform().limits.memory_min_mb.max(1_769);
    let scheduler = Box::new(FixedScheduler::new(workers, memory_mb));
    TrainerParts { workload, train, held_out: None, store, backend, scheduler }
}

/// The time of all epochs, in seconds.
fn epochs(trained: Result<siren::TrainingResult>) -> f64 {
    trained.unwrap().record.epochs.iter().map(|epoch| epoch.elapsed_s).sum()
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
    epochs(sim.run(Trainer::new(parts, job.config()).unwrap().run()).unwrap())
}

/// The time of a job's epochs, and the CPU time of the process for each thread.
async fn measured(job: Job, data: &Arc<Repeated>, workers: u32, threads: u32) -> (f64, f64) {
    let workload = Dense::new(job.features);
    let store = Arc::new(MemoryStore::initialised(&*workload, 1).unwrap());
    let worker = Arc::new(ShardWorker::new(workload.clone()));
    let local =
        LocalBackend::with_threads(worker, store.clone(), data.clone(), threads as usize).unwrap();
    let parts = parts(workload, data.clone(), store, Arc::new(local), workers);
    let trainer = Trainer::new(parts, job.config()).unwrap();
    let cpu = ProcessTime::now();
    let elapsed = epochs(trainer.run().await);
    (elapsed, cpu.elapsed().as_secs_f64() / f64::from(threads))
}

/// The mean of two steps.
fn between(a: StepTime, b: StepTime) -> StepTime {
    let mean = |of: fn(&StepTime) -> f64| (of(&a) + of(&b)) / 2.0;
    StepTime {
        seconds_per_example: mean(|step| step.seconds_per_example),
        seconds_per_batch: mean(|step| step.seconds_per_batch),
        seconds_per_parameter: mean(|step| step.seconds_per_parameter),
        seconds_per_handover: mean(|step| step.seconds_per_handover),
        ..a
    }
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
    measured_cpu_s: f64,
    /// Predicted over measured.
    ratio: f64,
    /// Predicted over measured CPU time.
    cpu_ratio: f64,
    cpu_ratios: Vec<f64>,
}

fn main() {
    let (rounds, batches, block) = match is_measuring() {
        true => (9, 160, Duration::from_millis(6)),
        // As a test it runs once, for correctness only.
        false => (1, 16, Duration::from_micros(100)),
    };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut rows = Vec::new();
    for job in JOBS {
        let times = batches / 8;
        let data = Arc::new(Repeated { data: job.data(), times });
        for (workers, threads) in PLACES {
            let mut all: [Vec<f64>; 8] = Default::default();
            let how = Measuring {
                batch_size: job.batch_size,
                threads: threads as usize,
                workers: workers as usize,
                repeats: 5,
                block,
                ..Measuring::default()
            };
            let step =
                || runtime.block_on(measure(Dense::new(job.features), &*data, &how)).unwrap();
            for _ in 0..rounds {
                let before = step();
                let (measured, cpu) = runtime.block_on(measured(job, &data, workers, threads));
                let step = between(before, step());
                let predicted = predicted(job, &data, workers, threads, step);
                let batch =
                    step.seconds_per_batch + job.batch_size as f64 * step.seconds_per_example;
                let update = 2.0 * job.features.pow(2) as f64 * step.seconds_per_parameter;
                let (ratio, cpu_ratio) = (predicted / measured, predicted / cpu);
                let handover = step.seconds_per_handover;
                let round = [batch, update, handover, predicted, measured, cpu, ratio, cpu_ratio];
                all.iter_mut().zip(round).for_each(|(all, one)| all.push(one));
            }
            let cpu_ratios = all[7].clone();
            let [step, update, handover, predicted_s, measured_s, measured_cpu_s, ratio, cpu_ratio] =
                all.map(median);
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
                measured_cpu_s,
                ratio,
                cpu_ratio,
                cpu_ratios,
            });
        }
    }
    if !is_measuring() {
        return;
    }
    println!(
        "{:<12} {:>8} {:>8} {:>8} {:>10} {:>12} {:>12} {:>10} {:>9} {:>6} {:>6}",
        "",
        "workers",
        "threads",
        "ms step",
        "us update",
        "us handover",
        "predicted s",
        "measured s",
        "cpu s",
        "ratio",
        "cpu"
    );
    for row in &rows {
        println!(
            "{:<12} {:>8} {:>8} {:>8.3} {:>10.1} {:>12.1} {:>12.4} {:>10.4} {:>9.4} {:>6.3} {:>6.3}",
            row.what,
            row.workers,
            row.threads,
            row.step_ms,
            row.update_us,
            row.handover_us,
            row.predicted_s,
            row.measured_s,
            row.measured_cpu_s,
            row.ratio,
            row.cpu_ratio,
        );
    }
    write(&rows, "reality.json");
}
