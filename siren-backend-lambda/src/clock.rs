//! Real time.

use std::time::Instant;

use async_trait::async_trait;
use siren_core::{Clock, Time};

/// The machine's monotonic clock, counted from when this was made. Sleeping needs a tokio runtime
/// with time enabled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WallClock {
    origin: Instant,
}

#[expect(clippy::disallowed_methods, reason = "this is the clock that everything else asks")]
impl WallClock {
    /// A clock whose origin is now.
    pub(crate) fn new() -> Self {
        Self { origin: Instant::now() }
    }

    /// The moment that lies `ms` milliseconds after the beginning of 1970.
    #[cfg(feature = "function")]
    pub(crate) fn at_unix_ms(self, ms: u64) -> Time {
        use std::time::{Duration, SystemTime};
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
