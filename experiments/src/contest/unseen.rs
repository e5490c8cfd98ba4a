//! One agent for jobs and budgets that it has not seen.

use std::sync::Arc;

use serde::Serialize;
use siren_core::Result;
use siren_drl::agent::{Agent, Training, TrainingSettings};
use siren_drl::{JobModel, SchedulingTask, Score, optimum, sample_tasks};

use super::{ENOUGH, Terms};
/// Jobs that the agent is trained on, and others that it is judged on.
const TRAINED: usize = 64;
const JUDGED: usize = 24;

/// The largest relative change of each parameter of a job.
const SPREAD: f64 = 0.3;
/// The smallest budget, in multiples of the job's least cost.
const LEAST: f64 = 1.5;

/// The largest budget.
const MOST_USD: f64 = 400.0;

/// A job that the agent was not trained on.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Stranger {
    /// Its budget.
    pub budget_usd: f64,
    /// An agent that knows the job's model.
    pub told: Judgement,
    /// An agent that starts with the profile's model, and corrects it during the job.
    pub untold: Judgement,
    /// The planner, which knows the job's model.
    pub planner: Judgement,
}

/// The result of a scheduler on a job.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Judgement {
    /// Seconds divided by the lower bound of all schedules in expectation, minus 1; infinite if it
    /// fails too often.
    pub gap: f64,
    /// The share of episodes that succeed.
    pub success: f64,
}

/// Trains an agent on jobs like the profile's, each parameter off by up to 30 %, with budgets from
/// 1.5 times the job's least cost to $400. Judges it on others.
///
/// # Errors
///
/// Returns the errors of the training and of the schedulers.
pub fn measure(terms: &Terms, settings: TrainingSettings) -> Result<(Agent, Vec<Stranger>)> {
    let seed = terms.seed.child(4);
    let model = JobModel { target_loss: terms.task.target_loss, ..terms.model.clone() };
    let jobs =
        |count, number| sample_tasks(&model, SPREAD, LEAST, MOST_USD, count, seed.child(number));
    let tasks: Vec<Arc<SchedulingTask>> = jobs(TRAINED, 0)?.into_iter().map(Arc::new).collect();
    // Many jobs need more steps than one.
    let settings = TrainingSettings { steps: settings.steps * 5 / 3, ..settings };
    let mut training = Training::new(&tasks, settings, seed.child(2))?;
    training.run()?;
    let agent = training.agent()?;
    let strangers = jobs(JUDGED, 1)?.into_iter().map(|task| judge(terms, &agent, &task));
    let strangers = strangers.collect::<Result<_>>()?;
    Ok((agent, strangers))
}

fn judge(terms: &Terms, agent: &Agent, task: &SchedulingTask) -> Result<Stranger> {
    let lower_s = optimum(task)?.lower_s;
    let task = Arc::new(task.clone());
    let of = |score: Score| Judgement {
        // An early failure is not a short time.
        gap: if score.success < ENOUGH { f64::INFINITY } else { score.time_s / lower_s - 1.0 },
        success: score.success,
    };
    let told = of(Score::of(&agent.play(&task, terms.episodes, terms.judged())?));
    let episodes = (terms.episodes / 10).max(1);
    let untold =
        Score::measure(|| agent.scheduler(terms.model.clone()), &task, episodes, terms.judged())?;
    let planner = siren_drl::Planner::with_belief(siren_drl::Belief::new(Arc::clone(&task.job)))
        .prepared(&task.as_job())?;
    let planner = Score::measure(|| planner.clone(), &task, terms.episodes, terms.judged())?;
    Ok(Stranger { budget_usd: task.budget_usd, told, untold: of(untold), planner: of(planner) })
}

/// The sentences about the results.
pub fn says(strangers: &[Stranger]) -> Vec<String> {
    let line = |name: &str, of: fn(&Stranger) -> Judgement| {
        let mut gaps: Vec<f64> =
            strangers.iter().map(|stranger| of(stranger).gap * 100.0).collect();
        gaps.sort_by(f64::total_cmp);
        let success = strangers.iter().map(|stranger| of(stranger).success).sum::<f64>();
        let least = strangers.iter().map(|stranger| of(stranger).success).fold(1.0, f64::min);
        let count = gaps.len().max(1);
        let within = gaps.iter().filter(|gap| **gap <= 8.0).count();
        format!(
            "{name}: median gap {:.1} %, largest {:.1} %, at most 8 % in {within} of {count}; success {:.1} % on \
             average, {:.1} % at the least",
            gaps.get(count / 2).copied().unwrap_or_default(),
            gaps.last().copied().unwrap_or_default(),
            100.0 * success / count as f64,
            100.0 * least,
        )
    };
    vec![
        format!(
            "One agent, trained on {TRAINED} jobs like this one (each parameter changed by up to {:.0} %, budgets \
             from {LEAST} times a job's least cost to ${MOST_USD}), on {} others:",
            SPREAD * 100.0,
            strangers.len()
        ),
        line("  the agent, with the job's model", |stranger| stranger.told),
        line(
            "  the agent, with the profile's model, which it corrects (a tenth of the episodes)",
            |stranger| stranger.untold,
        ),
        line("  the planner, with the job's model", |stranger| stranger.planner),
    ]
}
