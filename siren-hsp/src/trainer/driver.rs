//! The cost of the driver itself: its requests, and the bytes that leave the region.

use siren_core::{DriverUsage, Error, ErrorKind, Result, Usd};

use super::Trainer;

impl Trainer {
    /// Checks that the budget covers the driver's own requests and traffic in one epoch.
    ///
    /// # Errors
    ///
    /// Returns [`ErrorKind::Budget`] with the largest possible cost of the driver in an epoch.
    pub(super) fn check_driver_budget(&self) -> Result<()> {
        let plan = self.config.plan(0, self.job.layout, self.parts.train.len(), 1);
        let (driver, left) = (self.max_driver_cost(&plan), self.ledger.left());
        if left.is_some_and(|left| left < driver) {
            return Err(Error::new(
                ErrorKind::Budget,
                format!(
                    "the driver's own requests and traffic in one epoch may cost \
                     {driver}, and {} is left of the budget: give more, or run the driver in the region",
                    left.unwrap_or_default()
                ),
            ));
        }
        Ok(())
    }

    /// The cost of the driver's usage before the first launch, such as reads of the data. It is
    /// settled with the first epoch, whose largest possible usage does not contain it. Zero after
    /// the first launch.
    pub(super) fn cost_before_first_launch(&self) -> Usd {
        if self.history.has_begun() {
            return Usd::ZERO;
        }
        self.platform.driver_usage_cost(self.parts.backend.driver_usage() - self.settled)
    }

    /// The usage since the driver's part was last settled.
    pub(super) fn unsettled_driver_usage(&mut self) -> DriverUsage {
        let now = self.parts.backend.driver_usage();
        now - std::mem::replace(&mut self.settled, now)
    }
}
