//! Workers of an open epoch that push and pull but learn nothing.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::executor::block_on;
use siren::backend::Clock;
use siren::store::{
    EpochPlan, Gradient, MemoryStore, ParameterStore, PushOutcome, Replica, Update, UpdateId,
};
use siren::{Compression, Noise, Optimizer, Seed, SyncMode};
use siren_backend_local::WallClock;

use super::bare::RATE;

/// A store with an epoch that does not end, and the workers' positions in it.
pub(crate) struct Swarm {
    store: MemoryStore,
    positions: Vec<AtomicU64>,
}

impl Swarm {
    pub(crate) fn new(
        optimizer: Optimizer,
        sync_mode: SyncMode,
        parameters: usize,
        workers: usize,
    ) -> Self {
        Self::with_noise(Noise::Off, optimizer, sync_mode, parameters, workers)
    }

    pub(crate) fn with_noise(
        noise: Noise,
        optimizer: Optimizer,
        sync_mode: SyncMode,
        parameters: usize,
        workers: usize,
    ) -> Self {
        let store = MemoryStore::new(vec![1.0; parameters]).unwrap();
        let plan = EpochPlan {
            run: "bench".into(),
            epoch: 0,
            seed: Seed::new(0),
            layout: 0,
            examples: 1 << 50,
            batch_size: 1,
            shards: workers as u32,
            local_steps: 1,
            optimizer,
            learning_rate: RATE,
            weight_decay: 0.0,
            clip_norm: None,
            sync_mode,
            compression: Compression::None,
            noise,
        };
        block_on(store.open(&plan)).unwrap();
        Self { store, positions: (0..workers).map(|_| AtomicU64::new(0)).collect() }
    }

    fn update<'a>(&self, worker: usize, position: u64, gradient: Gradient<'a>) -> Update<'a> {
        Update {
            id: UpdateId { epoch: 0, shard: worker as u32, position },
            batches: 1,
            examples: 1,
            loss: 0.0,
            version: 0,
            squared_norm: 1.0,
            gradient,
        }
    }

    pub(crate) fn push(&self, worker: usize, gradient: Gradient<'_>) {
        let position = self.positions[worker].fetch_add(1, Ordering::Relaxed);
        let pushed = block_on(self.store.push(&self.update(worker, position, gradient)));
        assert_eq!(pushed.unwrap(), PushOutcome::Accepted);
    }

    pub(crate) fn pull(&self, replica: &mut Replica) {
        let pulled = block_on(self.store.pull(0, replica, 0)).unwrap();
        assert_eq!(pulled.copied, self.store.dim());
    }
}

/// Runs `body` on several threads, passing the number of each, and returns the time from the first
/// start to the last end. The caller's thread is one of them.
pub(crate) fn on_threads(threads: usize, body: impl Fn(usize) + Sync) -> Duration {
    let clock = WallClock::new();
    let start = Barrier::new(threads);
    let run = |thread| {
        start.wait();
        let started = clock.now();
        body(thread);
        (started, clock.now())
    };
    let times: Vec<_> = std::thread::scope(|scope| {
        let run = &run;
        let others: Vec<_> = (1..threads).map(|thread| scope.spawn(move || run(thread))).collect();
        let first = run(0);
        let others = others.into_iter().map(|other| other.join().unwrap());
        std::iter::once(first).chain(others).collect()
    });
    let first = times.iter().map(|time| time.0).min().unwrap();
    times.iter().map(|time| time.1).max().unwrap() - first
}
