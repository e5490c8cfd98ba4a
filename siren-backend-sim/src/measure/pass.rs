//! The timed steps of a worker.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use cpu_time::ThreadTime;
use futures::FutureExt;
use siren_core::{
    Batch, Compression, EpochPlan, Error, ErrorKind, Gradient, Noise, Optimizer, ParameterStore,
    Replica, Result, Seed, SparseGradient, SyncMode, Update, UpdateId, Workload,
};
use siren_hsp::{MemoryStore, kernel};

use super::Measuring;

/// Batches of one size.
pub(super) struct BatchSet {
    pub(super) examples: u64,
    pub(super) batches: Vec<Vec<u8>>,
}

/// One measurement.
pub(super) struct Block {
    /// The index of the set of batches.
    pub(super) batch_set: usize,
    /// The seconds of a step.
    pub(super) step_s: f64,
    /// The seconds of a pull and a push, for each entry that they touch.
    pub(super) parameter_s: f64,
}

/// The shared state of the threads.
pub(super) struct Pass<'a> {
    workload: &'a Arc<dyn Workload>,
    batch_sets: &'a [BatchSet],
    options: Measuring,
    store: MemoryStore,
}

/// An upper bound of the updates in a measurement.
const UPDATES: u64 = 1 << 32;

impl<'a> Pass<'a> {
    pub(super) fn new(
        workload: &'a Arc<dyn Workload>,
        batch_sets: &'a [BatchSet],
        options: Measuring,
    ) -> Result<Self> {
        let store = MemoryStore::initialised(&**workload, 0)?;
        let shards = options.threads * turns(options);
        let plan = EpochPlan {
            run: "measure".into(),
            epoch: 0,
            seed: Seed::new(0),
            layout: workload.layout().hash(),
            examples: UPDATES * shards as u64,
            batch_size: 1,
            shards: shards as u32,
            local_steps: 1,
            optimizer: Optimizer::Sgd,
            // The parameters keep their initial values, at which gradients are never unusually
            // fast.
            learning_rate: 0.0,
            weight_decay: 0.0,
            clip_norm: None,
            sync_mode: SyncMode::Hybrid,
            compression: Compression::None,
            noise: Noise::Off,
        };
        at_once(store.open(&plan))?;
        Ok(Self { workload, batch_sets, options, store })
    }

    /// Measures on one of the threads. All threads begin each block together.
    pub(super) fn measure(&self, thread: usize, barrier: &Barrier) -> Result<Vec<Block>> {
        let turns = turns(self.options);
        let shards = thread * turns..(thread + 1) * turns;
        let mut states: Vec<State> =
            shards.map(|shard| State::new(shard, self.workload.dim())).collect();
        let mut blocks = Ok(Vec::new());
        // The first round warms caches and does not count.
        for round in 0..=self.options.repeats {
            for (batch_set, batches) in self.batch_sets.iter().enumerate() {
                barrier.wait();
                let block = catch_unwind(AssertUnwindSafe(|| {
                    self.measure_block(&mut states, batch_set, batches)
                }));
                let block =
                    block.unwrap_or_else(|payload| Err(Error::panicked("the workload", &*payload)));
                // A failed thread must also wait at the barrier, or the others would hang.
                match (&mut blocks, block) {
                    (Ok(blocks), Ok(block)) if round > 0 => blocks.push(block),
                    (Ok(_), Err(error)) => blocks = Err(error),
                    _ => {}
                }
            }
        }
        blocks
    }

    fn measure_block(
        &self,
        states: &mut [State],
        batch_set: usize,
        batches: &BatchSet,
    ) -> Result<Block> {
        let stopwatch = Stopwatch::new(self.options.cpu_time);
        let began = stopwatch.read();
        let (mut steps, mut in_steps, mut in_store) = (0_u32, Duration::ZERO, Duration::ZERO);
        let mut entries = 0;
        while steps == 0 || stopwatch.read() < began + self.options.block {
            let turn = steps as usize % states.len();
            let state = &mut states[turn];
            let bytes = &batches.batches[steps as usize % batches.batches.len()];
            let batch = Batch::new(batches.examples as usize, bytes);
            let pulling = stopwatch.read();
            entries += at_once(self.store.pull(0, &mut state.replica, 0))?.copied;
            let stepping = stopwatch.read();
            let (loss, norm, sparse) = state.step(&**self.workload, &batch)?;
            let pushing = stopwatch.read();
            entries += self.push(state, loss, norm, sparse)?;
            in_steps += stopwatch.between(stepping, pushing);
            in_store +=
                stopwatch.between(pulling, stepping) + stopwatch.between(pushing, stopwatch.read());
            steps += 1;
        }
        let step_s = in_steps.as_secs_f64() / f64::from(steps);
        Ok(Block { batch_set, step_s, parameter_s: in_store.as_secs_f64() / entries.max(1) as f64 })
    }

    fn push(&self, state: &mut State, loss: f64, squared_norm: f64, sparse: bool) -> Result<usize> {
        let gradient = match sparse {
            true => Gradient::Sparse(state.sparse.as_slice(state.gradient.len())?),
            false => Gradient::Dense(&state.gradient),
        };
        let id = UpdateId { epoch: 0, shard: state.shard, position: state.position };
        let (batches, examples, version) = (1, 1, 0);
        let update = Update { id, batches, examples, loss, version, squared_norm, gradient };
        at_once(self.store.push(&update))?;
        state.position += 1;
        Ok(update.gradient.stored())
    }
}

/// The number of workers that take turns on a thread.
fn turns(options: Measuring) -> usize {
    options.workers.div_ceil(options.threads).max(1)
}

/// Measures real time or the thread's CPU time since its creation.
pub(super) struct Stopwatch {
    real: Instant,
    cpu: Option<ThreadTime>,
    /// The time of a reading.
    reading: Duration,
}

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "this measures the machine, for a file")]
    pub(super) fn new(cpu_time: bool) -> Self {
        let cpu = cpu_time.then(ThreadTime::now);
        let mut stopwatch = Self { real: Instant::now(), cpu, reading: Duration::ZERO };
        const READS: u32 = 64;
        let began = stopwatch.read();
        for _ in 0..READS {
            std::hint::black_box(stopwatch.read());
        }
        stopwatch.reading = (stopwatch.read() - began) / (READS + 1);
        stopwatch
    }

    pub(super) fn read(&self) -> Duration {
        self.cpu.as_ref().map_or_else(|| self.real.elapsed(), ThreadTime::elapsed)
    }

    /// The time between two readings, without the time of one reading.
    fn between(&self, from: Duration, to: Duration) -> Duration {
        (to - from).saturating_sub(self.reading)
    }
}

/// The state of a worker.
struct State {
    shard: u32,
    position: u64,
    replica: Replica,
    gradient: Vec<f32>,
    sparse: SparseGradient,
}

impl State {
    fn new(shard: usize, dim: usize) -> Self {
        Self {
            shard: shard as u32,
            position: 0,
            replica: Replica::new(),
            gradient: vec![0.0; dim],
            sparse: SparseGradient::new(),
        }
    }

    /// A gradient and its squared norm, and whether it is sparse.
    fn step(&mut self, workload: &dyn Workload, batch: &Batch<'_>) -> Result<(f64, f64, bool)> {
        let (params, seed) = (&self.replica.values, Seed::new(0));
        self.sparse.clear();
        if let Some(loss) = workload.sparse_gradient(params, batch, seed, &mut self.sparse)? {
            self.sparse.merge();
            let entries = self.sparse.as_slice(params.len())?.entries();
            return Ok((loss, kernel::squared_norm_of(entries), true));
        }
        let loss = workload.gradient(params, batch, seed, &mut self.gradient)?;
        Ok((loss, kernel::squared_norm(&self.gradient), false))
    }
}

/// The result of a call to a store in memory, which does not wait.
fn at_once<T>(answer: impl Future<Output = Result<T>>) -> Result<T> {
    let waits = || Error::new(ErrorKind::Other, "a store in memory waits where it should not");
    answer.now_or_never().ok_or_else(waits)?
}
