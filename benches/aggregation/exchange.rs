//! Pushes and pulls of dense updates.

use std::hint::black_box;
use std::sync::Mutex;
use std::time::Duration;

use siren::store::{Gradient, Replica};
use siren::{Optimizer, SyncMode};

use super::bare::Bare;
use super::bench::{Bench, Cell, SGD, THREADS, numbers, passes, push_bytes, timed};
use super::swarm::{Swarm, on_threads};

impl Bench {
    /// Workers that push dense updates, all from one gradient.
    pub(crate) fn push(&mut self, optimizer: Optimizer, parameters: usize, workers: usize) {
        let gradient = numbers(parameters);
        let swarm = Swarm::new(optimizer, SyncMode::Hybrid, parameters, workers);
        let threads = workers.min(THREADS);
        let bares: Vec<_> =
            (0..threads).map(|_| Mutex::new(Bare::new(optimizer, parameters))).collect();
        let cell = Cell {
            bench: "push",
            optimizer: optimizer.name(),
            parameters,
            workers,
            bytes: push_bytes(optimizer),
            against: "bare loops",
        };
        self.cell(
            &cell,
            passes(parameters, workers),
            |passes| push_all(&swarm, &gradient, workers, passes),
            |passes| {
                on_threads(threads, |thread| {
                    let bare = &mut *bares[thread].lock().unwrap();
                    let start = parameters * thread / threads;
                    for _ in 0..passes / threads {
                        bare.push_from(start, black_box(&gradient));
                    }
                })
            },
        );
    }

    /// Many workers on two threads against two workers.
    pub(crate) fn crowd(&mut self, parameters: usize, workers: usize) {
        let gradient = numbers(parameters);
        let many = Swarm::new(SGD, SyncMode::Hybrid, parameters, workers);
        let two = Swarm::new(SGD, SyncMode::Hybrid, parameters, THREADS);
        let cell = Cell {
            bench: "push, crowded",
            optimizer: "sgd",
            parameters,
            workers,
            bytes: push_bytes(SGD),
            against: "two workers",
        };
        self.cell(
            &cell,
            passes(parameters, workers),
            |passes| push_all(&many, &gradient, workers, passes),
            |passes| push_all(&two, &gradient, THREADS, passes),
        );
    }

    /// Workers that pull. All values are new in each pull.
    pub(crate) fn pull(&mut self, parameters: usize, workers: usize) {
        let swarm = Swarm::new(SGD, SyncMode::Hybrid, parameters, workers);
        let threads = workers.min(THREADS);
        let bare = Bare::new(SGD, parameters);
        let replicas: Vec<_> = (0..workers).map(|_| Mutex::new(Replica::new())).collect();
        let copies: Vec<_> = (0..threads).map(|_| Mutex::new(vec![0.0; parameters])).collect();
        let cell = Cell {
            bench: "pull",
            optimizer: "-",
            parameters,
            workers,
            bytes: 8,
            against: "bare copies",
        };
        self.cell(
            &cell,
            passes(parameters, workers),
            |passes| {
                on_threads(threads, |thread| {
                    for pass in 0..passes / threads {
                        let worker = (thread + pass * threads) % workers;
                        let replica = &mut *replicas[worker].lock().unwrap();
                        replica.forget();
                        swarm.pull(replica);
                    }
                })
            },
            |passes| {
                on_threads(threads, |thread| {
                    let copy = &mut *copies[thread].lock().unwrap();
                    for _ in 0..passes / threads {
                        bare.pull(black_box(copy));
                    }
                })
            },
        );
    }

    /// One worker's cycle without its gradient: pull and push.
    pub(crate) fn push_and_pull(&mut self, parameters: usize) {
        let gradient = numbers(parameters);
        let swarm = Swarm::new(SGD, SyncMode::Hybrid, parameters, 1);
        let mut bare = Bare::new(SGD, parameters);
        let (mut replica, mut copy) = (Replica::new(), vec![0.0; parameters]);
        let cell = Cell {
            bench: "push and pull",
            optimizer: "sgd",
            parameters,
            workers: 1,
            bytes: push_bytes(SGD) + 8,
            against: "bare loop and copy",
        };
        self.cell(
            &cell,
            passes(parameters, 1),
            |passes| {
                timed(|| {
                    for _ in 0..passes {
                        swarm.push(0, Gradient::Dense(black_box(&gradient)));
                        swarm.pull(&mut replica);
                    }
                })
            },
            |passes| {
                timed(|| {
                    for _ in 0..passes {
                        bare.push(black_box(&gradient));
                        bare.pull(black_box(&mut copy));
                    }
                })
            },
        );
    }

    /// The part of a push that is not the pass over the parameters: a push to a model of one
    /// parameter. The ratio is the number of such pushes that take as long as a full push.
    pub(crate) fn bookkeeping(&mut self, parameters: usize) {
        let gradient = numbers(parameters);
        let swarm = Swarm::new(SGD, SyncMode::Hybrid, parameters, 1);
        let one = Swarm::new(SGD, SyncMode::Hybrid, 1, 1);
        let cell = Cell {
            bench: "push, but for the pass",
            optimizer: "sgd",
            parameters,
            workers: 1,
            // The bytes of the full push, so that rates compare.
            bytes: push_bytes(SGD),
            against: "a push",
        };
        self.cell(
            &cell,
            passes(parameters, 1),
            |passes| {
                timed(|| {
                    for _ in 0..passes {
                        one.push(0, Gradient::Dense(black_box(&[0.5])));
                    }
                })
            },
            |passes| {
                timed(|| {
                    for _ in 0..passes {
                        swarm.push(0, Gradient::Dense(black_box(&gradient)));
                    }
                })
            },
        );
    }
}

/// Workers that push in turn, on at most two threads.
fn push_all(swarm: &Swarm, gradient: &[f32], workers: usize, passes: usize) -> Duration {
    let threads = workers.min(THREADS);
    on_threads(threads, |thread| {
        for pass in 0..passes / threads {
            let worker = (thread + pass * threads) % workers;
            swarm.push(worker, Gradient::Dense(black_box(gradient)));
        }
    })
}
