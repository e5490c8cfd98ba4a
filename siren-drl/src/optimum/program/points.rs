//! The choices at each point.

use siren_core::Allocation;

use super::{COARSE, Candidate, Point, Policy, Price, Program};
use crate::choice::{Choice, lower_hull};
use crate::model::At;

/// The ratio of successive numbers of functions near the best ones.
const FINE: f64 = 1.01;
/// Memory sizes are refined if they are worse than the best one by at most this share of an epoch.
const NEAR: f64 = 0.03;

impl Program<'_> {
    /// Adds more numbers of functions near those that are best at a price.
    pub(in crate::optimum) fn refined(&self, price: Price) -> Self {
        let policy = self.policy(price);
        let points = self.points.iter().map(|point| self.refine(point, &policy));
        let start = self.refine(&self.start, &policy);
        Self { start, points: points.collect(), sizes: self.sizes.clone(), ..*self }
    }

    fn refine(&self, point: &Point, policy: &Policy) -> Point {
        let mut by_size: Vec<(f64, &Candidate)> = Vec::new();
        let value = |candidate| self.value(candidate, policy, None, point.progress, point.epoch);
        let mut best = f64::INFINITY;
        for candidate in &point.choices {
            let (memory_mb, value) = (candidate.choice.allocation.memory_mb, value(candidate));
            best = best.min(value);
            match by_size.iter_mut().find(|(_, of)| of.choice.allocation.memory_mb == memory_mb) {
                Some(of) if value < of.0 => *of = (value, candidate),
                Some(_) => {}
                None => by_size.push((value, candidate)),
            }
        }
        let mut allocations: Vec<Allocation> =
            point.choices.iter().map(|candidate| candidate.choice.allocation).collect();
        for (value, candidate) in by_size {
            let Choice { allocation, seconds, dollars, .. } = candidate.choice;
            if value - best > NEAR * policy.price.value(seconds, dollars) {
                continue;
            }
            let about = f64::from(allocation.workers);
            let most = ((about * COARSE).ceil() as u32).min(self.task.bounds.workers);
            let mut workers = (about / COARSE) as u32;
            while workers < most {
                workers = ((f64::from(workers) * FINE) as u32).max(workers + 1).min(most);
                allocations.push(Allocation { workers, ..allocation });
            }
        }
        self.point(point.epoch, point.progress, allocations)
    }

    /// A point with its choices: among those with the same progress, only the ones that are best at
    /// some price.
    pub(super) fn point(
        &self,
        epoch: u64,
        progress: f64,
        allocations: impl IntoIterator<Item = Allocation>,
    ) -> Point {
        let model = &*self.task.job;
        let at = At { epoch, progress, memory_mb: None };
        let apart = self.columns > 1;
        let group = |choice: &Choice| if apart { choice.allocation.memory_mb } else { 0 };
        let mut all: Vec<Choice> = allocations
            .into_iter()
            .map(|allocation| Choice::expected(model, at, allocation))
            .collect();
        all.sort_by(|a, b| group(a).cmp(&group(b)).then(a.progress.total_cmp(&b.progress)));
        let mut choices = Vec::new();
        for alike in all.chunk_by(|a, b| group(a) == group(b) && a.progress == b.progress) {
            let mut hull = alike.to_vec();
            lower_hull(&mut hull, |choice| (choice.seconds, choice.dollars));
            choices.extend(hull.into_iter().map(|choice| self.candidate(at, choice)));
        }
        Point { epoch, progress, choices }
    }

    fn candidate(&self, at: At, choice: Choice) -> Candidate {
        let memory = choice.allocation.memory_mb;
        let mut candidate = Candidate { choice, column: 0, change_s: 0.0, change_usd: 0.0 };
        if self.columns > 1 {
            let memory_mb = self.sizes.iter().copied().find(|of| *of != memory);
            let changed =
                Choice::expected(&*self.task.job, At { memory_mb, ..at }, choice.allocation);
            candidate.column = self.sizes.partition_point(|size| *size < memory);
            candidate.change_s = changed.seconds - choice.seconds;
            candidate.change_usd = changed.dollars - choice.dollars;
        }
        candidate
    }
}
