//! Many environments at once.

use std::sync::Arc;

use rand::Rng;
use serde::{Deserialize, Serialize};
use siren_core::{Allocation, Error, Result, Seed};

use super::{Environment, SavedEnvironment, Step};
use crate::state::State;
use crate::task::SchedulingTask;

/// Many environments that are stepped together. At the end of an episode, an environment begins the
/// next one, with a task that it draws from the list.
///
/// Each environment has its own stream of random numbers. Its results depend neither on the number
/// of environments nor on the thread that steps it.
///
/// ```
/// use std::sync::Arc;
/// use siren_core::{Allocation, Seed};
/// use siren_drl::{JobModel, SchedulingTask, Step, VectorEnvironment};
///
/// let model = JobModel::named("seed")?;
/// let tasks = [150.0, 200.0].map(|usd| SchedulingTask::new(model.clone(), usd).map(Arc::new));
/// let tasks = tasks.into_iter().collect::<Result<Vec<_>, _>>()?;
/// let mut environments = VectorEnvironment::new(&tasks, 4, 0, Seed::new(1))?;
/// let actions = [Allocation::new(100, 1_792); 4];
/// let mut steps = [Step::default(); 4];
/// environments.step(&actions, &mut steps);
/// assert!(steps.iter().all(|step| step.reward < 0.0));
/// assert!(environments.states().all(|(state, _)| state.epoch == 1));
/// # Ok::<(), siren_core::Error>(())
/// ```
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

/// The saved state of a [`VectorEnvironment`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedVectorEnvironment(Vec<(usize, SavedEnvironment)>);

impl SavedVectorEnvironment {
    /// The number of environments.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// `true` if there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl VectorEnvironment {
    /// The environments `first` to `first + count - 1` of all that belong to this seed.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected) when there is no task, or
    /// when a task fails [`SchedulingTask::check`].
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

    /// `true` if there is none.
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
    /// Panics if there is no such environment.
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

    /// Runs an epoch in each environment. At the end of an episode, the step holds its last state,
    /// and [`states`](Self::states) the first one of the next episode.
    ///
    /// # Panics
    ///
    /// Panics unless there is one action and one step for each environment.
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

    /// Saves the state of all environments.
    pub fn save(&self) -> SavedVectorEnvironment {
        let saved = self.environments.iter().map(|slot| (slot.task, slot.environment.save()));
        SavedVectorEnvironment(saved.collect())
    }

    /// Continues from a saved state, with the tasks that it was saved with.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Corrupt`](siren_core::ErrorKind::Corrupt) when it was saved with more
    /// tasks.
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
        // With any number of tasks that fits into memory, the bias is not worth a loop.
        count => (environment.rng.next_u64() % count as u64) as usize,
    };
    environment.reset_to(Arc::clone(&tasks[task]), None);
    task
}
