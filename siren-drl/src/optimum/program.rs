//! The dynamic program, for one price of a dollar.

mod points;

use std::sync::Arc;

use siren_core::{Allocation, Error, Result};

use super::Optimum;
use crate::choice::{Choice, memory_sizes, worker_counts};
use crate::model::{At, Chance};
use crate::task::SchedulingTask;

/// The minimised quantity: weights of seconds and dollars.
#[derive(Clone, Copy, Debug)]
pub(super) struct Price {
    seconds: f64,
    dollars: f64,
    epoch: f64,
}

impl Price {
    /// Dollars, with practically no weight for seconds.
    pub(super) const MONEY: Self = Self { seconds: 1e-9, dollars: 1.0, epoch: 0.0 };

    /// Seconds, plus dollars at this price.
    pub(super) fn of(seconds_per_usd: f64) -> Self {
        Self { seconds: 1.0, dollars: seconds_per_usd, epoch: 0.0 }
    }

    fn value(self, seconds: f64, dollars: f64) -> f64 {
        self.seconds * seconds + self.dollars * dollars + self.epoch
    }

    fn change(self, candidate: &Candidate) -> f64 {
        self.seconds * candidate.change_s + self.dollars * candidate.change_usd
    }
}

/// A schedule from the first epoch to the target.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) time_s: f64,
    pub(super) cost_usd: f64,
    /// The schedule's value by the program.
    pub(super) value: f64,
    schedule: Vec<Allocation>,
    progress: Vec<f64>,
    policy: Arc<Policy>,
}

impl Run {
    pub(super) fn into_optimum(self, seconds_per_usd: f64, lower_s: f64) -> Optimum {
        Optimum {
            lower_s,
            upper_s: self.time_s,
            cost_usd: self.cost_usd,
            seconds_per_usd,
            schedule: self.schedule,
            progress: self.progress,
        }
    }
}

/// The value of the rest of the job from each point, for each memory size of the epoch before.
#[derive(Clone, Debug)]
struct Policy {
    price: Price,
    to_go: Vec<Vec<f64>>,
}

/// A point of progress, and the choices there.
struct Point {
    epoch: u64,
    progress: f64,
    choices: Vec<Candidate>,
}

/// A choice, and its additional time and cost if the memory changes.
#[derive(Clone, Copy)]
struct Candidate {
    choice: Choice,
    /// The column of its memory size; 0 if changes cost nothing.
    column: usize,
    change_s: f64,
    change_usd: f64,
}

pub(super) struct Program<'a> {
    task: &'a SchedulingTask,
    needed: f64,
    /// The first epoch, which may differ from all others.
    start: Point,
    /// The following epochs; the last point is at the target.
    points: Vec<Point>,
    /// The progress between two points. `None` if every allocation brings the same progress; each
    /// point is then an epoch.
    cell: Option<f64>,
    /// The number of memory sizes that are distinguished: one if changes cost nothing.
    columns: usize,
    /// The memory sizes, in rising order.
    sizes: Vec<u32>,
}

/// The ratio of successive numbers of functions at first.
const COARSE: f64 = 1.1;
/// Points for each ideal epoch if progress depends on the allocation, and the smallest and largest
/// number of points.
const POINTS: (f64, f64, f64) = (2.0, 256.0, 1_024.0);

impl<'a> Program<'a> {
    pub(super) fn new(task: &'a SchedulingTask) -> Result<Self> {
        let (model, needed) = (&*task.job, task.ideal_epochs());
        let sizes = memory_sizes(&task.bounds, 160);
        let ends = [(1, 0), (task.bounds.workers, sizes.len() - 1), (1, sizes.len() - 1)];
        let probes = ends.map(|(workers, size)| Allocation::new(workers, sizes[size]));

        let mut chain = vec![0.0];
        let alike = loop {
            let at = At {
                epoch: chain.len() as u64 - 1,
                progress: chain[chain.len() - 1],
                memory_mb: None,
            };
            if at.epoch > 0 && at.progress >= needed * (1.0 - 1e-12) {
                break true;
            }
            let gains = probes.map(|probe| Choice::expected(model, at, probe).progress);
            if gains.iter().any(|gain| (gain / gains[0] - 1.0).abs() > 1e-9) {
                break false;
            }
            if at.epoch >= task.epochs || gains[0].is_nan() || gains[0] <= 0.0 {
                return Err(too_few_epochs(task));
            }
            chain.push(at.progress + gains[0]);
        };
        let (at, cell) = if alike {
            chain.pop();
            (chain.split_off(1), None)
        } else {
            let points = (needed * POINTS.0).clamp(POINTS.1, POINTS.2).ceil();
            let cell = needed / points;
            ((0..points as u32).map(|point| f64::from(point) * cell).collect(), Some(cell))
        };

        let mut new = Self {
            task,
            needed,
            start: Point { epoch: 0, progress: 0.0, choices: Vec::new() },
            points: Vec::new(),
            cell,
            columns: if changes_cost(task, &probes) { sizes.len() } else { 1 },
            sizes,
        };
        let counts = worker_counts(task.bounds.workers, COARSE);
        let every = |point: &Point| {
            let all = new.sizes.iter().flat_map(|&memory_mb| {
                counts.iter().map(move |&workers| Allocation::new(workers, memory_mb))
            });
            new.point(point.epoch, point.progress, all)
        };
        let empty = |epoch, progress| Point { epoch, progress, choices: Vec::new() };
        let start = every(&empty(0, 0.0));
        let points = at.into_iter().map(|progress| every(&empty(1, progress))).collect();
        (new.start, new.points) = (start, points);
        Ok(new)
    }

    /// The best schedule at a price, and its value by that price.
    pub(super) fn solve(&self, price: Price) -> Result<Run> {
        let mut price = price;
        for _ in 0..64 {
            let policy = Arc::new(self.policy(price));
            let value = self.best(&self.start, &policy, None, 0.0).1;
            let value = value - price.epoch * self.task.epochs as f64;
            if let Some(mut run) = self.follow(&[(u64::MAX, &policy)]) {
                run.value = value;
                return Ok(run);
            }
            // If few functions bring more progress, the limit on epochs may need a price as well.
            price.epoch = (2.0 * price.epoch).max(1e-3 * value.abs() / self.task.epochs as f64);
        }
        Err(too_few_epochs(self.task))
    }

    fn policy(&self, price: Price) -> Policy {
        let columns = self.columns;
        let mut to_go = vec![vec![0.0; columns]; self.points.len() + 1];
        let (mut stay, mut change) = (vec![0.0; columns], vec![0.0; columns]);
        for (number, point) in self.points.iter().enumerate().rev() {
            stay.fill(f64::INFINITY);
            change.fill(f64::INFINITY);
            for candidate in &point.choices {
                let Choice { seconds, dollars, progress, .. } = candidate.choice;
                let (now, column) = (price.value(seconds, dollars), candidate.column);
                let value = match self.cell {
                    None => now + to_go[number + 1][column],
                    // The choice stays within its cell: it is repeated until it leaves the cell.
                    Some(cell) if progress < cell => {
                        now * (cell / progress) + to_go[number + 1][column]
                    }
                    Some(cell) => now + at(&to_go, (point.progress + progress) / cell, column),
                };
                stay[column] = value.min(stay[column]);
                change[column] = (value + price.change(candidate)).min(change[column]);
            }
            let changed = change.iter().copied().fold(f64::INFINITY, f64::min);
            for (to_go, stay) in to_go[number].iter_mut().zip(&stay) {
                *to_go = if columns == 1 { *stay } else { stay.min(changed) };
            }
        }
        Policy { price, to_go }
    }

    /// The best choice at a point, from `progress` on, and its value including the rest of the job.
    fn best<'b>(
        &self,
        point: &'b Point,
        policy: &Policy,
        memory_mb: Option<u32>,
        progress: f64,
    ) -> (&'b Candidate, f64) {
        let mut best = (&point.choices[0], f64::INFINITY);
        for candidate in &point.choices {
            let value = self.value(candidate, policy, memory_mb, progress, point.epoch);
            if value < best.1 {
                best = (candidate, value);
            }
        }
        best
    }

    /// The value of a choice, including the rest of the job.
    fn value(
        &self,
        candidate: &Candidate,
        policy: &Policy,
        memory_mb: Option<u32>,
        progress: f64,
        epoch: u64,
    ) -> f64 {
        let choice = &candidate.choice;
        let mut value = policy.price.value(choice.seconds, choice.dollars);
        if memory_mb.is_some_and(|before| before != choice.allocation.memory_mb) {
            value += policy.price.change(candidate);
        }
        value
            + match self.cell {
                // The points are the epochs after the first.
                None if epoch == 0 => policy.to_go[0][candidate.column],
                None => {
                    let next = self.points.partition_point(|point| point.progress <= progress);
                    policy.to_go[next][candidate.column]
                }
                Some(cell) => {
                    at(&policy.to_go, (progress + choice.progress) / cell, candidate.column)
                }
            }
    }

    /// Plays policies one after the other, each until its number of epochs. `None` if the epochs do
    /// not suffice.
    fn follow(&self, policies: &[(u64, &Arc<Policy>)]) -> Option<Run> {
        let mut run = Run {
            time_s: 0.0,
            cost_usd: 0.0,
            value: 0.0,
            schedule: Vec::new(),
            progress: Vec::new(),
            policy: Arc::clone(policies.last()?.1),
        };
        let mut at = At::default();
        while at.epoch == 0 || at.progress < self.needed * (1.0 - 1e-12) {
            if at.epoch >= self.task.epochs {
                return None;
            }
            let (_, policy) = policies.iter().find(|(until, _)| at.epoch < *until)?;
            let point = match (at.epoch, self.cell) {
                (0, _) => &self.start,
                (epoch, None) => &self.points[epoch as usize - 1],
                (_, Some(cell)) => {
                    &self.points[((at.progress / cell) as usize).min(self.points.len() - 1)]
                }
            };
            let (candidate, _) = self.best(point, policy, at.memory_mb, at.progress);
            let allocation = candidate.choice.allocation;
            let epoch = self.task.job.epoch(at, allocation, &Chance::EXPECTED);
            run.time_s += epoch.elapsed_s;
            run.cost_usd += epoch.cost_usd;
            run.schedule.push(allocation);
            run.progress.push(at.progress);
            at = At {
                epoch: at.epoch + 1,
                progress: at.progress + epoch.progress,
                memory_mb: Some(allocation.memory_mb),
            };
        }
        Some(run)
    }

    /// The fastest schedule within the budget that changes once from one policy to the other.
    pub(super) fn splice(&self, dear: &Run, cheap: &Run, budget_usd: f64) -> Run {
        let mut best = cheap.clone();
        let epochs = dear.schedule.len().max(cheap.schedule.len()) as u64;
        let mut fits = |until: u64, first: &Run, second: &Run| {
            let run = self.follow(&[(until, &first.policy), (u64::MAX, &second.policy)]);
            let Some(run) = run.filter(|run| run.cost_usd <= budget_usd) else { return false };
            if run.time_s < best.time_s {
                best = run;
            }
            true
        };
        // The longer the expensive policy is followed, the more the run costs.
        let (mut low, mut high) = (0, epochs);
        while high - low > 1 {
            let until = (low + high) / 2;
            if fits(until, dear, cheap) { low = until } else { high = until }
        }
        (low, high) = (0, epochs);
        while high - low > 1 {
            let until = (low + high) / 2;
            if fits(until, cheap, dear) { high = until } else { low = until }
        }
        best
    }
}

/// The interpolated value between two points.
fn at(to_go: &[Vec<f64>], point: f64, column: usize) -> f64 {
    let last = to_go.len() - 1;
    let before = point as usize;
    if before >= last {
        return to_go[last][column];
    }
    let share = point - before as f64;
    to_go[before][column] * (1.0 - share) + to_go[before + 1][column] * share
}

/// `true` if an epoch takes more time or money after a change of the memory.
fn changes_cost(task: &SchedulingTask, probes: &[Allocation; 3]) -> bool {
    let memory_mb = Some(probes[0].memory_mb);
    let differs = |epoch| {
        let at = At { epoch, progress: 0.5 * task.ideal_epochs(), memory_mb: None };
        let stay = task.job.epoch(at, probes[1], &Chance::EXPECTED);
        let change = task.job.epoch(At { memory_mb, ..at }, probes[1], &Chance::EXPECTED);
        stay.elapsed_s != change.elapsed_s || stay.cost_usd != change.cost_usd
    };
    probes[0].memory_mb != probes[1].memory_mb && differs(1)
}

fn too_few_epochs(task: &SchedulingTask) -> Error {
    Error::rejected(format!(
        "the job may take {} epochs, and they do not suffice for its target loss of {}: give more",
        task.epochs, task.target_loss
    ))
}
