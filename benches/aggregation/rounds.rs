//! Rounds of bulk mode, and means.

use std::hint::black_box;

use siren::SyncMode;
use siren::store::Gradient;
use siren_hsp::kernel;

use super::bare::{self, Bare};
use super::bench::{Bench, Cell, SGD, numbers, push_bytes, timed};
use super::swarm::Swarm;

impl Bench {
    /// A round of bulk mode, all of whose updates one thread pushes, against copies of all updates,
    /// one mean and one push.
    pub(crate) fn bulk(&mut self, parameters: usize, workers: usize) {
        let gradient = numbers(parameters);
        let swarm = Swarm::new(SGD, SyncMode::Bulk, parameters, workers);
        let mut bare = Bare::new(SGD, parameters);
        let mut kept = vec![vec![0.0; parameters]; workers];
        let mut mean = vec![0.0; parameters];
        let cell = Cell {
            bench: "bulk round",
            optimizer: "sgd",
            parameters,
            workers,
            // Each update is read, written and read again.
            bytes: 12 * workers + 8 + push_bytes(SGD),
            against: "copies, a mean and a bare loop",
        };
        self.cell(
            &cell,
            1,
            |_| {
                timed(|| {
                    for worker in 0..workers {
                        swarm.push(worker, Gradient::Dense(black_box(&gradient)));
                    }
                })
            },
            |_| {
                timed(|| {
                    for kept in &mut kept {
                        kept.copy_from_slice(black_box(&gradient));
                    }
                    let share = 1.0 / workers as f32;
                    kernel::weighted_sum(&mut mean, kept.iter().map(|kept| (share, &kept[..])));
                    bare.push(black_box(&mean));
                })
            },
        );
    }

    /// The mean of 16 vectors, against the better of two bare loops.
    pub(crate) fn mean(&mut self, parameters: usize) {
        let vectors = [const { Vec::new() }; 16].map(|_: Vec<f32>| numbers(parameters));
        let mut out = [vec![0.0; parameters], vec![0.0; parameters]];
        let [ours, bare] = &mut out;
        let cell = Cell {
            bench: "mean of 16",
            optimizer: "-",
            parameters,
            workers: 1,
            bytes: 4 * 17,
            against: "the better bare loop",
        };
        self.cell(
            &cell,
            1,
            |_| {
                timed(|| {
                    let weighted = vectors.iter().map(|vector| (1.0 / 16.0, vector.as_slice()));
                    kernel::weighted_sum(black_box(ours), weighted);
                })
            },
            |_| {
                let by_entry = timed(|| bare::mean_by_entry(black_box(bare), &vectors));
                by_entry.min(timed(|| bare::mean_by_fours(black_box(bare), &vectors)))
            },
        );
    }
}
