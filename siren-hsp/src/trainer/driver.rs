//! The money for the driver itself: its requests, and the bytes that leave the region.

use siren_core::{DriverUsage, Error, ErrorKind, Result};

use super::Trainer;

impl Trainer {
    /// Refuses a budget that does not even pay for what the driver reads before the first epoch.
    ///
    /// # Errors
    ///
    /// Budget, with what an epoch of the driver may cost.
    pub(super) fn check_driver_budget(&self) -> Result<()> {
        let plan = self.config.plan(0, self.layout, self.parts.train.len(), 1);
        let (driver, left) = (self.max_driver_cost(&plan), self.ledger.left());
        if left.is_some_and(|left| left < driver) {
            return Err(Error::new(
                ErrorKind::Budget,
                format!(
                    "the driver's own part of an epoch, its requests and what leaves the region, may cost \
                     {driver}, and {} is left of the budget: give more, or run the driver in the region",
                    left.unwrap_or_default()
                ),
            ));
        }
        Ok(())
    }

    /// What the backend counted since the driver's part was last paid for.
    pub(super) fn unsettled_driver_usage(&mut self) -> DriverUsage {
        let now = self.parts.backend.driver_usage();
        now - std::mem::replace(&mut self.settled, now)
    }
}
