//! Retries with growing delays.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use serde::{Deserialize, Serialize};
use siren_core::{Clock, Error, Result, Seed, Stream};

/// The rules for retrying failed calls and invocations: the delays double, with jitter.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Retry {
    /// The maximum number of attempts for a shard. An attempt that made progress resets the count.
    pub attempts: u32,
    /// The first delay.
    #[serde(with = "siren_core::seconds")]
    pub delay: Duration,
    /// The longest delay, before jitter.
    #[serde(with = "siren_core::seconds")]
    pub longest: Duration,
}

impl Default for Retry {
    /// Six attempts, with delays from 0.1 s to 10 s.
    fn default() -> Self {
        Self { attempts: 6, delay: Duration::from_millis(100), longest: Duration::from_secs(10) }
    }
}

impl Retry {
    /// The delay before attempt `tried + 1`; the same seed gives the same jitter.
    pub(crate) fn delay(&self, tried: u32, seed: Seed) -> Duration {
        let mut delays = ExponentialBuilder::default()
            .with_min_delay(self.delay)
            .with_max_delay(self.longest)
            .with_max_times(usize::MAX)
            .with_jitter()
            .with_jitter_seed(seed.split(Stream::Retry, &[u64::from(tried)]).get())
            .build();
        let nth = tried.saturating_sub(1).min(64) as usize;
        delays.nth(nth).unwrap_or(self.longest)
    }

    /// Repeats an idempotent call until it succeeds, fails permanently, or `attempts` are used up.
    pub(crate) async fn call<T, F: Future<Output = Result<T>>>(
        &self,
        clock: &dyn Clock,
        seed: Seed,
        mut call: impl FnMut() -> F,
    ) -> Result<T> {
        let mut tried = 1;
        loop {
            match call().await {
                Err(error) if self.should_retry(&error, tried) => {
                    self.wait(clock, &mut tried, seed).await;
                }
                result => return result,
            }
        }
    }

    /// `true` if a call that failed `tried` times, the last time with `error`, should be repeated.
    pub(crate) fn should_retry(&self, error: &Error, tried: u32) -> bool {
        error.is_transient() && tried < self.attempts
    }

    /// Waits before the next attempt, and counts it.
    pub(crate) async fn wait(&self, clock: &dyn Clock, tried: &mut u32, seed: Seed) {
        clock.sleep_until(clock.now() + self.delay(*tried, seed)).await;
        *tried += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_longest_and_are_reproducible() {
        let retry = Retry::default();
        let seed = Seed::new(3);
        for tried in 1..100 {
            let delay = retry.delay(tried, seed);
            assert_eq!(delay, retry.delay(tried, seed));
            assert!(delay >= retry.delay && delay <= retry.longest * 2, "{delay:?}");
        }
        assert!(retry.delay(10, seed) >= retry.longest);
    }
}
