//! The toy example of the SIREN talk: its runs, and the comparison of them.

use std::cmp::Ordering::Less;
use std::time::Duration;

use siren_backend_sim::Simulation;
use siren_core::{Allocation, Machine, Result, Scheduler, Usd};
use siren_drl::Bounds;
use siren_hsp::{Config, FixedScheduler, PhasedScheduler, StopRules};

use crate::lab::rows::{self, Row};
use crate::lab::scheduled::{By, Scheduled, Terms};
use crate::lab::{Job, Run, on_all_cores};

/// The memory of each function, as in the talk.
const MEMORY_MB: u32 = 256;

/// Epochs after which a run that has not reached the target is given up.
const PATIENCE: u64 = 15;

/// The longest schedule that is tried, in epochs.
const LONGEST_SCHEDULE: u64 = 6;

/// The functions of the first epochs, if a scheduler has to measure the job: between the talk's
/// small number and its large one.
const PROBES: [u32; 2] = [100, 20];

/// The bounds of its other allocations.
const BOUNDS: Bounds =
    Bounds { workers: 150, memory_min_mb: MEMORY_MB, memory_max_mb: MEMORY_MB, memory_step_mb: 64 };

/// The bytes of a fetched example: about 25 features that are not zero.
const EXAMPLE_BYTES: f64 = 25.0 * 8.0;

/// A guess of the passes of one function, from experience with similar jobs.
const PASSES: f64 = 4.0;

/// The shortest time between two pushes of a function.
const CYCLE: Duration = Duration::from_millis(100);

/// The work between two pushes, and the learning rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setting {
    /// Examples of a batch.
    pub batch_size: u64,
    /// Batches that a push covers.
    pub local_steps: u64,
    /// The learning rate.
    pub rate: f32,
}

/// A job, and the extent of the search for its settings.
pub struct Toy {
    /// The job.
    pub job: Job,
    /// The loss that every run has to reach.
    pub target: f64,
    /// The simulated platform.
    pub simulation: Simulation,
    /// The settings that are tried.
    pub settings: Vec<Setting>,
    /// The number of settings that schedulers are tried with, of those that are best for some
    /// number of functions. With 0 there are no rows of schedulers.
    pub scheduled: usize,
    /// The number of modelled epochs that an agent is trained for.
    pub steps: u64,
    /// The schedules that are tried.
    pub schedules: Vec<[u32; 3]>,
}

impl Toy {
    fn at(&self, setting: Setting, epochs: u64) -> Job {
        let mut job = self.job.clone();
        job.config = Config {
            batch_size: setting.batch_size,
            local_steps: setting.local_steps,
            learning_rate: setting.rate.into(),
            stop: StopRules { epochs, target_loss: Some(self.target), ..StopRules::default() },
            ..job.config
        };
        job
    }

    /// Runs all settings with the same number of functions in every epoch, and returns those that
    /// reach the target.
    fn constant(&self, functions: u32) -> Result<Vec<Found>> {
        let runs = on_all_cores(&self.settings, |&setting| {
            let scheduler = FixedScheduler::new(functions, MEMORY_MB);
            let run = self.at(setting, PATIENCE).on_lambda(scheduler, &self.simulation)?;
            Ok(run.is_done().then_some(Found { setting, run }))
        })?;
        Ok(runs.into_iter().flatten().collect())
    }

    /// Runs `settings` with these functions in the first epoch, in between and in the last, and
    /// returns those that reach the target.
    fn schedule(&self, functions: [u32; 3], settings: &[Setting]) -> Result<Vec<Found>> {
        let mut runs = Vec::new();
        for &setting in settings {
            // A schedule needs to know its last epoch. The fewest epochs that suffice are taken.
            for epochs in 2..=LONGEST_SCHEDULE {
                let [first, between, last] = functions;
                let scheduler = PhasedScheduler::new(first, between, last, MEMORY_MB);
                let run = self.at(setting, epochs).on_lambda(scheduler, &self.simulation)?;
                if run.is_done() {
                    runs.push(Found { setting, run });
                    break;
                }
            }
        }
        Ok(runs)
    }

    /// Runs each of `settings` within `budget`, by a scheduler that has to measure the job first.
    fn scheduled(&self, by: By, budget: Usd, settings: &[Setting]) -> Result<Vec<Held>> {
        on_all_cores(settings, |&setting| {
            let job = self.at(setting, PATIENCE);
            let prior = job.prior(&self.simulation, EXAMPLE_BYTES, std::f64::consts::LN_2, PASSES);
            let probe = |workers| Allocation::new(workers, MEMORY_MB);
            let terms = Terms {
                prior,
                probes: PROBES.map(probe).to_vec(),
                bounds: BOUNDS,
                budget,
                steps: self.steps,
            };
            let held = job.scheduled(by, &self.simulation, &terms)?;
            Ok(Held { setting, held })
        })
    }

    /// Runs all settings on a machine, whose workers share its memory, so that pushes cost nothing.
    fn machine(&self, machine: &Machine) -> Result<Vec<Found>> {
        let runs = on_all_cores(&self.settings, |&setting| {
            let run = self.at(setting, PATIENCE).on_machine(machine)?;
            Ok(run.is_done().then_some(Found { setting, run }))
        })?;
        Ok(runs.into_iter().flatten().collect())
    }
}

/// A run that reached the target, and its setting.
#[derive(Clone)]
struct Found {
    setting: Setting,
    run: Run,
}

/// A run by a scheduler, and its setting.
struct Held {
    setting: Setting,
    held: Scheduled,
}

/// The run of the best setting: the one with the least product of time and money.
fn best(runs: &[Found]) -> Option<&Found> {
    let worth = |found: &&Found| found.run.time_s * found.run.cost.dollars();
    runs.iter().min_by(|a, b| worth(a).total_cmp(&worth(b)))
}

/// The results of the toy example for one speed of the workload.
pub struct Story {
    /// A row for each method.
    pub rows: Vec<Row>,
    /// The runs whose curves are drawn.
    pub runs: Vec<(String, Run)>,
    /// The settings that are best for some allocation.
    pub settings: Vec<Setting>,
    /// The sentences beside the table.
    pub says: Vec<String>,
}

impl Toy {
    /// Runs all of it, for a workload of this name.
    ///
    /// # Errors
    ///
    /// Returns the errors of the simulation, the trainer and the schedulers.
    pub fn story(&self, name: &str) -> Result<Story> {
        let mut story =
            Story { rows: Vec::new(), runs: Vec::new(), settings: Vec::new(), says: Vec::new() };
        let twenty = self.constant(20)?;
        story.add(name, "20 functions", best(&twenty));
        let many = self.constant(150)?;
        story.add(name, "150 functions", best(&many));
        let most = best(&many);
        let mut constant = [twenty.clone(), many.clone()].concat();
        for functions in [10, 50] {
            let found = self.constant(functions)?;
            story.settle(best(&found));
            constant.extend(found);
        }
        let settings = story.settings.clone();
        let talk = self.schedule([120, 20, 10], &settings)?;
        story.add(name, "X functions of the talk", best(&talk));
        let found = on_all_cores(&self.schedules, |&of| self.schedule(of, &settings))?.concat();
        // The question of the talk: is anything as cheap as 20 functions, and faster?
        let budget = best(&twenty).map(|found| found.run.cost);
        let affordable = |found: &&Found| budget.is_some_and(|budget| found.run.cost <= budget);
        let fastest = |of: &[Found]| {
            let by_time = |a: &&Found, b: &&Found| a.run.time_s.total_cmp(&b.run.time_s);
            of.iter().filter(affordable).min_by(by_time).cloned()
        };
        let (constant, found) = (fastest(&constant), fastest(&found));
        if let Some(constant) = &constant {
            story.add(name, "best constant number at that cost", Some(constant));
            // It is often one of those above, and too many curves cannot be read.
            story.runs.pop();
        }
        if let Some(found) = &found {
            story.add(name, "best schedule found at that cost", Some(found));
        }
        for (of, at) in [(best(&twenty), "at that cost"), (most, "at the cost of 150")] {
            let Some(Found { run: of, .. }) = of else { continue };
            let settings = &settings[..self.scheduled.min(settings.len())];
            if settings.is_empty() {
                continue;
            }
            for by in By::ALL {
                let held = self.scheduled(by, of.cost, settings)?;
                story.add_scheduled(name, &format!("{by} {at}"), &held, of);
            }
        }
        // The same over objects on S3, where aggregators apply the updates.
        if let Some(found) = best(&twenty) {
            let scheduler = FixedScheduler::new(20, MEMORY_MB);
            story.over_objects(self, name, "20 functions, over objects", found, scheduler, 20)?;
        }
        if let Some(found) = &found {
            let of = |at: usize| found.run.record.epochs.get(at).map_or(1, |epoch| epoch.workers);
            let last = found.run.record.epochs.len().saturating_sub(1);
            let scheduler = PhasedScheduler::new(of(0), of(1.min(last)), of(last), MEMORY_MB);
            let what = "best schedule found, over objects";
            story.over_objects(self, name, what, found, scheduler, of(0))?;
        }
        story.add(name, "EC2 c5.2xlarge", best(&self.machine(&Machine::c5_2xlarge())?));
        story.judge(best(&twenty), best(&talk), constant.as_ref(), found.as_ref());
        Ok(story)
    }
}

impl Story {
    fn add(&mut self, name: &str, platform: &str, found: Option<&Found>) {
        self.settle(found);
        match found {
            Some(Found { run, .. }) => {
                self.rows.push(Row::new(name, platform, run));
                self.runs.push((platform.into(), run.clone()));
            }
            None => self.says.push(format!(
                "{platform}: no setting that was tried reaches the target within {PATIENCE} epochs."
            )),
        }
    }

    /// Adds the fastest of the runs that reached the target within the budget. If none did, adds
    /// the cheapest one that reached it, or else the one with the lowest loss.
    fn add_scheduled(&mut self, name: &str, platform: &str, all: &[Held], other: &Run) {
        let worth = |Held { held, .. }: &Held| match (held.succeeded(), held.run.is_done()) {
            (true, _) => (0, held.run.time_s),
            (false, true) => (1, held.run.cost.dollars()),
            (false, false) => (2, held.run.record.outcome.evaluation.loss),
        };
        let best = all.iter().min_by(|a, b| worth(a).partial_cmp(&worth(b)).unwrap_or(Less));
        let Some(Held { setting, held }) = best else { return };
        self.rows.push(Row::scheduled(name, platform, held));
        self.runs.push((platform.into(), held.run.clone()));
        let (time_s, cost_usd) = held.probing();
        self.says.push(format!(
            "{platform}, compared with it: {}{}. Probing took {} s and ${} of this, with batches of {}, {} local \
             steps and a rate of {}.",
            beside(&held.run, other),
            match (held.succeeded(), held.run.is_done()) {
                (true, _) => "",
                (false, true) => ", over the budget",
                (false, false) => ", and the target is missed",
            },
            rows::digits(time_s),
            rows::digits(cost_usd),
            setting.batch_size,
            setting.local_steps,
            setting.rate,
        ));
    }

    /// Repeats a run over objects. Updates are applied later there, so lower learning rates are
    /// tried too. If all miss the target, the row says so.
    fn over_objects(
        &mut self,
        toy: &Toy,
        name: &str,
        platform: &str,
        found: &Found,
        scheduler: impl Scheduler + Clone + Sync + 'static,
        workers: u32,
    ) -> Result<()> {
        // A schedule has a fixed number of epochs.
        let epochs = found.run.record.epochs.len() as u64;
        let epochs = if found.run.is_constant() { PATIENCE } else { epochs };
        let runs = on_all_cores(&[1.0, 0.3, 0.1], |factor| {
            let setting = Setting { rate: found.setting.rate * factor, ..found.setting };
            let job = toy.at(setting, epochs);
            job.over_objects(scheduler.clone(), &toy.simulation, workers, CYCLE)
        })?;
        let worth = |run: &&Run| {
            let missed = if run.is_done() { 0.0 } else { run.record.outcome.evaluation.loss };
            (missed, run.time_s * run.cost.dollars())
        };
        let best = runs.iter().min_by(|a, b| worth(a).partial_cmp(&worth(b)).unwrap_or(Less));
        self.rows.extend(best.map(|run| Row::new(name, platform, run)));
        Ok(())
    }

    fn settle(&mut self, found: Option<&Found>) {
        if let Some(found) = found
            && !self.settings.contains(&found.setting)
        {
            self.settings.push(found.setting);
        }
    }

    /// Adds sentences that compare a changing number of functions with constant ones.
    fn judge(
        &mut self,
        twenty: Option<&Found>,
        talk: Option<&Found>,
        constant: Option<&Found>,
        found: Option<&Found>,
    ) {
        let Some(twenty) = twenty else { return };
        if let Some(talk) = talk {
            let faster = talk.run.time_s < twenty.run.time_s;
            let cheaper = talk.run.cost <= twenty.run.cost;
            let verdict = match (faster, cheaper) {
                (true, true) => "wins against 20 functions",
                (true, false) => "is faster than 20 functions, and more expensive",
                (false, true) => "is cheaper than 20 functions, and slower",
                (false, false) => "loses against 20 functions",
            };
            self.says.push(format!(
                "With requests counted, the talk's schedule {verdict}: {}.",
                beside(&talk.run, &twenty.run)
            ));
        }
        self.says.push(match (constant, found) {
            (Some(constant), Some(found)) => format!(
                "At no more than the cost of 20 functions, the fastest schedule of those searched, \
                 beside the fastest constant number: {}.",
                beside(&found.run, &constant.run)
            ),
            _ => "No schedule of those searched is as cheap as 20 functions.".into(),
        });
    }
}

/// Time and money of one run, compared with those of another.
fn beside(run: &Run, other: &Run) -> String {
    let less = 1.0 - run.time_s / other.time_s;
    format!(
        "{:.1} % {} time at {:.2} times the cost",
        less.abs() * 100.0,
        if less >= 0.0 { "less" } else { "more" },
        run.cost.dollars() / other.cost.dollars(),
    )
}
