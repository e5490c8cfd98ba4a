//! Many environments at once.

use std::sync::Arc;

use rand::Rng;
use serde::{Deserialize, Serialize};
use siren_core::{Allocation, Error, Result, Seed};

use super::{Environment, SavedEnvironment, Step};
use crate::state::State;
use crate::task::SchedulingTask;

/// Many environments that are stepped together. One whose episode is over begins the next one by
/// itself, with a task that it draws from the list.
///
/// Each environment has its own stream of random numbers, so that what happens to it depends on neither
/// the number of environments nor on who steps which of them on which thread.
#[derive(Clone, Debug)]
pub struct VectorEnvironment {
    tasks: Arc<[Arc<SchedulingTask>]>,
    environments: Vec<Slot>,
}

#[derive(Clone, Debug)]
struct Slot {
    task: usize,
    environment: Environment,
}

/// Where a [`VectorEnvironment`] is, to go on from there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedVectorEnvironment(Vec<(usize, SavedEnvironment)>);

impl SavedVectorEnvironment {
    /// The number of environments.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl VectorEnvironment {
    /// So many environments, from number `first` of all that belong to this seed.
    ///
    /// # Errors
    ///
    /// Rejected when there is no task, or one that no job can be scheduled on.
    pub fn new(
        tasks: &[Arc<SchedulingTask>],
        count: usize,
        first: u64,
        seed: Seed,
    ) -> Result<Self> {
        if tasks.is_empty() {
            return Err(Error::rejected(
                "there is no task to draw episodes from: give one or more",
            ));
        }
        tasks.iter().try_for_each(|task| task.check())?;
        let tasks: Arc<[_]> = tasks.into();
        let environments = (first..first + count as u64).map(|number| {
            let mut environment = Environment::new(Arc::clone(&tasks[0]), seed.child(number));
            let task = draw(&tasks, &mut environment);
            Slot { task, environment }
        });
        Ok(Self { environments: environments.collect(), tasks })
    }

    /// The number of environments.
    pub fn len(&self) -> usize {
        self.environments.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.environments.is_empty()
    }

    /// The state and the task of each environment.
    pub fn states(&self) -> impl ExactSizeIterator<Item = (&State, &Arc<SchedulingTask>)> {
        self.environments.iter().map(|slot| (slot.environment.state(), slot.environment.task()))
    }

    /// The state of one environment, and the number of its task in the list.
    ///
    /// # Panics
    ///
    /// When there is no such environment.
    pub fn state(&self, environment: usize) -> (&State, usize) {
        let slot = &self.environments[environment];
        (slot.environment.state(), slot.task)
    }

    /// Begins an episode in each environment.
    pub fn reset(&mut self) {
        for slot in &mut self.environments {
            slot.task = draw(&self.tasks, &mut slot.environment);
        }
    }

    /// Runs an epoch in each environment. Where an episode is over, the step holds its last state, and
    /// [`states`](Self::states) the first one of the next episode.
    ///
    /// # Panics
    ///
    /// When there are not as many actions and steps as environments.
    pub fn step(&mut self, actions: &[Allocation], steps: &mut [Step]) {
        assert_eq!(actions.len(), self.len(), "an action for each environment");
        assert_eq!(steps.len(), self.len(), "a step for each environment");
        for ((slot, &action), step) in self.environments.iter_mut().zip(actions).zip(steps) {
            slot.environment.advance(action, step);
            if step.done() {
                slot.task = draw(&self.tasks, &mut slot.environment);
            }
        }
    }

    /// Where it is.
    pub fn save(&self) -> SavedVectorEnvironment {
        let saved = self.environments.iter().map(|slot| (slot.task, slot.environment.save()));
        SavedVectorEnvironment(saved.collect())
    }

    /// Goes on from there, with the tasks that it was saved with.
    ///
    /// # Errors
    ///
    /// Corrupt when it was saved with more tasks.
    pub fn restore(&mut self, saved: SavedVectorEnvironment) -> Result<()> {
        let environments = saved.0.into_iter().map(|(task, saved)| {
            let of = self.tasks.get(task).ok_or_else(|| {
                Error::new(
                    siren_core::ErrorKind::Corrupt,
                    format!("an environment has task {task}, of {}", self.tasks.len()),
                )
            })?;
            let mut environment = Environment::new(Arc::clone(of), Seed::new(0));
            environment.restore(Arc::clone(of), saved);
            Ok(Slot { task, environment })
        });
        self.environments = environments.collect::<Result<_>>()?;
        Ok(())
    }
}

/// Begins an episode with one of the tasks.
fn draw(tasks: &[Arc<SchedulingTask>], environment: &mut Environment) -> usize {
    let task = match tasks.len() {
        1 => 0,
        // As many tasks as fit into memory make no bias worth a loop.
        count => (environment.rng.next_u64() % count as u64) as usize,
    };
    environment.reset_to(Arc::clone(&tasks[task]), None);
    task
}
