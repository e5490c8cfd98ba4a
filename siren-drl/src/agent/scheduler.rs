//! A trained policy as a scheduler.

use std::sync::Arc;

use siren_core::{Allocation, Job, Observation, Outcome, Result, Scheduler};

use super::Agent;
use super::policy::Policy;
use super::view::View;
use crate::belief::Belief;
use crate::bounds::Bounds;
use crate::state::State;

/// A trained [`Agent`] as the scheduler of a running job: it takes the mean action in each state.
/// Observations correct its belief about the job, as they correct the
/// [`Planner`](crate::Planner)'s.
///
/// A job needs a budget. A job without a target loss that its model reaches is scheduled for the
/// epochs that remain. There are never more workers than batches.
#[derive(Clone)]
pub struct AgentScheduler {
    policy: Policy,
    belief: Belief,
    bounds: Option<Bounds>,
    known: Option<(Job, View)>,
}

impl AgentScheduler {
    pub(super) fn new(agent: &Agent, belief: Belief) -> Self {
        Self { policy: agent.policy.clone(), belief, bounds: None, known: None }
    }

    /// Keeps within these bounds, in addition to the platform's limits.
    #[must_use]
    pub fn with_bounds(self, bounds: Bounds) -> Self {
        Self { bounds: Some(bounds), known: None, ..self }
    }

    /// The belief about the job.
    pub fn belief(&self) -> &Belief {
        &self.belief
    }

    fn learn_of(&self, job: &Job) -> Result<View> {
        job.platform.check()?;
        let mut bounds = self.bounds.unwrap_or_else(|| Bounds::of(&job.platform));
        bounds.check(&job.platform)?;
        bounds.workers = bounds.workers.min(u32::try_from(job.batches).unwrap_or(u32::MAX)).max(1);
        View::of(&**self.belief.model(), job, bounds)
    }
}

impl Scheduler for AgentScheduler {
    fn allocate(&mut self, job: &Job, observation: &Observation) -> Result<Allocation> {
        let view = match self.known.take() {
            Some((known, view)) if known == *job => view,
            _ => self.learn_of(job)?,
        };
        let budget_left = observation.budget_left.or(job.budget);
        let state = State::observed(&Observation { budget_left, ..observation.clone() });
        self.belief.observe(&state);
        let action = self.policy.mean(&view, &self.belief, &state);
        let allocation = view.allocation(&self.belief, action);
        self.known = Some((job.clone(), view));
        allocation.check(&job.platform)?;
        Ok(allocation)
    }

    fn predict_allocation(&self, _: &Job, _: u64) -> Option<Allocation> {
        None
    }

    fn finish(&mut self, _: &Outcome) {
        self.belief.reset();
    }
}

impl Agent {
    /// The agent as a scheduler for a job that behaves roughly as `model` says.
    pub fn scheduler(&self, model: impl crate::model::Dynamics + 'static) -> AgentScheduler {
        AgentScheduler::new(self, Belief::new(Arc::new(model)))
    }

    /// The agent as a scheduler that starts with this belief.
    pub fn scheduler_with_belief(&self, belief: Belief) -> AgentScheduler {
        AgentScheduler::new(self, belief)
    }
}
