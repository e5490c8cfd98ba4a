//! The limits of an invocation: its time and its requests.

use std::time::Duration;

use siren_core::{Error, ErrorKind, Invocation, Requests, Result};

use super::{MARGIN, Run};

impl Run<'_> {
    /// The requests made so far: the store's own count, or else the upper bound.
    pub(super) fn requests(&self) -> Requests {
        let counted = self.context.store().requests().zip(self.store_requests_before);
        self.report.requests + counted.map_or(self.store_requests, |(now, before)| now - before)
    }

    /// `true` if time is left for one more cycle.
    pub(super) fn has_time(&self) -> bool {
        let left = self.context.time_left();
        !left.is_zero() && left >= self.report.cycle.mul_f64(MARGIN)
    }

    /// `true` if time and requests are left for one more cycle.
    pub(super) fn can_continue(&self) -> bool {
        let costs = self.context.store().request_costs();
        // The last update of a shard has fewer batches.
        let Invocation { plan, shard, .. } = self.invocation;
        let length = plan.update_len(*shard, self.report.position);
        let fetches = self.context.data().request_costs() * length;
        let requests = self.requests() + costs.pull + costs.push + fetches;
        self.has_time() && requests.within(self.invocation.request_cap)
    }

    /// The requests of a pull while it waits: for other workers if it requires progress of them,
    /// otherwise for the worker's own updates.
    pub(super) fn wait_requests(&self, waited: Duration, progress: u64) -> Requests {
        if waited.is_zero() {
            return Requests::NONE;
        }
        let costs = self.context.store().request_costs();
        let seconds = waited.as_secs_f64().ceil() as u64;
        match progress {
            0 => costs.pull + costs.wait_own * seconds,
            _ => costs.wait * seconds,
        }
    }

    /// Returns an error if `more` requests would exceed the request cap.
    pub(super) fn check_request_cap(&self, more: Requests) -> Result<()> {
        if (self.requests() + more).within(self.invocation.request_cap) {
            return Ok(());
        }
        let message = "the request cap of the invocation is used up";
        Err(Error::new(ErrorKind::DeadlineExceeded, message))
    }
}
