//! Agents, trained from several seeds.

use std::path::Path;
use std::sync::Arc;

use cpu_time::ThreadTime;
use serde::Serialize;
use siren_backend_local::WallClock;
use siren_core::{Allocation, Clock, ErrorKind, Result, Scheduler};
use siren_drl::agent::{Agent, Evaluation, Training, TrainingSettings};
use siren_drl::{Environment, SchedulingTask};

use super::{ENOUGH, Entry, Terms};

/// The largest gap to the optimum that counts as near, for the time until then.
pub const NEAR: f64 = 0.05;

/// One training.
#[derive(Clone, Copy, Debug)]
pub struct Lesson {
    /// Dollars.
    pub budget_usd: f64,
    /// The lower bound of all schedules, in seconds.
    pub lower_s: f64,
    /// The number of the seed.
    pub seed: u64,
    /// The settings of the training.
    pub settings: TrainingSettings,
}

impl Lesson {
    /// `true` if training started with an imitation of the planner.
    pub fn is_warm(&self) -> bool {
        self.settings.warm_start > 0
    }

    /// A name for a folder.
    pub fn name(&self) -> String {
        let start = if self.is_warm() { "warm" } else { "scratch" };
        format!("{}_{start}_{}", self.budget_usd, self.seed)
    }
}

/// The result of a training.
#[derive(Debug)]
pub struct Pupil {
    /// The training.
    pub lesson: Lesson,
    /// The agent of the best evaluation.
    pub agent: Agent,
    /// The result of the agent in the judged episodes.
    pub entry: Entry,
    /// The evaluations during training, on episodes for validation.
    pub evaluations: Vec<Evaluation>,
    /// Steps of environments.
    pub steps: u64,
    /// Seconds of one core for training, evaluations and imitation included.
    pub seconds: f64,
    /// Seconds of one core until an evaluation was [near](NEAR) the optimum.
    pub seconds_until_near: Option<f64>,
}

/// A seed in `scheduler.json`.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct SeedRow {
    /// Its number.
    pub seed: u64,
    /// Dollars.
    pub budget_usd: f64,
    /// Seconds divided by the optimum's lower bound, minus 1; `None` if no episode succeeded.
    pub gap: Option<f64>,
    /// The share of the judged episodes that succeeded.
    pub success: f64,
    /// The gap on the episodes for validation, which selects the median agent.
    pub validation_gap: Option<f64>,
    /// The share of the episodes for validation that succeeded.
    pub validation_success: f64,
}

impl Pupil {
    /// The evaluation that the agent is from.
    pub fn best(&self) -> Option<&Evaluation> {
        self.evaluations.iter().rfind(|evaluation| evaluation.best)
    }

    /// The gap of an evaluation that succeeds; infinite if it does not.
    pub fn gap(&self, evaluation: &Evaluation) -> f64 {
        let score = &evaluation.score;
        let gap = score.time_s / self.lesson.lower_s - 1.0;
        if score.success >= ENOUGH { gap } else { f64::INFINITY }
    }

    /// The gap, or infinity if too few episodes succeed.
    pub fn counted(&self) -> f64 {
        if self.entry.succeeds() { self.entry.gap } else { f64::INFINITY }
    }

    /// The row of this training in `scheduler.json`.
    pub fn row(&self) -> SeedRow {
        let success = self.entry.score.success;
        let best = self.best();
        let validation = best.map_or(0.0, |best| best.score.success);
        SeedRow {
            seed: self.lesson.seed,
            budget_usd: self.lesson.budget_usd,
            gap: (success > 0.0).then_some(self.entry.gap),
            success,
            validation_gap: best
                .filter(|best| best.score.success > 0.0)
                .map(|best| best.score.time_s / self.lesson.lower_s - 1.0),
            validation_success: validation,
        }
    }
}

/// Trains an agent and judges it. Returns `None` if no constant allocation is within the budget,
/// because rewards are relative to one. Calls `after` with the number of steps of each iteration.
///
/// # Errors
///
/// Returns the errors of the training.
pub fn teach(
    terms: &Terms,
    lesson: Lesson,
    folder: &Path,
    mut after: impl FnMut(u64),
) -> Result<Option<Pupil>> {
    // One thread does all of it, and may share its core with others.
    let started = ThreadTime::now();
    let passed = || started.elapsed().as_secs_f64();
    let task = terms.task(lesson.budget_usd);
    let seed = terms.trained(lesson.seed);
    let training = match Training::new(&[Arc::clone(&task)], lesson.settings, seed) {
        Err(error) if error.kind() == ErrorKind::Budget => return Ok(None),
        training => training?,
    };
    let mut training = training.log_to(folder.join(lesson.name()))?;
    let mut seconds_until_near = None;
    while !training.is_done() {
        let before = training.steps();
        let evaluation = training.iterate()?;
        let is_near = evaluation.is_some_and(|evaluation| {
            let score = &evaluation.score;
            score.success >= ENOUGH && score.time_s <= (1.0 + NEAR) * lesson.lower_s
        });
        if is_near && seconds_until_near.is_none() {
            seconds_until_near = Some(passed());
        }
        after(training.steps() - before);
    }
    let seconds = passed();
    let agent = training.agent()?;
    let episodes = agent.play(&task, terms.episodes, terms.judged())?;
    Ok(Some(Pupil {
        entry: Entry::of(&episodes, lesson.lower_s),
        agent,
        evaluations: training.evaluations().to_vec(),
        steps: training.steps(),
        seconds,
        seconds_until_near,
        lesson,
    }))
}

/// The median pupil by its gap on the episodes for validation, the better one of two. Pupils that
/// fail there come last.
pub fn middle<'a>(pupils: &[&'a Pupil]) -> Option<&'a Pupil> {
    let mut sorted = pupils.to_vec();
    let gap = |pupil: &Pupil| pupil.best().map_or(f64::INFINITY, |best| pupil.gap(best));
    sorted.sort_by(|a, b| gap(a).total_cmp(&gap(b)));
    sorted.get(sorted.len().saturating_sub(1) / 2).copied()
}

/// The results of all seeds of one budget. Seeds that fail count with an infinite gap, which is
/// `None`.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// Dollars.
    pub budget_usd: f64,
    /// `true` if training started with an imitation of the planner.
    pub warm_start: bool,
    /// Seeds in all.
    pub seeds: usize,
    /// The number of seeds whose agents succeed in at least 95 % of the judged episodes.
    pub succeed: usize,
    /// The gap's lower quartile, median and upper quartile.
    pub gap: [Option<f64>; 3],
}

/// The duration of training, in seconds of one core: medians over the seeds.
#[derive(Clone, Debug, Serialize)]
pub struct Timing {
    /// Dollars.
    pub budget_usd: f64,
    /// `true` if training started with an imitation of the planner.
    pub warm_start: bool,
    /// Steps of environments in a second, evaluations included.
    pub steps_per_s: f64,
    /// Seconds of a training.
    pub seconds: f64,
    /// Seconds until an evaluation was within 5 % of the optimum; `None` if half of the seeds never
    /// were.
    pub seconds_until_near: Option<f64>,
    /// Microseconds of one of the agent's decisions.
    pub decision_us: f64,
    /// Microseconds of one of the planner's.
    pub planner_decision_us: f64,
}

/// The seeds of one budget, all from scratch or all warm-started, in a few numbers.
pub fn summary(pupils: &[&Pupil]) -> Option<Summary> {
    let first = pupils.first()?;
    let gaps: Vec<f64> = pupils.iter().map(|pupil| pupil.counted()).collect();
    Some(Summary {
        budget_usd: first.lesson.budget_usd,
        warm_start: first.lesson.is_warm(),
        seeds: pupils.len(),
        succeed: pupils.iter().filter(|pupil| pupil.entry.succeeds()).count(),
        gap: [0.25, 0.5, 0.75].map(|at| finite(quantile(&gaps, at))),
    })
}

/// The duration of training for the seeds of one budget.
///
/// # Errors
///
/// Returns the errors of the schedulers.
pub fn timing(terms: &Terms, pupils: &[&Pupil]) -> Result<Option<Timing>> {
    let Some(pupil) = middle(pupils) else { return Ok(None) };
    let median = |of: &dyn Fn(&Pupil) -> f64| {
        quantile(&pupils.iter().map(|pupil| of(pupil)).collect::<Vec<_>>(), 0.5)
    };
    let lesson = pupil.lesson;
    let task = terms.task(lesson.budget_usd);
    let mut agent = pupil.agent.scheduler(terms.model.clone()).with_bounds(task.bounds);
    let mut planner = super::baselines::planner(terms, &task);
    Ok(Some(Timing {
        budget_usd: lesson.budget_usd,
        warm_start: lesson.is_warm(),
        steps_per_s: median(&|pupil| pupil.steps as f64 / pupil.seconds),
        seconds: median(&|pupil| pupil.seconds),
        seconds_until_near: finite(median(&|pupil| {
            pupil.seconds_until_near.unwrap_or(f64::INFINITY)
        })),
        decision_us: decision_us(terms, &task, &mut agent)?,
        planner_decision_us: decision_us(terms, &task, &mut planner)?,
    }))
}

/// The median time of a decision, in microseconds, over one episode.
fn decision_us(
    terms: &Terms,
    task: &Arc<SchedulingTask>,
    scheduler: &mut dyn Scheduler,
) -> Result<f64> {
    let clock = WallClock::new();
    let job = task.as_job();
    let mut environment = Environment::new(Arc::clone(task), terms.judged());
    let mut times = Vec::new();
    loop {
        let observation = environment.state().to_observation();
        let begin = clock.now();
        let allocation: Allocation = scheduler.allocate(&job, &observation)?;
        times.push((clock.now() - begin).as_secs_f64() * 1e6);
        if environment.step(allocation).done() {
            return Ok(quantile(&times, 0.5));
        }
    }
}

/// The quantile of the values for this share, interpolated. Infinite values come last.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let at = share * last as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    let part = at.fract();
    // Zero times infinity would be NaN.
    if part == 0.0 { low } else { low * (1.0 - part) + high * part }
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_interpolated_and_failures_come_last() {
        let values = [3.0, 1.0, f64::INFINITY, 2.0];
        assert_eq!(quantile(&values, 0.0), 1.0);
        assert_eq!(quantile(&values, 0.5), 2.5);
        assert_eq!(quantile(&values, 1.0), f64::INFINITY);
        assert_eq!(quantile(&[f64::INFINITY; 2], 0.5), f64::INFINITY);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
