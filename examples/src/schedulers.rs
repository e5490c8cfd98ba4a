//! Schedulers, as the flags `--scheduler` and `--schedule` name them.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use siren_core::platform::EpochShape;
use siren_core::{Allocation, DataSource, Error, Platform, Profile, Result, Scheduler, StepTime};
use siren_drl::agent::Agent;
use siren_drl::{Adaptive, Bounds, JobModel};
use siren_hsp::{Config, FixedScheduler, PhasedScheduler};

use crate::Flags;

/// The most simulated functions that a planner or an agent chooses by default. With more, updates
/// are too stale for small models to learn from.
pub const MOST: u32 = 100;

/// A kind of scheduler.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Kind {
    /// The same allocation in every epoch.
    Fixed,
    /// Numbers of workers for the first epoch, those between and the last.
    Schedule,
    /// A plan for the rest of the job, computed again before each epoch.
    Planner,
    /// The trained policy in a file.
    Agent(PathBuf),
}

/// Workers in the first epoch, in those between, and in the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turns(pub [u32; 3]);

impl Turns {
    /// The most workers of an epoch.
    pub fn most(self) -> u32 {
        self.0.into_iter().max().unwrap_or_default()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed => f.write_str("fixed"),
            Self::Schedule => f.write_str("schedule"),
            Self::Planner => f.write_str("planner"),
            Self::Agent(file) => write!(f, "agent:{}", file.display()),
        }
    }
}

impl From<Kind> for String {
    fn from(kind: Kind) -> Self {
        kind.to_string()
    }
}

impl TryFrom<String> for Kind {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        kind(&text)
    }
}

/// Reads a scheduler: fixed, schedule, planner or agent:FILE.
///
/// # Errors
///
/// The values that it may have.
pub fn kind(text: &str) -> Result<Kind, String> {
    match text.split_once(':') {
        None if text == "fixed" => Ok(Kind::Fixed),
        None if text == "schedule" => Ok(Kind::Schedule),
        None if text == "planner" => Ok(Kind::Planner),
        Some(("agent", file)) if !file.is_empty() => Ok(Kind::Agent(file.into())),
        _ => Err("give fixed, schedule, planner or agent:FILE".into()),
    }
}

/// Reads three numbers of workers.
///
/// # Errors
///
/// The values that they may have.
pub fn turns(text: &str) -> Result<Turns, String> {
    let numbers: Result<Vec<u32>, _> =
        text.split(',').map(|number| number.trim().parse()).collect();
    let three = numbers.ok().and_then(|numbers| numbers.try_into().ok());
    three
        .map(Turns)
        .ok_or_else(|| "give three numbers of workers: first, between, last, such as 12,4,2".into())
}

/// The platform of a run on this machine, without any delay. More memory does not make a worker
/// faster here.
pub fn this_machine() -> Profile {
    let mut platform = Platform::local();
    platform.limits.memory_per_vcpu_mb = f64::from(platform.limits.memory_min_mb);
    platform.limits.vcpus_max = 1.0;
    Profile { platform, ..Profile::instant() }
}

/// The expected behaviour of a platform, before a run.
pub struct Belief {
    /// Times, limits and prices.
    pub profile: Profile,
    /// Time of a step on one vCPU.
    pub step: StepTime,
}

impl Belief {
    /// Returns the scheduler of the flags, for a model of `parameters` parameters and this data.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected) when the flags contradict
    /// one another or exceed the limits of the platform, and the errors of the data.
    pub async fn scheduler(
        &self,
        flags: &Flags,
        config: &Config,
        parameters: usize,
        train: &dyn DataSource,
    ) -> Result<Box<dyn Scheduler>> {
        let platform = &self.profile.platform;
        let Allocation { workers, memory_mb, .. } = flags.allocation();
        let kind = flags.scheduler();
        if flags.schedule.is_some() && kind != Kind::Schedule {
            return Err(Error::rejected(format!(
                "--schedule cannot be used with --scheduler {kind}: give one of them"
            )));
        }
        match kind {
            Kind::Fixed => {
                Allocation::new(workers, memory_mb).check(platform)?;
                Ok(Box::new(FixedScheduler::new(workers, memory_mb)))
            }
            Kind::Schedule => {
                let Some(Turns([first, between, last])) = flags.schedule else {
                    return Err(Error::rejected(
                        "--scheduler schedule needs numbers of workers: give --schedule \
                         FIRST,BETWEEN,LAST",
                    ));
                };
                for workers in [first, between, last] {
                    Allocation::new(workers, memory_mb).check(platform)?;
                }
                Ok(Box::new(PhasedScheduler::new(first, between, last, memory_mb)))
            }
            Kind::Planner => {
                let model = self.model(flags, config, parameters, train).await?;
                let bounds = bounds(flags, platform, &model)?;
                Ok(Box::new(Adaptive::planner(model).with_bounds(bounds)))
            }
            Kind::Agent(file) => {
                if config.stop.budget.is_none() {
                    return Err(Error::rejected(
                        "--scheduler agent:FILE needs a budget: give --budget, or --scheduler planner",
                    ));
                }
                let agent = Agent::load(&file)?;
                let model = self.model(flags, config, parameters, train).await?;
                let bounds = bounds(flags, platform, &model)?;
                let led = Adaptive::new(model, move |belief, bounds| {
                    let learned = agent.scheduler_with_belief(belief);
                    Box::new(match bounds {
                        Some(bounds) => learned.with_bounds(bounds),
                        None => learned,
                    })
                });
                Ok(Box::new(led.with_bounds(bounds)))
            }
        }
    }

    /// Returns a model of the job, predicted from the platform and the config.
    async fn model(
        &self,
        flags: &Flags,
        config: &Config,
        parameters: usize,
        train: &dyn DataSource,
    ) -> Result<JobModel> {
        let plan = config.plan(0, 0, train.len(), 1);
        // On this machine data is in memory. A simulated function fetches all bytes of its
        // examples.
        let few = train.len().min(64);
        let data_bytes = match flags.simulated() && few > 0 {
            true => train.fetch(0..few).await?.len() as u64 * train.len() / few,
            false => 0,
        };
        let shape = EpochShape::dense(&plan, parameters as u64, data_bytes);
        let mut model = JobModel::predicted(&self.profile, &shape, &self.step);
        if !flags.simulated() {
            model.compute.places = flags.threads() as f64;
        }
        Ok(model)
    }
}

/// Returns the bounds of a scheduler: the most workers, and the memory sizes that a worker fits
/// into and that make it faster.
fn bounds(flags: &Flags, platform: &Platform, model: &JobModel) -> Result<Bounds> {
    let mut bounds = Bounds::of(platform);
    let least = Allocation::new(flags.most_workers(), bounds.memory_min_mb);
    least.check(platform)?;
    bounds.workers = least.workers;
    let memory_mb = match flags.memory_mb {
        // On this machine more memory costs more and does not make a worker faster.
        None if !flags.simulated() => Some(flags.allocation().memory_mb),
        given => given,
    };
    if let Some(memory_mb) = memory_mb {
        platform.check_memory(memory_mb)?;
        (bounds.memory_min_mb, bounds.memory_max_mb) = (memory_mb, memory_mb);
    }
    while f64::from(bounds.memory_min_mb) < model.compute.memory_mb && bounds.sizes() > 1 {
        bounds.memory_min_mb += bounds.memory_step_mb;
    }
    if model.compute.parallel_share == 0.0 {
        let vcpu = platform.limits.memory_per_vcpu_mb;
        let enough = (0..bounds.sizes()).find(|&size| f64::from(bounds.memory_mb(size)) >= vcpu);
        bounds.memory_max_mb = enough.map_or(bounds.memory_max_mb, |size| bounds.memory_mb(size));
    }
    Ok(bounds)
}

#[cfg(test)]
mod tests {
    use siren_core::{Job, Observation, Usd};
    use siren_data::MemorySource;

    use super::*;

    fn schedule(flags: &Flags) -> Result<Box<dyn Scheduler>> {
        let belief = Belief {
            profile: match flags.simulated() {
                true => Profile::aws_lambda(),
                false => this_machine(),
            },
            step: StepTime::per_example(1e-3),
        };
        let train = MemorySource::from_floats(&[0.5; 2_000], 2)?;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(belief.scheduler(flags, &flags.config("test"), 1_000, &train))
    }

    fn first(flags: &Flags, budget: Option<f64>) -> Allocation {
        let platform = match flags.simulated() {
            true => Platform::aws_lambda(),
            false => Platform::local(),
        };
        let job = Job {
            target_loss: flags.target_loss,
            budget: budget.map(Usd::new),
            ..Job::new(1_000, 1_000 / flags.config("test").batch_size, platform)
        };
        let observation = Observation { budget_left: job.budget, ..Observation::first(1.0) };
        schedule(flags).unwrap().allocate(&job, &observation).unwrap()
    }

    #[test]
    fn a_scheduler_reads_back_as_it_is_written() {
        for text in ["fixed", "schedule", "planner", "agent:a:b.json"] {
            let kind = kind(text).unwrap();
            assert_eq!(kind.to_string(), text);
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(serde_json::from_str::<Kind>(&json).unwrap(), kind);
        }
        for text in ["", "plan", "agent", "agent:", "planner:x"] {
            assert!(kind(text).unwrap_err().contains("agent:FILE"), "{text}");
        }
        assert_eq!(turns("12, 4,2"), Ok(Turns([12, 4, 2])));
        for text in ["", "12,4", "1,2,3,4", "1,2,x", "-1,2,3"] {
            assert!(turns(text).unwrap_err().contains("12,4,2"), "{text}");
        }
    }

    #[test]
    fn a_resumed_run_keeps_its_scheduler_unless_another_is_given() {
        let saved = Flags { schedule: Some(Turns([12, 4, 2])), ..Flags::default() };
        assert_eq!(Flags::default().or(saved.clone()).scheduler(), Kind::Schedule);
        let planner = Flags { scheduler: Some(Kind::Planner), ..Flags::default() };
        let other = planner.clone().or(saved.clone());
        assert_eq!((other.scheduler(), other.schedule), (Kind::Planner, None));
        assert_eq!(saved.or(planner).scheduler(), Kind::Schedule);
    }

    #[test]
    fn contradictions_and_exceeded_limits_are_named() {
        let refused = |flags: Flags| match schedule(&flags) {
            Ok(_) => panic!("{flags:?} was accepted"),
            Err(error) => error.message().to_owned(),
        };
        let none = Flags::default;
        let planner = || Flags { scheduler: Some(Kind::Planner), ..none() };
        let turns = |turns| Some(Turns(turns));
        assert!(
            refused(Flags { scheduler: Some(Kind::Schedule), ..none() }).contains("FIRST,BETWEEN")
        );
        assert!(refused(Flags { schedule: turns([1, 1, 1]), ..planner() }).contains("planner"));
        assert!(refused(Flags { schedule: turns([4, 0, 1]), ..none() }).contains("workers is 0"));
        assert!(refused(Flags { workers: Some(0), ..planner() }).contains("workers is 0"));
        assert!(refused(Flags { memory_mb: Some(1), ..planner() }).contains("1 MB of memory"));
        let agent = Flags { scheduler: Some(Kind::Agent("x".into())), ..none() };
        assert!(refused(agent).contains("give --budget"));
    }

    #[test]
    fn a_planner_keeps_within_workers_and_memory_with_or_without_budget_and_target() {
        for (budget, target_loss) in
            [(None, None), (Some(0.001), None), (None, Some(0.5)), (Some(0.001), Some(0.5))]
        {
            let scheduler = Some(Kind::Planner);
            let here = Flags { scheduler, target_loss, threads: Some(3), ..Flags::default() };
            let to = first(&here, budget);
            assert!(to.workers <= 3 && to.memory_mb == 1_792, "{to:?}");
            let there = Flags { simulate: true, ..here };
            let to = first(&there, budget);
            println!("{budget:?} {target_loss:?}: {to:?}");
            assert!(to.workers <= MOST && to.memory_mb <= 1_792, "{to:?}");
            let given = Flags { workers: Some(7), memory_mb: Some(512), ..there };
            let to = first(&given, budget);
            assert!(to.workers <= 7 && to.memory_mb == 512, "{to:?}");
        }
    }
}
