//! Real time.

use std::time::Instant;

use async_trait::async_trait;
use siren_core::{Clock, Time};

/// The machine's monotonic clock, counted from when this was made. Sleeping needs a tokio runtime
/// with time enabled.
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
