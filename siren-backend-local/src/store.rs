//! A store that measures waits for other workers.

use std::future::poll_fn;
use std::sync::Arc;

use async_trait::async_trait;
use siren_core::{Clock, ParameterStore, PullOutcome, Replica, Result, StoreDecorator};
use siren_function::WallClock;

use crate::meter::Meter;

/// Measures the time that pulls wait for the progress of other workers.
///
/// If every worker has its own thread, such a wait is as long as on a swarm, and is billed. With
/// more workers than threads it is mostly a wait for threads in use by other workers. It is not
/// billed, like any wait for a thread.
pub(crate) struct MeteredStore {
    pub(crate) inner: Arc<dyn ParameterStore>,
    pub(crate) clock: WallClock,
    pub(crate) meter: Arc<Meter>,
    pub(crate) waits_are_billed: bool,
}

#[async_trait]
impl StoreDecorator for MeteredStore {
    fn inner(&self) -> &dyn ParameterStore {
        &*self.inner
    }

    async fn pull(&self, epoch: u64, replica: &mut Replica, progress: u64) -> Result<PullOutcome> {
        let mut pull = self.inner.pull(epoch, replica, progress);
        if progress == 0 {
            return pull.await;
        }
        let mut since = None;
        let mut pause = None;
        let pulled = poll_fn(|cx| {
            let polled = pull.as_mut().poll(cx);
            if polled.is_pending() && since.is_none() {
                since = Some(self.clock.now());
                pause = (!self.waits_are_billed).then(|| self.meter.pause(self.clock));
            }
            polled
        })
        .await;
        drop(pause);
        let mut pulled = pulled?;
        if let Some(since) = since {
            pulled.waited = pulled.waited.max(self.clock.now() - since);
        }
        Ok(pulled)
    }
}

#[cfg(test)]
mod tests {
    use siren_core::conformance::store_decorator::Subject;
    use siren_core::store_decorator_tests;

    use super::*;

    store_decorator_tests!(
        terms,
        Subject::new(|inner| {
            let clock = WallClock::new();
            let meter = Arc::new(Meter::new(clock.now()));
            MeteredStore { inner, clock, meter, waits_are_billed: true }
        })
    );
}
