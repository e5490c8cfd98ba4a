//! The allocations that a scheduler may choose.

use serde::{Deserialize, Serialize};
use siren_core::{Allocation, Error, Platform, Result};

/// The allocations that a scheduler may choose: the action space A of the SIREN paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// The largest number of functions; the smallest is one.
    pub workers: u32,
    /// The smallest memory, in MB.
    pub memory_min_mb: u32,
    /// The largest memory, in MB.
    pub memory_max_mb: u32,
    /// The step from one memory size to the next, in MB.
    pub memory_step_mb: u32,
}

impl Bounds {
    /// All allocations of a platform, with memory sizes that are at least 64 MB apart.
    pub fn of(platform: &Platform) -> Self {
        let limits = &platform.limits;
        let step = limits.memory_step_mb.max(1);
        Self {
            workers: limits.concurrency,
            memory_min_mb: limits.memory_min_mb,
            memory_max_mb: limits.memory_max_mb,
            memory_step_mb: step * 64_u32.div_ceil(step),
        }
    }

    /// The number of memory sizes.
    pub fn sizes(&self) -> u32 {
        self.memory_max_mb.saturating_sub(self.memory_min_mb) / self.memory_step_mb.max(1) + 1
    }

    /// The memory size with this index, from 0.
    pub fn memory_mb(&self, size: u32) -> u32 {
        self.memory_min_mb + size.min(self.sizes() - 1) * self.memory_step_mb.max(1)
    }

    /// The number of allocations.
    pub fn count(&self) -> u64 {
        u64::from(self.workers) * u64::from(self.sizes())
    }

    /// `true` if the workers and the memory of the allocation are within the bounds.
    pub fn contains(&self, allocation: Allocation) -> bool {
        let nearest = self.nearest(allocation.workers.into(), allocation.memory_mb.into());
        (allocation.workers, allocation.memory_mb) == (nearest.workers, nearest.memory_mb)
    }

    /// The allocation nearest to these numbers. NaN counts as the smallest number.
    pub fn nearest(&self, workers: f64, memory_mb: f64) -> Allocation {
        // Casts saturate, and turn NaN into 0.
        let workers = (workers.round() as u32).clamp(1, self.workers.max(1));
        let above = memory_mb - f64::from(self.memory_min_mb);
        let size = (above / f64::from(self.memory_step_mb.max(1))).round() as u32;
        Allocation::new(workers, self.memory_mb(size))
    }

    /// Checks the bounds against a platform.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Rejected`](siren_core::ErrorKind::Rejected), naming the value, when the
    /// platform does not offer an allocation within the bounds.
    pub fn check(&self, platform: &Platform) -> Result<()> {
        if self.memory_step_mb == 0 || self.memory_min_mb > self.memory_max_mb {
            return Err(Error::rejected(format!(
                "memory from {} to {} MB in steps of {} MB holds no size: give a step of at least 1, the \
                 smaller one first",
                self.memory_min_mb, self.memory_max_mb, self.memory_step_mb
            )));
        }
        for size in [0, 1.min(self.sizes() - 1), self.sizes() - 1] {
            Allocation::new(self.workers, self.memory_mb(size)).check(platform)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::JobModel;

    #[test]
    fn the_talk_has_138_000_allocations_and_each_is_its_own_nearest() {
        let bounds = Bounds::of(&JobModel::named("seed").unwrap().platform);
        assert_eq!((bounds.count(), bounds.sizes()), (138_000, 46));
        for size in 0..46 {
            let allocation = Allocation::new(7, bounds.memory_mb(size));
            assert!(bounds.contains(allocation), "{allocation:?}");
        }
        assert!(!bounds.contains(Allocation::new(7, 129)));
        assert!(!bounds.contains(Allocation::new(3_001, 128)));
        for (workers, memory) in [(f64::NAN, f64::NAN), (-1e300, 1e300), (f64::INFINITY, -1.0)] {
            assert!(bounds.contains(bounds.nearest(workers, memory)));
        }
        let lambda = Bounds::of(&Platform::aws_lambda());
        assert_eq!((lambda.sizes(), lambda.memory_mb(200)), (159, 10_240));
    }
}
