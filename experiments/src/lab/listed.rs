//! A schedule as a list of numbers of workers.

use siren_core::{Allocation, Job, Observation, Outcome, Result, Scheduler};

/// One number of workers for each epoch, from the first one on. After the last number the list
/// starts again.
#[derive(Clone, Debug)]
pub struct ListScheduler {
    workers: Vec<u32>,
    memory_mb: u32,
}

impl ListScheduler {
    /// Allocates these numbers of workers, with `memory_mb` MB each.
    ///
    /// # Panics
    ///
    /// When the list is empty.
    pub fn new(workers: impl Into<Vec<u32>>, memory_mb: u32) -> Self {
        let workers = workers.into();
        assert!(!workers.is_empty(), "a number of workers for the first epoch");
        Self { workers, memory_mb }
    }

    fn at(&self, epoch: u64) -> Allocation {
        let place = epoch % self.workers.len() as u64;
        Allocation::new(self.workers[place as usize], self.memory_mb)
    }
}

impl Scheduler for ListScheduler {
    fn allocate(&mut self, job: &Job, observation: &Observation) -> Result<Allocation> {
        let allocation = self.at(observation.epoch);
        allocation.check(&job.platform)?;
        Ok(allocation)
    }

    fn predict_allocation(&self, _: &Job, epoch: u64) -> Option<Allocation> {
        Some(self.at(epoch))
    }

    fn finish(&mut self, _: &Outcome) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_starts_again_after_its_end() {
        let list = ListScheduler::new([1, 200, 4], 1_792);
        let workers: Vec<u32> = (0..5).map(|epoch| list.at(epoch).workers).collect();
        assert_eq!(workers, [1, 200, 4, 1, 200]);
    }
}
