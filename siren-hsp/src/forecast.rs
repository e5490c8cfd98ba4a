//! The speed of a worker, from which forecasts are made.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use siren_core::Platform;

/// The known speed of a worker, at one full vCPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Forecast {
    /// Billed seconds for one batch.
    batch_s: Option<f64>,
    /// The longest cycle of pull, gradients and push, in billed seconds.
    cycle_s: Option<f64>,
    /// The part of a cycle, in seconds, that does not depend on the CPU and is not contained in the
    /// other fields.
    #[serde(default)]
    exchange_s: f64,
    /// The updates that these times belong to.
    #[serde(default)]
    updates: Option<MeasuredUpdates>,
}

/// The updates of a measurement, from which the times with other local steps follow.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct MeasuredUpdates {
    /// The local steps of the plan.
    pub(crate) local_steps: u64,
    /// The most batches of an update: fewer than the local steps if the shards were shorter.
    pub(crate) longest: u64,
    /// The number of updates for each batch.
    pub(crate) per_batch: f64,
    /// The mean time of a pull and a push, in seconds.
    pub(crate) update_s: f64,
}

impl Forecast {
    /// A forecast from one gradient that took `batch`, and the expected time of a pull and a push.
    pub(crate) fn probed(batch: Duration, exchange: Duration, local_steps: u64) -> Self {
        if batch.is_zero() {
            return Self::default();
        }
        let batch = batch.as_secs_f64();
        Self {
            batch_s: Some(batch),
            cycle_s: Some(batch * local_steps as f64),
            exchange_s: exchange.as_secs_f64(),
            updates: Some(MeasuredUpdates {
                local_steps,
                longest: local_steps,
                per_batch: 1.0 / local_steps as f64,
                // The exchange is kept apart.
                update_s: 0.0,
            }),
        }
    }

    /// A forecast from an epoch in which `batches` batches took `billed` billed time in all, with
    /// these updates.
    pub(crate) fn measured(
        platform: &Platform,
        memory_mb: u32,
        billed: Duration,
        batches: u64,
        cycle: Duration,
        updates: MeasuredUpdates,
    ) -> Self {
        let speed = speed(platform, memory_mb);
        Self {
            batch_s: Some(billed.as_secs_f64() / batches as f64 * speed),
            cycle_s: Some(cycle.as_secs_f64() * speed),
            exchange_s: 0.0,
            updates: Some(MeasuredUpdates { update_s: updates.update_s * speed, ..updates }),
        }
    }

    /// The forecast for invocations of `batches` batches each with other local steps: each batch
    /// takes as long as before, and so does each update.
    pub(crate) fn with_local_steps(self, local_steps: u64, batches: u64) -> Self {
        let Self { batch_s: Some(batch_s), cycle_s: Some(cycle_s), updates: Some(before), .. } =
            self
        else {
            return self;
        };
        if before.local_steps == local_steps {
            return self;
        }
        let batches = batches.max(1);
        let longest = local_steps.min(batches);
        let per_batch = batches.div_ceil(local_steps.max(1)) as f64 / batches as f64;
        let computing = (batch_s - before.update_s * before.per_batch).max(0.0);
        let computing_longest = (cycle_s - before.update_s).max(0.0) / before.longest.max(1) as f64;
        Self {
            batch_s: Some(computing + before.update_s * per_batch),
            cycle_s: Some(computing_longest * longest as f64 + before.update_s),
            updates: Some(MeasuredUpdates { local_steps, longest, per_batch, ..before }),
            ..self
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batch_s.is_none()
    }

    /// The billed time of one worker for `batches` batches.
    pub(crate) fn batches(
        &self,
        platform: &Platform,
        memory_mb: u32,
        batches: u64,
    ) -> Option<Duration> {
        let computing = self.batch_s? * batches as f64;
        let cycles = if self.exchange_s > 0.0 { computing / self.cycle_s? } else { 0.0 };
        let seconds = computing / speed(platform, memory_mb) + cycles * self.exchange_s;
        Duration::try_from_secs_f64(seconds).ok()
    }

    /// The billed time of one cycle.
    pub(crate) fn cycle(&self, platform: &Platform, memory_mb: u32) -> Option<Duration> {
        let seconds = self.cycle_s? / speed(platform, memory_mb) + self.exchange_s;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

/// The share of a vCPU that a worker's single thread gets.
fn speed(platform: &Platform, memory_mb: u32) -> f64 {
    platform.vcpus(memory_mb).clamp(1e-6, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The forecast of an epoch in which every batch took 10 ms, and every update 30 ms.
    fn after(local_steps: u64, shard: u64) -> Forecast {
        let updates = shard.div_ceil(local_steps);
        let millis = Duration::from_millis;
        let longest = local_steps.min(shard);
        let shape = MeasuredUpdates {
            local_steps,
            longest,
            per_batch: updates as f64 / shard as f64,
            update_s: 0.03,
        };
        let (billed, cycle) = (millis(10 * shard + 30 * updates), millis(10 * longest + 30));
        Forecast::measured(&Platform::local(), 1_769, billed, shard, cycle, shape)
    }

    #[track_caller]
    fn same(forecast: Forecast, expected: Forecast, batches: u64) {
        let platform = Platform::local();
        let close = |a: Option<Duration>, b: Option<Duration>| {
            let (a, b) = (a.unwrap().as_secs_f64(), b.unwrap().as_secs_f64());
            assert!((a - b).abs() < 1e-6, "{a} s, not {b} s: {forecast:?}");
        };
        let times = |forecast: Forecast| forecast.batches(&platform, 1_769, batches);
        close(times(forecast), times(expected));
        close(forecast.cycle(&platform, 1_769), expected.cycle(&platform, 1_769));
    }

    #[test]
    fn other_local_steps_are_forecast_as_if_they_had_been_measured() {
        for (before, now, shard) in [
            (1, 8, 100),
            (8, 1, 100),
            (3, 7, 100),
            (1_000, 2, 10),
            (2, 1_000, 10),
            (1, u64::MAX, 5),
        ] {
            let forecast = after(before, shard).with_local_steps(now, shard);
            same(forecast, after(now, shard), shard);
        }
    }

    #[test]
    fn the_same_local_steps_are_forecast_as_they_were_measured() {
        let measured = after(4, 100);
        assert_eq!(measured.with_local_steps(4, 7), measured);
    }

    #[test]
    fn a_first_forecast_follows_other_local_steps() {
        let (batch, exchange) = (Duration::from_millis(10), Duration::from_millis(30));
        for (before, now) in [(1, 8), (8, 1), (100, 4)] {
            let probed = |steps| Forecast::probed(batch, exchange, steps);
            same(probed(before).with_local_steps(now, 80), probed(now), 80);
        }
    }
}
