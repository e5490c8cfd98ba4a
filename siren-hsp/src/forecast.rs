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
        }
    }

    /// A forecast from an epoch in which `batches` batches took `billed` billed time in all.
    pub(crate) fn measured(
        platform: &Platform,
        memory_mb: u32,
        billed: Duration,
        batches: u64,
        cycle: Duration,
    ) -> Self {
        let speed = speed(platform, memory_mb);
        Self {
            batch_s: Some(billed.as_secs_f64() / batches as f64 * speed),
            cycle_s: Some(cycle.as_secs_f64() * speed),
            exchange_s: 0.0,
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
