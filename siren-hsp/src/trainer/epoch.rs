//! One epoch: launch all workers, collect them, try again what failed, seal.

use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use siren_core::{
    Allocation, Clock, Completion, EpochPlan, Error, ErrorKind, Invocation, Requests, Result,
    Sealed, Seed, StopReason, Stream, Time, Usd, WorkerReport,
};

use super::forecast::{Fit, Forecast, Terms};
use super::{End, Event, Trainer};
use crate::{EpochRecord, Line, Reservation};

/// After an early end, how long workers may take to notice it before they are abandoned.
const GRACE: Duration = Duration::from_secs(2);

/// A sealed epoch.
pub(super) struct Ended {
    /// What is known before the evaluation.
    pub(super) record: EpochRecord,
    pub(super) forecast: Forecast,
    /// Why no epoch is to follow, if so.
    pub(super) end: Option<End>,
}

/// An invocation under way.
struct Launch {
    shard: u32,
    reservation: Reservation,
    /// Where it starts.
    position: u64,
}

type Running = BoxFuture<'static, (Launch, Completion, Time)>;

/// What is known of a shard.
#[derive(Default)]
struct ShardRun {
    attempts: u32,
    /// Attempts in a row that brought nothing.
    failures: u32,
    reports: Vec<WorkerReport>,
    billed: Duration,
    ended: Option<Time>,
    /// Where to go on once there is money for it.
    waiting: Option<u64>,
}

/// An epoch under way.
pub(super) struct EpochRun<'a> {
    trainer: &'a mut Trainer,
    plan: EpochPlan,
    allocation: Allocation,
    shards: Vec<ShardRun>,
    running: FuturesUnordered<Running>,
    launched: Time,
    cost: Usd,
    retries: u32,
    sealed: Option<Sealed>,
    end: Option<Result<End>>,
}

impl<'a> EpochRun<'a> {
    /// Reserves the money, opens the epoch and launches all workers.
    pub(super) async fn new(trainer: &'a mut Trainer, fit: Fit) -> Result<Self> {
        let Fit { asked: _, plan, allocation, terms } = fit;
        let reservations = (0..allocation.workers)
            .map(|_| trainer.ledger.reserve(terms.reservation))
            .collect::<Result<Vec<_>>>()?;
        trainer.history.write(&Line::Reserved {
            epoch: plan.epoch,
            usd: reservations.iter().map(|r| r.amount().dollars()).sum(),
        })?;
        let seed = plan.seed.split(Stream::Retry, &[plan.epoch]);
        let (store, clock) = (&trainer.parts.store, trainer.parts.backend.clock());
        let retry = trainer.config.retry;
        retry.call(clock, seed, || store.open(&plan)).await?;
        trainer.tell(&Event::Launched {
            epoch: plan.epoch,
            allocation,
            batches: plan.batches(),
            rate: plan.rate,
        });
        let mut run = Self {
            launched: trainer.now(),
            shards: (0..plan.shards).map(|_| ShardRun::default()).collect(),
            trainer,
            plan,
            allocation,
            running: FuturesUnordered::new(),
            cost: Usd::ZERO,
            retries: 0,
            sealed: None,
            end: None,
        };
        for (shard, reservation) in (0..).zip(reservations) {
            run.launch(shard, 0, terms, reservation, Duration::ZERO);
        }
        Ok(run)
    }

    fn launch(
        &mut self,
        shard: u32,
        position: u64,
        terms: Terms,
        reservation: Reservation,
        delay: Duration,
    ) {
        let state = &mut self.shards[shard as usize];
        let invocation = Invocation {
            plan: self.plan.clone(),
            shard,
            position,
            attempt: state.attempts,
            memory_mb: self.allocation.memory_mb,
            timeout: terms.timeout,
            cycle: terms.cycle,
            request_cap: terms.request_cap,
        };
        state.attempts += 1;
        let launch = Launch { shard, reservation, position };
        let backend = std::sync::Arc::clone(&self.trainer.parts.backend);
        self.running.push(Box::pin(async move {
            if !delay.is_zero() {
                let clock = backend.clock();
                clock.sleep_until(clock.now() + delay).await;
            }
            let completion = backend.invoke(invocation).await;
            let now = backend.clock().now();
            (launch, completion, now)
        }));
    }

    /// Collects all workers and seals the epoch.
    pub(super) async fn run(mut self) -> Result<Ended> {
        let interval = self.trainer.observer.as_ref().and_then(|o| o.interval());
        let mut tick = interval.map(|interval| self.launched + interval);
        let limit = self.trainer.config.stop.wall_time;
        let mut deadline =
            limit.map(|limit| self.launched + limit.saturating_sub(self.trainer.elapsed()));
        let stop = self.trainer.stop.clone();
        let backend = std::sync::Arc::clone(&self.trainer.parts.backend);
        let clock = backend.clock();
        loop {
            tokio::select! {
                biased;
                done = self.running.next() => match done {
                    Some((launch, completion, now)) => self.collect(launch, completion, now).await?,
                    None if self.shards.iter().any(|s| s.waiting.is_some()) && self.end.is_none() => {
                        self.end_early(Ok((StopReason::Budget, Some(
                            "the money left does not pay for the rest of the epoch".into(),
                        )))).await?;
                    }
                    None => break,
                },
                () = stop.stopped(), if self.end.is_none() => {
                    self.end_early(Ok((StopReason::Interrupted, None))).await?;
                    deadline = Some(clock.now() + GRACE);
                }
                () = at(clock, deadline) => {
                    if self.end.is_some() {
                        break;
                    }
                    self.end_early(Ok((StopReason::WallTime, None))).await?;
                    deadline = Some(clock.now() + GRACE);
                }
                () = at(clock, tick) => {
                    self.progress().await;
                    tick = interval.map(|interval| clock.now() + interval);
                }
            }
            if self.end.is_some() && deadline.is_none_or(|d| d > clock.now() + GRACE) {
                deadline = Some(clock.now() + GRACE);
            }
        }
        self.seal().await
    }

    /// Books an invocation, and launches what is left of its shard.
    async fn collect(&mut self, launch: Launch, completion: Completion, now: Time) -> Result<()> {
        let Launch { shard, reservation, position } = launch;
        let Completion { billed, result } = completion;
        let platform = &self.trainer.platform;
        // Requests of an invocation that failed are unknown: at most those it was allowed.
        let cap = reservation.amount();
        let actual = match (&result, billed) {
            (Ok(report), Some(billed)) => {
                Some(platform.invocation_cost(self.allocation.memory_mb, billed, report.requests))
            }
            (Err(_), Some(billed)) => {
                let costs = self.trainer.parts.store.costs();
                if costs.pull == Requests::NONE && costs.push == Requests::NONE {
                    let memory = self.allocation.memory_mb;
                    Some(platform.invocation_cost(memory, billed, Requests::NONE))
                } else {
                    None
                }
            }
            (_, None) => None,
        };
        let actual = actual.map(|actual| actual.min(cap));
        self.cost += self.trainer.ledger.settle(reservation, actual);
        let state = &mut self.shards[shard as usize];
        state.ended = Some(now);
        state.waiting = None;
        let rest = match result {
            Ok(report) => {
                state.billed += billed.unwrap_or_default();
                let finished = report.finished;
                let reached = report.position;
                if reached > position {
                    state.failures = 0;
                }
                state.reports.push(report);
                if finished {
                    None
                } else {
                    Some((reached, (reached <= position).then(no_headway)))
                }
            }
            Err(error) => Some((position, Some(error))),
        };
        if let Some((reached, error)) = rest
            && self.end.is_none()
        {
            self.try_again(shard, reached, error).await?;
        }
        self.launch_waiting();
        Ok(())
    }

    /// Decides what becomes of a shard that is not done.
    async fn try_again(&mut self, shard: u32, reached: u64, error: Option<Error>) -> Result<()> {
        let mut position = reached;
        if let Some(error) = error {
            match error.kind() {
                ErrorKind::Diverged => {
                    let why = error.chain();
                    return self.end_early(Ok((StopReason::Diverged, Some(why)))).await;
                }
                // Trying again would only fail again.
                ErrorKind::Rejected | ErrorKind::Corrupt => {
                    return self.end_early(Err(error)).await;
                }
                _ => {}
            }
            // What the worker could not report, the store knows.
            let (seed, retry) = (self.seed(shard), self.trainer.config.retry);
            let (store, clock) = (&self.trainer.parts.store, self.trainer.parts.backend.clock());
            let status = retry.call(clock, seed, || store.status()).await?;
            let marks = status.open.unwrap_or_default();
            let counted = marks.get(shard as usize).map_or(0, |mark| mark.batches);
            let state = &mut self.shards[shard as usize];
            state.failures = if counted > position { 1 } else { state.failures + 1 };
            position = counted;
            if state.failures >= retry.attempts && position < self.plan.shard_len(shard) {
                let failed = Error::new(
                    error.kind(),
                    format!(
                        "shard {shard} of epoch {} failed {} times in a row",
                        self.plan.epoch, state.failures
                    ),
                );
                return self.end_early(Err(failed.with_source(error))).await;
            }
            let line = Line::Retried {
                epoch: self.plan.epoch,
                shard,
                attempt: state.attempts,
                error: error.chain(),
            };
            let attempt = state.attempts;
            self.trainer.history.write(&line)?;
            self.trainer.tell(&Event::Retried {
                epoch: self.plan.epoch,
                shard,
                attempt,
                error: &error,
            });
        }
        if position < self.plan.shard_len(shard) {
            self.shards[shard as usize].waiting = Some(position);
        }
        Ok(())
    }

    /// Launches the shards that wait, as far as there is money.
    fn launch_waiting(&mut self) {
        if self.end.is_some() {
            return;
        }
        for shard in 0..self.plan.shards {
            let Some(position) = self.shards[shard as usize].waiting else {
                continue;
            };
            let batches = self.plan.shard_len(shard) - position;
            let memory_mb = self.allocation.memory_mb;
            let Some(terms) = self.trainer.terms(&self.plan, memory_mb, batches, 1) else {
                continue;
            };
            let Ok(reservation) = self.trainer.ledger.reserve(terms.reservation) else {
                continue;
            };
            let line =
                Line::Reserved { epoch: self.plan.epoch, usd: reservation.amount().dollars() };
            if let Err(error) = self.trainer.history.write(&line) {
                self.end = Some(Err(error));
                return;
            }
            let failures = self.shards[shard as usize].failures;
            let delay = match failures {
                0 => Duration::ZERO,
                tried => self.trainer.config.retry.delay(tried, self.seed(shard)),
            };
            self.shards[shard as usize].waiting = None;
            self.retries += 1;
            self.launch(shard, position, terms, reservation, delay);
        }
    }

    /// Seals at once, so that the workers that still run notice at their next pull or push.
    async fn end_early(&mut self, end: Result<End>) -> Result<()> {
        self.end = Some(end);
        self.sealed = Some(self.seal_store().await?);
        Ok(())
    }

    async fn seal_store(&self) -> Result<Sealed> {
        let (store, epoch) = (&self.trainer.parts.store, self.plan.epoch);
        let (clock, retry) = (self.trainer.parts.backend.clock(), self.trainer.config.retry);
        let seed = self.plan.seed.split(Stream::Retry, &[epoch]);
        retry.call(clock, seed, || store.seal(epoch)).await
    }

    async fn seal(mut self) -> Result<Ended> {
        let sealed = match self.sealed.take() {
            Some(sealed) => sealed,
            None => self.seal_store().await?,
        };
        let elapsed = self.trainer.now() - self.launched;
        // Whoever still runs is abandoned, and what was reserved for it counts as spent.
        let spent = self.abandon();
        self.trainer
            .history
            .write(&Line::Settled { epoch: self.plan.epoch, usd: spent.dollars() })?;
        let record = self.record(&sealed, elapsed);
        let forecast = self.forecast();
        let end = self.end.take().transpose()?;
        Ok(Ended { record, forecast, end })
    }

    fn abandon(&mut self) -> Usd {
        self.running.clear();
        self.cost += self.trainer.ledger.write_off();
        self.cost
    }

    /// The epoch as far as it is known before the evaluation.
    fn record(&self, sealed: &Sealed, elapsed: Duration) -> EpochRecord {
        let workers = f64::from(self.plan.shards);
        let last = self.shards.iter().filter_map(|s| s.ended).max();
        let mut sums = WorkerReport::default();
        let (mut memory, mut shared, mut wait) = (0.0, false, 0.0);
        for shard in &self.shards {
            let mut peak = 0;
            for report in &shard.reports {
                sums.fetch += report.fetch;
                sums.compute += report.compute;
                sums.update += report.update;
                sums.usage.cpu += report.usage.cpu;
                peak = peak.max(report.usage.peak_memory);
                shared |= report.usage.shared;
            }
            memory += peak as f64 / (f64::from(self.allocation.memory_mb) * 1024.0 * 1024.0);
            if let (Some(last), Some(ended)) = (last, shard.ended) {
                wait += (last - ended).as_secs_f64();
            }
        }
        let mean = |sum: Duration| sum.as_secs_f64() / workers;
        let busy = (sums.fetch + sums.compute + sums.update).as_secs_f64();
        EpochRecord {
            epoch: self.plan.epoch,
            workers: self.plan.shards,
            workers_asked: self.plan.shards,
            memory_mb: self.allocation.memory_mb,
            rate: self.plan.rate,
            loss: f64::NAN,
            accuracy: None,
            auc: None,
            train_loss: sealed.mean_loss(),
            elapsed_s: elapsed.as_secs_f64(),
            evaluate_s: 0.0,
            fetch_s: mean(sums.fetch),
            compute_s: mean(sums.compute),
            update_s: mean(sums.update),
            wait_s: wait / workers,
            cpu_utilisation: if busy > 0.0 { sums.usage.cpu.as_secs_f64() / busy } else { 0.0 },
            memory_utilisation: memory / workers,
            memory_shared: shared,
            updates: sealed.watermarks.iter().map(|mark| self.plan.updates(mark.batches)).sum(),
            batches: sealed.batches(),
            complete: sealed.batches() == self.plan.batches(),
            retries: self.retries,
            staleness_mean: sealed.staleness.mean,
            staleness_max: sealed.staleness.max,
            cost_usd: self.cost.dollars(),
            budget_left_usd: None,
        }
    }

    /// What the epoch says of the next one.
    fn forecast(&self) -> Forecast {
        let billed = self.shards.iter().map(|s| s.billed).sum();
        let reports = || self.shards.iter().flat_map(|s| &s.reports);
        let updates: u64 = reports().map(|r| r.updates).sum();
        let cycle = reports().map(|r| r.cycle).max().unwrap_or_default();
        if updates == 0 {
            return self.trainer.forecast;
        }
        Forecast::measured(
            &self.trainer.platform,
            self.allocation.memory_mb,
            billed,
            updates * self.plan.local_steps,
            cycle,
        )
    }

    async fn progress(&mut self) {
        // Somebody who watches must not stop the run.
        let Ok(status) = self.trainer.parts.store.status().await else {
            return;
        };
        let marks = status.open.unwrap_or_default();
        let elapsed = self.trainer.now() - self.launched;
        let examples: u64 = marks.iter().map(|mark| mark.examples).sum();
        let loss: f64 = marks.iter().map(|mark| mark.loss).sum();
        let workers = self.trainer.parts.backend.parallelism(self.plan.shards);
        let running = self.trainer.platform.second_cost(self.allocation.memory_mb)
            * (elapsed.as_secs_f64() * f64::from(workers));
        let event = Event::Progress {
            epoch: self.plan.epoch,
            batches: marks.iter().map(|mark| mark.batches).sum(),
            examples,
            train_loss: loss / examples as f64,
            elapsed,
            cost: self.trainer.ledger.spent() - self.cost + running.max(self.cost),
        };
        self.trainer.tell(&event);
    }

    fn seed(&self, shard: u32) -> Seed {
        let path = [self.plan.epoch, u64::from(shard)];
        self.plan.seed.split(Stream::Retry, &path)
    }
}

/// Waits until `time`, or for ever.
async fn at(clock: &dyn Clock, time: Option<Time>) {
    match time {
        Some(time) => clock.sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn no_headway() -> Error {
    Error::new(ErrorKind::DeadlineExceeded, "the invocation ended before its first update")
}
