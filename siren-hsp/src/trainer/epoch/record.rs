//! The record of an epoch, the forecast from it, and its progress.

use std::time::Duration;

use siren_core::{EpochSummary, Evaluation, WorkerReport};

use super::EpochRun;
use crate::EpochRecord;
use crate::forecast::{Forecast, MeasuredUpdates};
use crate::trainer::Event;

impl EpochRun<'_> {
    /// The record of the epoch before the evaluation.
    pub(super) fn record(&self, sealed: &EpochSummary, elapsed: Duration) -> EpochRecord {
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
                sums.queue += report.queue;
                sums.wait += report.wait;
                sums.usage.cpu += report.usage.cpu;
                peak = peak.max(report.usage.peak_memory_bytes);
                shared |= report.usage.shared;
            }
            memory += peak as f64 / (f64::from(self.allocation.memory_mb) * 1024.0 * 1024.0);
            if let (Some(last), Some(ended)) = (last, shard.ended) {
                wait += (last - ended).as_secs_f64();
            }
        }
        let mean = |sum: Duration| sum.as_secs_f64() / workers;
        let mut busy = (sums.fetch + sums.compute + sums.update).as_secs_f64();
        // If every worker has its own vCPU, waits for others are execution time too.
        if self.trainer.parts.backend.parallelism(self.plan.shards) >= self.plan.shards {
            busy += sums.wait.as_secs_f64();
        }
        let marks = &sealed.watermarks;
        EpochRecord {
            epoch: self.plan.epoch,
            workers: self.plan.shards,
            workers_asked: self.plan.shards,
            memory_mb: self.allocation.memory_mb,
            local_steps: self.allocation.local_steps,
            learning_rate: self.plan.learning_rate,
            evaluation: Evaluation::new(f64::NAN),
            train_loss: sealed.mean_loss(),
            elapsed_s: elapsed.as_secs_f64(),
            evaluate_s: 0.0,
            fetch_s: mean(sums.fetch),
            compute_s: mean(sums.compute),
            update_s: mean(sums.update),
            queue_s: mean(sums.queue),
            round_wait_s: mean(sums.wait),
            wait_s: wait / workers,
            cpu_utilisation: if busy > 0.0 { sums.usage.cpu.as_secs_f64() / busy } else { 0.0 },
            memory_utilisation: memory / workers,
            memory_shared: shared,
            updates: marks.iter().map(|mark| self.plan.updates(mark.batches)).sum(),
            batches: sealed.batches(),
            complete: sealed.batches() == self.plan.batches(),
            retries: self.retries,
            staleness_mean: sealed.staleness.mean,
            staleness_max: sealed.staleness.max,
            step_factor: sealed.step_factor,
            progress: sealed.progress,
            noise_scale: sealed.noise,
            aggregators: self.aggregators.aggregation.aggregators,
            aggregator_retries: self.aggregators.retries,
            aggregator_cost_usd: self.aggregators.cost.dollars(),
            driver_cost_usd: self.driver_cost.dollars(),
            egress_bytes: self.driver_usage.egress_bytes,
            computed_bills: self.driver_usage.computed_bills,
            cost_usd: self.cost.dollars(),
            budget_left_usd: None,
        }
    }

    /// The forecast for the next epoch.
    pub(super) fn forecast(&self) -> Forecast {
        let billed: Duration = self.shards.iter().map(|s| s.billed).sum();
        let ran = |of: fn(&WorkerReport) -> Duration| -> Duration {
            self.shards.iter().flat_map(|s| &s.reports).map(of).sum()
        };
        // If workers share a machine that is billed once, the bill says nothing about a single
        // worker.
        let billed = if billed < ran(|r| r.compute) {
            ran(|r| r.fetch + r.compute + r.queue + r.update + r.wait)
        } else {
            billed
        };
        let batches: u64 = self.shards.iter().map(|s| s.reported_batches).sum();
        let reports = self.shards.iter().flat_map(|s| &s.reports);
        let cycle = reports.map(|r| r.cycle).max().unwrap_or_default();
        if batches == 0 {
            return self.trainer.forecast;
        }
        let pushed: u64 = self.shards.iter().flat_map(|s| &s.reports).map(|r| r.updates).sum();
        let pushed = pushed.max(1) as f64;
        let updates = MeasuredUpdates {
            local_steps: self.plan.local_steps,
            // The last shard is one of the longest.
            longest: self.plan.update_len(self.plan.shards - 1, 0),
            per_batch: pushed / batches as f64,
            update_s: ran(|r| r.update).as_secs_f64() / pushed,
        };
        let memory_mb = self.allocation.memory_mb;
        Forecast::measured(&self.trainer.platform, memory_mb, billed, batches, cycle, updates)
    }

    /// Reports the epoch's progress to the observer.
    pub(super) async fn progress(&mut self) {
        // A failed poll must not stop the run.
        let Ok(status) = self.trainer.parts.store.status().await else {
            return;
        };
        let marks = status.open.unwrap_or_default();
        let elapsed = self.trainer.now() - self.launched;
        let examples: u64 = marks.iter().map(|mark| mark.examples).sum();
        let loss: f64 = marks.iter().map(|mark| mark.loss).sum();
        let workers = self.trainer.parts.backend.parallelism(self.plan.shards);
        let platform = &self.trainer.platform;
        let aggregation = self.aggregators.aggregation;
        let second = platform.second_cost(self.allocation.memory_mb) * f64::from(workers)
            + platform.second_cost(aggregation.memory_mb) * f64::from(aggregation.aggregators);
        let running = second * elapsed.as_secs_f64();
        let event = Event::Progress {
            epoch: self.plan.epoch,
            batches: marks.iter().map(|mark| mark.batches).sum(),
            examples,
            train_loss: loss / examples as f64,
            elapsed,
            cost: self.trainer.ledger.spent() - self.cost + running.max(self.cost),
        };
        self.trainer.notify(&event);
    }
}
