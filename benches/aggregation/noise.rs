//! The cost of measuring gradient noise.

use std::hint::black_box;

use siren::store::{Gradient, Replica, SparseSlice};
use siren::{Noise, Optimizer, SyncMode};

use super::bench::{Bench, Cell, numbers, push_bytes, timed};
use super::sparse::one_in_a_hundred;
use super::swarm::Swarm;

/// Pushes of one run: two windows.
const PUSHES: usize = 16;

impl Bench {
    /// A push with the noise measured, against one without. `sparse` pushes one entry in a hundred.
    /// Pulls in between are not timed.
    pub(crate) fn noise(&mut self, optimizer: Optimizer, parameters: usize, sparse: bool) {
        let gradient = numbers(parameters);
        let entries = one_in_a_hundred(parameters);
        let gradient = match sparse {
            true => Gradient::Sparse(SparseSlice::new(parameters, &entries).unwrap()),
            false => Gradient::Dense(&gradient),
        };
        let [measured, plain] = [Noise::Measure, Noise::Off]
            .map(|noise| Swarm::with_noise(noise, optimizer, SyncMode::Hybrid, parameters, 1));
        let mut replicas = [Replica::new(), Replica::new()];
        let [one, two] = &mut replicas;
        let run = |swarm: &Swarm, passes: usize, replica: &mut Replica| {
            let pushes = (0..passes).map(|_| {
                let push = timed(|| swarm.push(0, black_box(gradient)));
                if sparse {
                    swarm.pull(replica);
                }
                push
            });
            pushes.sum()
        };
        let cell = Cell {
            bench: if sparse { "top 1 %, noise measured" } else { "push, noise measured" },
            optimizer: optimizer.name(),
            parameters,
            workers: 1,
            bytes: push_bytes(optimizer),
            against: "not measured",
        };
        self.cell(
            &cell,
            PUSHES,
            |passes| run(&measured, passes, one),
            |passes| run(&plain, passes, two),
        );
    }
}
