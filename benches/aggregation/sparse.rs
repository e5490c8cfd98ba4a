//! Sparse updates.

use std::hint::black_box;
use std::time::Duration;

use siren::store::{Entry, Gradient, Replica, SparseSlice};
use siren::{Optimizer, Seed, SyncMode};
use siren_hsp::kernel::TopK;

use super::bench::{Bench, Cell, numbers, passes, push_bytes, timed};
use super::swarm::Swarm;

impl Bench {
    /// A push of one entry in a hundred, in random places, against a dense push. With `pulled`, a
    /// pull follows each.
    pub(crate) fn sparse(&mut self, optimizer: Optimizer, parameters: usize, pulled: bool) {
        let gradient = numbers(parameters);
        let entries = one_in_a_hundred(parameters);
        let sparse = Gradient::Sparse(SparseSlice::new(parameters, &entries).unwrap());
        let (dense, swarm) = (
            Swarm::new(optimizer, SyncMode::Hybrid, parameters, 1),
            Swarm::new(optimizer, SyncMode::Hybrid, parameters, 1),
        );
        let mut replicas = [Replica::new(), Replica::new()];
        let [one, two] = &mut replicas;
        // Pulls come between pushes in any case, as in a worker's cycle.
        let run = |swarm: &Swarm, gradient, passes, replica: &mut Replica| {
            let mut total = Duration::ZERO;
            for _ in 0..passes {
                total += timed(|| swarm.push(0, black_box(gradient)));
                let pull = timed(|| swarm.pull(replica));
                if pulled {
                    total += pull;
                }
            }
            total
        };
        let cell = Cell {
            bench: if pulled { "top 1 %, push and pull" } else { "top 1 %, push" },
            optimizer: optimizer.name(),
            parameters,
            workers: 1,
            // The bytes of a dense update, so that rates compare.
            bytes: push_bytes(optimizer) + if pulled { 8 } else { 0 },
            against: if pulled { "dense push and pull" } else { "dense push" },
        };
        let dense_gradient = Gradient::Dense(&gradient);
        self.cell(
            &cell,
            passes(parameters, 1),
            |passes| run(&swarm, sparse, passes, one),
            |passes| run(&dense, dense_gradient, passes, two),
        );
    }

    /// Finding the largest hundredth of a gradient, against a copy of it.
    pub(crate) fn select(&mut self, parameters: usize) {
        let gradient = numbers(parameters);
        let mut values = gradient.clone();
        let mut copy = gradient.clone();
        let mut top_k = TopK::default();
        let cell = Cell {
            bench: "top 1 %, selection",
            optimizer: "-",
            parameters,
            workers: 1,
            bytes: 8,
            against: "a copy",
        };
        self.cell(
            &cell,
            1,
            |_| {
                values.copy_from_slice(&gradient);
                timed(|| top_k.take(0.01, black_box(&mut values)))
            },
            |_| timed(|| black_box(&mut copy).copy_from_slice(&gradient)),
        );
    }
}

/// Entries at a random hundredth of all positions.
pub(crate) fn one_in_a_hundred(parameters: usize) -> Vec<Entry> {
    let seed = Seed::new(2);
    let chosen = (0..parameters as u64).filter(|&i| seed.child(i).get().is_multiple_of(100));
    chosen.map(|i| Entry { index: i as u32, value: 0.25 }).collect()
}
