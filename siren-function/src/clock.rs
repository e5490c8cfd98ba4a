//! Real time.

use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use siren_core::{Clock, Time};

/// The machine's monotonic clock, counted from its creation. Sleeping needs a tokio runtime with
/// time enabled.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    origin: Instant,
}

impl Default for WallClock {
    fn default() -> Self {
        Self::new()
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the clock that everything else asks")]
impl WallClock {
    /// A clock whose origin is now.
    pub fn new() -> Self {
        Self { origin: Instant::now() }
    }

    /// The moment that lies `ms` milliseconds after the beginning of 1970, such as a deadline that
    /// a platform gives; now, if that has passed.
    pub fn at_unix_ms(self, ms: u64) -> Time {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.now() + Duration::from_millis(ms).saturating_sub(since)
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the clock that everything else asks")]
#[async_trait]
impl Clock for WallClock {
    fn now(&self) -> Time {
        Time::new(self.origin.elapsed())
    }

    async fn sleep_until(&self, deadline: Time) {
        match self.origin.checked_add(deadline.since_origin()) {
            Some(instant) => tokio::time::sleep_until(instant.into()).await,
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "what a platform's deadline is made of")]
    fn a_deadline_of_the_platform_is_a_moment_of_this_clock() {
        let clock = WallClock::new();
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let in_a_minute = u64::try_from(unix.as_millis()).unwrap() + 60_000;
        let left = clock.at_unix_ms(in_a_minute).since(clock.now()).as_secs_f64();
        assert!((50.0..=60.0).contains(&left), "{left} s are left");
        let passed = clock.at_unix_ms(1);
        assert!(passed <= clock.now(), "{passed}");
    }
}
