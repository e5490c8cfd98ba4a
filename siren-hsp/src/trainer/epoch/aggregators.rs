//! The aggregators of an epoch. They are launched beside its workers, and again if they end before
//! the epoch.

use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use siren_core::{Aggregation, Completion, Error, ErrorKind, Invocation, Result, Role, Usd};

use super::{EpochRun, GRACE, LaunchedInvocation, Running, charge, sleep_until};
use crate::trainer::Event;
use crate::trainer::forecast::{Aggregators, InvocationLimits};
use crate::{HistoryEvent, Reservation};

/// The aggregators of a running epoch.
pub(super) struct RunningAggregators {
    pub(super) aggregation: Aggregation,
    limits: InvocationLimits,
    pub(super) running: FuturesUnordered<Running>,
    runs: Vec<AggregatorRun>,
    /// The number of invocations beyond one for each.
    pub(super) retries: u32,
    /// Their settled cost.
    pub(super) cost: Usd,
    /// The sum of the reservations of running aggregators.
    reserved: Usd,
}

/// The progress of an aggregator.
#[derive(Clone, Default)]
struct AggregatorRun {
    attempts: u32,
    /// The number of attempts in a row that applied no update.
    failures: u32,
}

impl RunningAggregators {
    pub(super) fn new(aggregators: Aggregators) -> Self {
        let Aggregators { aggregation, limits } = aggregators;
        Self {
            aggregation,
            limits,
            running: FuturesUnordered::new(),
            runs: vec![AggregatorRun::default(); aggregation.aggregators as usize],
            retries: 0,
            cost: Usd::ZERO,
            reserved: Usd::ZERO,
        }
    }
}

impl EpochRun<'_> {
    pub(super) fn launch_aggregator(
        &mut self,
        aggregator: u32,
        limits: InvocationLimits,
        reservation: Reservation,
        delay: Duration,
    ) {
        let state = &mut self.aggregators.runs[aggregator as usize];
        let invocation = Invocation {
            plan: self.plan.clone(),
            role: Role::Aggregator,
            shard: aggregator,
            position: 0,
            attempt: state.attempts,
            memory_mb: self.aggregators.aggregation.memory_mb,
            timeout: limits.timeout,
            cycle: None,
            request_cap: limits.request_cap,
        };
        state.attempts += 1;
        self.aggregators.reserved += reservation.amount();
        let memory_mb = self.aggregators.aggregation.memory_mb;
        let request_cap = limits.request_cap;
        let launch = LaunchedInvocation {
            shard: aggregator,
            memory_mb,
            request_cap,
            reservation,
            position: 0,
        };
        let running = self.start(launch, invocation, delay);
        self.aggregators.running.push(running);
    }

    /// Settles an aggregator that ended, and launches it again unless the epoch is over.
    pub(super) async fn collect_aggregator(
        &mut self,
        launch: LaunchedInvocation,
        completion: Option<Completion>,
    ) -> Result<()> {
        let aggregator = launch.shard;
        let memory_mb = launch.memory_mb;
        let result = self.settle_aggregator(launch, completion);
        if self.end.is_some() || self.sealed.is_some() {
            return Ok(());
        }
        let Some(result) = result else { return Ok(()) };
        let state = &mut self.aggregators.runs[aggregator as usize];
        let error = match result {
            Ok(report) if report.updates > 0 && !report.finished => {
                state.failures = 0;
                None
            }
            Ok(_) => Some(Error::new(
                ErrorKind::Worker,
                "the aggregator ended before its epoch, and applied nothing",
            )),
            Err(error) => Some(error),
        };
        if let Some(error) = error {
            match error.kind() {
                ErrorKind::Diverged => {
                    let end = (siren_core::StopReason::Diverged, Some(error.chain()));
                    return self.end_early(Ok(Some(end))).await;
                }
                // A retry would fail again.
                ErrorKind::Rejected | ErrorKind::Corrupt => return Err(error),
                _ => {}
            }
            if error.kind() == ErrorKind::OutOfMemory
                && memory_mb >= self.aggregators.aggregation.memory_mb
            {
                let memory_mb = self.trainer.next_memory_size(memory_mb)?;
                self.aggregators.aggregation.memory_mb = memory_mb;
                self.aggregators.limits =
                    self.trainer.aggregator_limits(self.aggregators.aggregation, self.timeout);
            }
            let state = &mut self.aggregators.runs[aggregator as usize];
            state.failures += 1;
            let (failures, attempt) = (state.failures, state.attempts);
            let epoch = self.plan.epoch;
            if failures >= self.trainer.config.retry.attempts {
                let message = format!(
                    "aggregator {aggregator} of epoch {epoch} failed {failures} times in a row"
                );
                return Err(Error::new(error.kind(), message).with_source(error));
            }
            let line = HistoryEvent::AggregatorRetried {
                epoch,
                aggregator,
                attempt,
                error: error.chain(),
            };
            self.trainer.history.write(&line)?;
            self.trainer.notify(&Event::AggregatorRetried {
                epoch,
                aggregator,
                attempt,
                error: &error,
            });
        }
        self.relaunch(aggregator).await
    }

    /// Launches an aggregator again. If there is no money for it, the epoch ends, since pushed
    /// updates would not be applied.
    async fn relaunch(&mut self, aggregator: u32) -> Result<()> {
        let limits = self.aggregators.limits;
        let Ok(reservation) = self.trainer.ledger.reserve(limits.reservation) else {
            return self.end_early(Ok(None)).await;
        };
        let usd = reservation.amount().dollars();
        self.trainer.history.write(&HistoryEvent::Reserved { epoch: self.plan.epoch, usd })?;
        let delay = match self.aggregators.runs[aggregator as usize].failures {
            // All workers wait for it.
            0 | 1 => Duration::ZERO,
            tried => self.trainer.config.retry.delay(tried, self.seed(aggregator)),
        };
        self.aggregators.retries += 1;
        self.launch_aggregator(aggregator, limits, reservation, delay);
        Ok(())
    }

    /// Waits briefly for the aggregators of a sealed epoch, which end by themselves, and settles
    /// them.
    pub(super) async fn drain(&mut self) {
        let backend = std::sync::Arc::clone(&self.trainer.parts.backend);
        let clock = backend.clock();
        let deadline =
            Some(self.deadline.filter(|_| self.end.is_some()).unwrap_or(clock.now() + GRACE));
        while !self.aggregators.running.is_empty() {
            tokio::select! {
                biased;
                Some((launch, completion, _)) = self.aggregators.running.next() => {
                    self.settle_aggregator(launch, completion);
                }
                () = sleep_until(clock, deadline) => break,
            }
        }
        // The rest is abandoned, and its whole reservation counts as cost of the epoch.
        self.aggregators.running.clear();
        self.aggregators.cost += self.aggregators.reserved.max(Usd::ZERO);
    }

    /// Settles an aggregator and returns its report, unless it never began.
    pub(super) fn settle_aggregator(
        &mut self,
        launch: LaunchedInvocation,
        completion: Option<Completion>,
    ) -> Option<Result<siren_core::WorkerReport>> {
        let LaunchedInvocation { memory_mb, request_cap, reservation, .. } = launch;
        self.aggregators.reserved = self.aggregators.reserved - reservation.amount();
        let Some(Completion { billed, result }) = completion else {
            self.trainer.ledger.settle(reservation, Some(Usd::ZERO));
            return None;
        };
        let actual = charge(&self.trainer.platform, memory_mb, billed, &result, request_cap);
        let spent = self.trainer.ledger.settle(reservation, actual);
        self.cost += spent;
        self.aggregators.cost += spent;
        Some(result)
    }
}
