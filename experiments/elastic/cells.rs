//! The runs to make: workloads, numbers of functions, and the combinations of both.

use std::fmt;

use siren_experiments::lab::{Job, ListScheduler};
use siren_hsp::LrDecay;

use crate::MEMORY_MB;
use crate::flags::Mode;

/// The store of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// A store that applies pushes at once and free of charge.
    Ideal,
    /// Parameters in objects on S3, and aggregators.
    Objects,
}

/// The figure that `quality` contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quality {
    /// The held-out loss.
    Loss,
    /// The held-out accuracy.
    Accuracy,
}

/// One workload: its data, its setting, and the runs that it takes part in.
#[derive(Clone)]
pub(crate) struct Subject {
    /// The name in tables and in elastic.json.
    pub(crate) name: String,
    /// A job for each repeat.
    pub(crate) jobs: Vec<Job>,
    pub(crate) store: Store,
    pub(crate) modes: Vec<Mode>,
    pub(crate) schedules: Vec<Schedule>,
    /// The decay of the learning rate in a run of this many passes.
    pub(crate) decay: fn(u64) -> LrDecay,
    /// The passes over the data, for the most functions of any pass.
    pub(crate) passes: fn(u32) -> u64,
    /// The held-out loss to reach.
    pub(crate) target: Option<f64>,
    /// A run whose held-out loss is above this, and does not fall, has diverged.
    pub(crate) limit: f64,
    pub(crate) quality: Quality,
    /// Larger losses are not drawn.
    pub(crate) shown: f64,
    /// `true` for a run that is worth its time.
    pub(crate) is_kept: fn(Mode, &Schedule) -> bool,
    /// A description of the data and the setting.
    pub(crate) about: String,
}

impl Subject {
    /// The same workload with parameters in objects on S3. The runs that `is_kept` leaves out are
    /// not made.
    pub(crate) fn over_objects(&self, is_kept: fn(Mode, &Schedule) -> bool) -> Self {
        Self {
            name: format!("{}, objects", self.name),
            about: "The same with parameters in objects on S3 and with aggregators.".into(),
            store: Store::Objects,
            // Bulk mode over objects applies the same means, and only takes more time.
            modes: self.modes.iter().copied().filter(|&mode| mode != Mode::Bulk).collect(),
            is_kept,
            ..self.clone()
        }
    }
}

/// The numbers of functions of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Schedule {
    /// The same number in each pass.
    Constant(u32),
    /// The numbers of the passes. After the last number the list starts again.
    List(Vec<u32>),
}

impl Schedule {
    /// Each number alone, and a list that jumps from one end of the numbers to the other. The
    /// numbers are in rising order.
    pub(crate) fn grid(workers: &[u32]) -> Vec<Self> {
        let mut left = workers;
        let mut jumping = Vec::new();
        while let [first, rest @ ..] = left {
            jumping.push(*first);
            left = rest;
            if let [rest @ .., last] = left {
                jumping.push(*last);
                left = rest;
            }
        }
        let constant = workers.iter().map(|&workers| Self::Constant(workers));
        constant.chain((workers.len() > 1).then_some(Self::List(jumping))).collect()
    }

    /// `true` for a constant number of at least `least` functions.
    pub(crate) fn is_constant_from(&self, least: u32) -> bool {
        matches!(self, Self::Constant(workers) if *workers >= least)
    }

    /// The largest number.
    pub(crate) fn most(&self) -> u32 {
        match self {
            Self::Constant(workers) => *workers,
            Self::List(list) => list.iter().copied().max().unwrap_or(0),
        }
    }

    /// The schedule of this many passes, in which no pass has more functions than batches.
    pub(crate) fn cut(&self, passes: u64, batches: u64) -> Self {
        let most = u32::try_from(batches).unwrap_or(u32::MAX);
        match self {
            Self::Constant(workers) => Self::Constant(most.min(*workers)),
            Self::List(list) => {
                let passes = usize::try_from(passes).unwrap_or(usize::MAX);
                let workers = list.iter().cycle().take(passes);
                Self::List(workers.map(|&workers| most.min(workers)).collect())
            }
        }
    }

    pub(crate) fn scheduler(&self) -> ListScheduler {
        match self {
            Self::Constant(workers) => ListScheduler::new([*workers], MEMORY_MB),
            Self::List(list) => ListScheduler::new(list.as_slice(), MEMORY_MB),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(_) => f.write_str("constant"),
            Self::List(list) => {
                let list: Vec<String> = list.iter().map(u32::to_string).collect();
                f.write_str(&list.join(", "))
            }
        }
    }
}

/// One kind of run, which is repeated.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    /// The position of the workload.
    pub(crate) subject: usize,
    pub(crate) mode: Mode,
    pub(crate) schedule: Schedule,
    pub(crate) passes: u64,
    /// `true` if the schedule had more functions than there are batches.
    pub(crate) is_cut: bool,
    /// `true` if it does not run, to save time.
    pub(crate) left_out: bool,
}

impl Cell {
    /// The cells of a workload. With `all`, none of them is left out.
    pub(crate) fn of(index: usize, subject: &Subject, all: bool) -> Vec<Self> {
        let job = &subject.jobs[0];
        let batches = job.train.len().div_ceil(job.config.batch_size);
        let pairs = subject
            .modes
            .iter()
            .flat_map(|&mode| subject.schedules.iter().map(move |schedule| (mode, schedule)));
        let cell = |(mode, schedule): (Mode, &Schedule)| {
            let passes = (subject.passes)(schedule.most());
            let is_kept = all || (subject.is_kept)(mode, schedule);
            let uncut = schedule.cut(passes, u64::MAX);
            Self {
                subject: index,
                mode,
                schedule: uncut.cut(passes, batches),
                passes,
                is_cut: u64::from(uncut.most()) > batches,
                left_out: !is_kept,
            }
        };
        pairs.map(cell).collect()
    }
}
